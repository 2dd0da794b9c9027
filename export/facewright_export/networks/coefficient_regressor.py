"""Deep3D's regressor of 257 coefficients of the Basel face model, the prior of the rerenderable pipeline.

Deng et al. 2019, "Accurate 3D Face Reconstruction with Weakly-Supervised Learning": a ResNet-50
whose last layer gives identity 80, expression 64, texture 80, angles 3, light 27 and translation 3. Yang et
al. 2021 (rerenderable), section 4.1, take it as it is. Parameter names are those of ``net_recon`` in
``epoch_20.pth``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from facewright_export.networks.resnet import FEATURES, ResNet
from facewright_export.networks.spherical_harmonics import DEEP3D_LIGHT

#: Outputs of each of the seven last layers: identity, expression, texture, angles, light, x and y, z.
_HEADS: Final = (80, 64, 80, 3, 27, 2, 1)
#: Height and width of the aligned photo, pixels; the camera is at 10 with a focal length of 1015 pixels.
INPUT_SIZE: Final = 224


class CoefficientRegressor(nn.Module):
    """A photo f32 [B, 3, 224, 224], RGB 0–1, aligned as Deep3D does → f32 [B, 257]."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet()
        self.final_layers = nn.ModuleList(nn.Conv2d(FEATURES, outputs, 1) for outputs in _HEADS)

    def forward(self, photo: Tensor) -> Tensor:
        """``photo`` [B, 3, 224, 224] → [B, 257], which ``named_coefficients`` splits."""
        features = self.backbone(photo)[:, :, None, None]
        return torch.cat([head(features) for head in self.final_layers], 1).flatten(1)


class FaceCoefficients(NamedTuple):
    """The 257 coefficients by name; light [B, 9, 3] in CONVENTIONS.md's order, of view-space normals."""

    identity: Tensor
    expression: Tensor
    texture: Tensor
    angles: Tensor
    light: Tensor
    translation: Tensor


def named_coefficients(coefficients: Tensor) -> FaceCoefficients:
    """Split ``coefficients`` [B, 257]; angles are pitch, yaw, roll in radians, lengths decimetres."""
    identity, expression, texture, angles, light, translation = coefficients.split((80, 64, 80, 3, 27, 3), 1)
    published = light.reshape(-1, 3, 9).transpose(1, 2)
    scale = light.new_tensor(DEEP3D_LIGHT.scale)[:, None]
    offset = light.new_tensor(DEEP3D_LIGHT.offset)[:, None]
    return FaceCoefficients(identity, expression, texture, angles, (published + offset) * scale, translation)
