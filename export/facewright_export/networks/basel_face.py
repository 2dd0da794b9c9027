"""The Basel face model as Deep3D uses it: coefficients → vertices and albedo, and the head's place before a
camera.

Yang et al. 2021 (rerenderable), section 4.1, equations 1 and 2; Deng et al. 2019.
Lengths are decimetres; x to the right of the picture, y up, z to the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class BaselFaceModel:
    """The arrays of ``BFM_model_front.mat``, by V vertices and F triangles, with indices from 0.

    Args:
        mean_shape: [V, 3], decimetres, centred on the mean of its vertices.
        identity_basis: [V, 3, 80].
        expression_basis: [V, 3, 64].
        mean_texture: [V, 3], RGB, gamma-encoded, 0–255.
        texture_basis: [V, 3, 80].
        triangles: int32 [F, 3].
        landmarks: int32 [68], the vertices of the 68 landmarks.
    """

    mean_shape: Floats
    identity_basis: Floats
    expression_basis: Floats
    mean_texture: Floats
    texture_basis: Floats
    triangles: npt.NDArray[np.int32]
    landmarks: npt.NDArray[np.int32]


class BaselFace(nn.Module):
    """Identity f32 [B, 80], expression [B, 64], texture [B, 80] → vertices and albedo, f32 [B, V, 3]."""

    def __init__(self, model: BaselFaceModel) -> None:
        super().__init__()
        for name, array in (
            ("mean_shape", model.mean_shape),
            ("identity_basis", model.identity_basis.reshape(-1, model.identity_basis.shape[2]).T),
            ("expression_basis", model.expression_basis.reshape(-1, model.expression_basis.shape[2]).T),
            ("mean_texture", model.mean_texture),
            ("texture_basis", model.texture_basis.reshape(-1, model.texture_basis.shape[2]).T),
        ):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(array, np.float32)))

    def forward(self, identity: Tensor, expression: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices [B, V, 3] in decimetres, and albedo [B, V, 3], RGB, gamma-encoded, about 0–1."""
        offsets = identity @ self.identity_basis + expression @ self.expression_basis
        tints = (texture @ self.texture_basis).reshape(-1, *self.mean_texture.shape)
        vertices = self.mean_shape + offsets.reshape(-1, *self.mean_shape.shape)
        return vertices, (self.mean_texture + tints) / 255


def rotations_from_angles(angles: Tensor) -> Tensor:
    """``angles`` f32 [B, 3] about x, y and z, radians → rotation matrices [B, 3, 3], ``Rz Ry Rx``."""
    (sx, sy, sz), (cx, cy, cz) = torch.sin(angles).unbind(1), torch.cos(angles).unbind(1)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def placed(vertices: Tensor, angles: Tensor, translation: Tensor) -> Tensor:
    """``vertices`` [B, V, 3] turned by ``angles`` [B, 3] and moved by ``translation`` [B, 3], decimetres.

    The camera is at z = 10 and looks along −z with a focal length of 1015 pixels on a photo of 224.
    """
    return vertices @ rotations_from_angles(angles).transpose(1, 2) + translation[:, None]
