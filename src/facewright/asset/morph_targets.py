"""Morph targets of an avatar: sparse displacements of positions and normals, the same for every identity.

Expressions of the head model are linear additions, so their displacements do not depend on the person. The
displacement of the normals does a little; it is taken on the mean head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.asset.visemes import VISEMES, viseme_matrix
from facewright.head.head_model import HeadModel
from facewright_kernels import make_vertex_triangles, vertex_normals

F32 = npt.NDArray[np.float32]

#: Displacements below both are left out: 52 of them together stay below a tenth of a millimetre.
_LEAST_MOVE_M: Final = 1e-5
_LEAST_NORMAL_CHANGE: Final = 0.01


@dataclass(frozen=True)
class MorphTargets:
    """Displacements of all vertices of a head model for each target.

    Attributes:
        names: K target names: the expressions in the head model's order, then the visemes where asked for.
        positions: f32 [K, V, 3], metres at weight 1.
        normals: f32 [K, V, 3], to be added to the unit normals of the neutral head.
        moved: bool [K, V]: which vertices a target changes noticeably.
    """

    names: tuple[str, ...]
    positions: F32
    normals: F32
    moved: npt.NDArray[np.bool_]


def morph_targets(head: HeadModel, visemes: bool) -> MorphTargets:
    """The head model's expressions and, with ``visemes``, their 15 combinations of `visemes`."""
    names = [str(name) for name in head.expression_names]
    positions = head.expression_basis
    if visemes:
        combinations = np.tensordot(viseme_matrix(names), head.expression_basis, axes=1)
        positions = np.concatenate([positions, combinations.astype(np.float32)])
        names += VISEMES
    mean = head.vertices_mean
    triangles = head.triangles
    around = make_vertex_triangles(triangles, len(mean))
    rest = vertex_normals(mean[None], triangles, around)[0]
    normals = np.empty_like(positions)
    for k, displacement in enumerate(positions):
        normals[k] = vertex_normals((mean + displacement)[None], triangles, around)[0] - rest
    moved = (np.linalg.norm(positions, axis=2) > _LEAST_MOVE_M) | (
        np.linalg.norm(normals, axis=2) > _LEAST_NORMAL_CHANGE
    )
    return MorphTargets(tuple(names), positions, normals, moved)
