"""DECA's networks: the coarse and the detail encoder, and the decoder of displacements.

Feng et al. 2021, "Learning an Animatable Detailed 3D Face Model from In-The-Wild Images": section 4.1
(coarse: 236 coefficients of FLAME, albedo, camera and light), section 4.2, equation 9 (detail: a code of
128, decoded together with expression and jaw pose into a UV displacement map). Parameter names are those of
``E_flame``, ``E_detail`` and ``D_detail`` in ``deca_model.tar``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from facewright_export.networks.resnet import FEATURES, ResNet
from facewright_export.networks.spherical_harmonics import DECA_LIGHT

#: Shape 100, albedo 50, expression 50, pose 6, camera 3, light 27.
_COARSE_SIZES: Final = (100, 50, 50, 6, 3, 27)
COARSE: Final = sum(_COARSE_SIZES)
DETAIL: Final = 128
#: What the decoder of displacements reads: jaw pose 3, expression 50, detail code 128.
DECODER_INPUT: Final = 3 + 50 + DETAIL
#: Height and width of the photo's crop, pixels.
INPUT_SIZE: Final = 224
_FIRST_SIZE: Final = 8
_FIRST_CHANNELS: Final = 128
_LARGEST_DISPLACEMENT: Final = 0.01


class DecaEncoder(nn.Module):
    """A crop f32 [B, 3, 224, 224], RGB 0–1 without further normalisation → f32 [B, ``outputs``].

    ``outputs`` is 236 (``COARSE``) for ``E_flame`` and 128 (``DETAIL``) for ``E_detail``.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = ResNet()
        self.layers = nn.Sequential(nn.Linear(FEATURES, 1024), nn.ReLU(), nn.Linear(1024, outputs))

    def forward(self, crop: Tensor) -> Tensor:
        """``crop`` [B, 3, 224, 224] → [B, ``outputs``]."""
        return self.layers(self.encoder(crop))


class CoarseCoefficients(NamedTuple):
    """The 236 coefficients by name; light is [B, 9, 3] in the order of CONVENTIONS.md, of view-space normals.

    ``pose`` is the axis-angle rotation of the head and of the jaw; ``camera`` is scale and translation of an
    orthographic projection onto −1 … 1.
    """

    shape: Tensor
    albedo: Tensor
    expression: Tensor
    pose: Tensor
    camera: Tensor
    light: Tensor


def named_coefficients(coefficients: Tensor) -> CoarseCoefficients:
    """Split what ``E_flame`` gives, [B, 236]."""
    shape, albedo, expression, pose, camera, light = coefficients.split(_COARSE_SIZES, 1)
    return CoarseCoefficients(shape, albedo, expression, pose, camera, light_in_our_order(light))


def light_in_our_order(light: Tensor) -> Tensor:
    """DECA's ``light`` f32 [B, 27] as [B, 9, 3] in the order of CONVENTIONS.md, of view-space normals."""
    order = torch.tensor(DECA_LIGHT.index, device=light.device)
    scale = light.new_tensor(DECA_LIGHT.scale)[:, None]
    return light.reshape(-1, 9, 3).index_select(1, order) * scale


class DetailDecoder(nn.Module):
    """Jaw pose 3, expression 50 and detail code 128, f32 [B, 181] → displacements f32 [B, 1, 256, 256],
    metres.

    The displacement is along the normal, by UV position, within ±0.01 m. Five of the six batch normalisations
    add 0.8 to the variance: the published code passes 0.8 where PyTorch takes the epsilon, and the weights
    were trained so.
    """

    def __init__(self) -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(DECODER_INPUT, _FIRST_CHANNELS * _FIRST_SIZE**2))
        layers: list[nn.Module] = [nn.BatchNorm2d(_FIRST_CHANNELS)]
        channels = _FIRST_CHANNELS
        for width in (128, 64, 64, 32, 16):
            layers += [
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Conv2d(channels, width, 3, padding=1),
                nn.BatchNorm2d(width, eps=0.8),
                nn.LeakyReLU(0.2),
            ]
            channels = width
        layers += [nn.Conv2d(channels, 1, 3, padding=1), nn.Tanh()]
        self.conv_blocks = nn.Sequential(*layers)

    def forward(self, code: Tensor) -> Tensor:
        """``code`` [B, 181] → [B, 1, 256, 256]."""
        maps = self.l1(code).reshape(-1, _FIRST_CHANNELS, _FIRST_SIZE, _FIRST_SIZE)
        return self.conv_blocks(maps) * _LARGEST_DISPLACEMENT


class AnimatableDetail(nn.Module):
    """``E_detail`` and ``D_detail`` as the animatable pipeline runs them: a crop and a pose → displacements.

    Section 4.2, equation 9: the detail code is the person's, expression and jaw pose are those of the
    animation, so another person's expression gives this person's wrinkles.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = DecaEncoder(DETAIL)
        self.decoder = DetailDecoder()

    def forward(self, crop: Tensor, expression: Tensor, jaw_pose: Tensor) -> Tensor:
        """``crop`` [B, 3, 224, 224], ``expression`` [B, 50], ``jaw_pose`` [B, 3] → [B, 1, 256, 256]."""
        return self.decoder(torch.cat([jaw_pose, expression, self.encoder(crop)], 1))
