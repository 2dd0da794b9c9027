"""MICA's face shape from an ArcFace embedding, and AlbedoGAN's regressors of the same form.

Zielonka et al. 2022, "Towards Metrical Reconstruction of Human Faces": an ArcFace IResNet-100 whose last
layers are refined, and a mapping network of layers 300 wide that gives FLAME's 300 shape coefficients in
metric units. Rai et al. 2023 (AlbedoGAN), section 4.2, regress expression (50), pose (6), camera and light
too; that a second mapping network does so, with 3 numbers of camera and 27 of light, is the released code's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from facewright_export.networks.deca import light_in_our_order
from facewright_export.networks.iresnet import IRESNET100_BLOCKS, IResNet, identity_direction

EMBEDDING: Final = 512
SHAPE: Final = 300
#: Expression 50, pose 6 (head, jaw; axis-angle), camera 3 (scale, x, y), light 9 × 3.
_FACE_SIZES: Final = (50, 6, 3, 27)
FACE: Final = sum(_FACE_SIZES)
_HIDDEN_WIDTH: Final = 300
_HIDDEN_LAYERS: Final = 3


class MappingNetwork(nn.Module):
    """Linear layers of width 300 with leaky ReLU (0.2): f32 [B, 512] → f32 [B, ``outputs``]."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        widths = (EMBEDDING, *(_HIDDEN_WIDTH,) * (_HIDDEN_LAYERS + 1))
        self.network = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.output = nn.Linear(_HIDDEN_WIDTH, outputs)

    def forward(self, embedding: Tensor) -> Tensor:
        """``embedding`` [B, 512] of unit length → [B, ``outputs``]."""
        for layer in self.network:
            embedding = functional.leaky_relu(layer(embedding), 0.2)
        return self.output(embedding)


class Mica(nn.Module):
    """An aligned face f32 [B, 3, 112, 112], RGB as (value − 127.5)/127.5 → FLAME shape f32 [B, 300]."""

    def __init__(self) -> None:
        super().__init__()
        self.arcface = IResNet(IRESNET100_BLOCKS)
        self.regressor = MappingNetwork(SHAPE)

    def forward(self, face: Tensor) -> Tensor:
        """``face`` [B, 3, 112, 112] → shape coefficients [B, 300], N(0, 1) each over FLAME's scans."""
        return self.regressor(identity_direction(self.arcface(face)))


class AlbedoGanRegressors(nn.Module):
    """AlbedoGAN's encoder: a face as ``Mica`` reads it → shape [B, 300] and the face's coefficients [B, 86].

    The 86 are expression 50, pose 6, camera 3 and light 27 in DECA's order; ``named_face_coefficients``
    splits them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arcface = IResNet(IRESNET100_BLOCKS)
        self.regressor = MappingNetwork(SHAPE)
        self.face_regressor = MappingNetwork(FACE)

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor]:
        """``face`` [B, 3, 112, 112] → shape [B, 300], and expression, pose, camera and light [B, 86]."""
        direction = identity_direction(self.arcface(face))
        return self.regressor(direction), self.face_regressor(direction)


class FaceCoefficients(NamedTuple):
    """What AlbedoGAN regresses besides shape, by name, as DECA's coefficients are (``networks.deca``)."""

    expression: Tensor
    pose: Tensor
    camera: Tensor
    light: Tensor


def named_face_coefficients(face: Tensor) -> FaceCoefficients:
    """Split ``face`` [B, 86]; light becomes [B, 9, 3] in the order of CONVENTIONS.md.

    For the steps after ``generative_regressors``: ``generative_head`` takes the first two, ``dress_head`` the
    camera and the light.
    """
    expression, pose, camera, light = face.split(_FACE_SIZES, 1)
    return FaceCoefficients(expression, pose, camera, light_in_our_order(light))
