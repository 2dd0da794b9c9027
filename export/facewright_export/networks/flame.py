"""FLAME as a network: shape, expression, pose correctives and linear blend skinning, so that it runs in an
engine.

Li et al. 2017, "Learning a model of facial shape and expression from 4D scans", section 3:
the template plus shape, pose and expression offsets, posed by blend skinning about joints that are regressed
from the shaped vertices. FLAME's frame is ours up to the origin: metres, +Y up, +Z out of the face, +X to the
subject's left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.floating]

#: FLAME's joints in the order of its files: the root, the neck, the jaw and the eyes.
JOINTS: Final = ("root", "neck", "jaw", "eye_left", "eye_right")
IDENTITIES: Final = 300
EXPRESSIONS: Final = 100
# Below 0.01 rad the two quotients of Rodrigues' formula are taken at 0.01 rad, which changes a rotation by
# less than 2e-7 and leaves nothing that underflows in half precision.
_SMALLEST_ANGLE_SQUARED: Final = 1e-4


@dataclass(frozen=True, eq=False)
class FlameModel:
    """The arrays of a FLAME file, by V vertices, F triangles and 5 joints, lengths in metres.

    Args:
        triangles: int32 [F, 3].
        template: [V, 3].
        shape_basis: [V, 3, 400], 300 identity then 100 expression components, each for a coefficient of N(0,
            1).
        pose_basis: [V, 3, 36], correctives for the entries of the four rotations below the root, minus
            identity.
        joint_regressor: [5, V].
        parents: the parent of each joint, −1 for the root.
        skin_weights: [V, 5].
    """

    triangles: npt.NDArray[np.int32]
    template: Floats
    shape_basis: Floats
    pose_basis: Floats
    joint_regressor: Floats
    parents: tuple[int, ...]
    skin_weights: Floats


class Flame(nn.Module):
    """Coefficients → posed vertices.

    Args:
        model: FLAME's arrays.
        identities: how many of the 300 identity components are kept (DECA reads 100, MICA 300).
        expressions: how many of the 100 expression components are kept (DECA reads 50).
    """

    def __init__(
        self, model: FlameModel, identities: int = IDENTITIES, expressions: int = EXPRESSIONS
    ) -> None:
        super().__init__()
        for name, count, most in (
            ("identities", identities, IDENTITIES),
            ("expressions", expressions, EXPRESSIONS),
        ):
            if not 1 <= count <= most:
                raise ValueError(f"{name} must be 1 … {most}, not {count}")
        self.identities, self.expressions = identities, expressions
        self.parents = model.parents
        kept = np.concatenate(
            [
                model.shape_basis[:, :, :identities],
                model.shape_basis[:, :, IDENTITIES : IDENTITIES + expressions],
            ],
            2,
        )
        self.register_buffer("template", _tensor(model.template))
        self.register_buffer("shape_basis", _tensor(kept.reshape(-1, identities + expressions).T))
        self.register_buffer("pose_basis", _tensor(model.pose_basis.reshape(-1, model.pose_basis.shape[2]).T))
        self.register_buffer("joint_regressor", _tensor(model.joint_regressor))
        self.register_buffer("skin_weights", _tensor(model.skin_weights))

    def forward(self, identity: Tensor, expression: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices [B, V, 3] and joints [B, 5, 3], metres.

        Args:
            identity: f32 [B, ``identities``]. expression: f32 [B, ``expressions``]. pose: f32 [B, 15],
            axis-angle in radians of root, neck, jaw, left and right eye, relative to the parent.
        """
        offsets = torch.cat([identity, expression], 1) @ self.shape_basis
        shaped = self.template + offsets.reshape(-1, *self.template.shape)
        joints = self.joint_regressor @ shaped
        rotations = rotation_matrices(pose.reshape(-1, len(JOINTS), 3))
        bends = (rotations[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)).flatten(1)
        unposed = shaped + (bends @ self.pose_basis).reshape(-1, *self.template.shape)
        turns, shifts, posed_joints = self._transforms(rotations, joints)
        # the blended transform of each vertex, Σ weight (turn · v + shift)
        blended = (self.skin_weights @ turns.flatten(2)).reshape(-1, *self.template.shape, 3)
        return (blended * unposed[:, :, None]).sum(3) + self.skin_weights @ shifts, posed_joints

    def _transforms(self, rotations: Tensor, joints: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each joint's transform, x → turn x + shift, as [B, 5, 3, 3] and [B, 5, 3], and its place."""
        turns: list[Tensor] = []
        posed: list[Tensor] = []
        for joint, parent in enumerate(self.parents):
            if parent < 0:
                turns.append(rotations[:, joint])
                posed.append(joints[:, joint])
            else:
                turns.append(turns[parent] @ rotations[:, joint])
                along = (joints[:, joint] - joints[:, parent])[:, :, None]
                posed.append((turns[parent] @ along)[:, :, 0] + posed[parent])
        turn, place = torch.stack(turns, 1), torch.stack(posed, 1)
        return turn, place - (turn @ joints[:, :, :, None])[:, :, :, 0], place


def rotation_matrices(axis_angles: Tensor) -> Tensor:
    """Rodrigues' formula: axis times angle [..., 3], radians → rotation matrices [..., 3, 3]."""
    x, y, z = axis_angles.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*axis_angles.shape, 3)
    angle = axis_angles.square().sum(-1)[..., None, None].clamp_min(_SMALLEST_ANGLE_SQUARED).sqrt()
    # I + sin θ/θ K + (1 − cos θ)/θ² K², with 1 − cos θ = 2 sin² θ/2, which keeps its digits at small angles
    identity = torch.eye(3, dtype=axis_angles.dtype, device=axis_angles.device)
    half = torch.sin(angle / 2) / angle
    return identity + (torch.sin(angle) / angle) * cross + 2 * half.square() * (cross @ cross)


def full_pose(head_and_jaw: Tensor) -> Tensor:
    """DECA's pose f32 [B, 6] (head, jaw) → FLAME's [B, 15], with neck and eyes at rest: what comes between
    ``coarse_encoder`` and ``animatable_head``.
    """
    head, jaw = head_and_jaw.split(3, 1)
    rest = torch.zeros_like(head)
    return torch.cat([head, rest, jaw, rest, rest], 1)


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))
