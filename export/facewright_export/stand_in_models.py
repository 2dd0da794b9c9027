"""Face models of the published sizes with made-up numbers, for measuring networks whose files are licensed.

They have a head's size and no head's form: enough to hold a graph to the module, nothing to look at.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.networks.basel_face import BaselFaceModel
from facewright_export.networks.flame import EXPRESSIONS, IDENTITIES, JOINTS, FlameModel
from facewright_export.seeded_weights import seeded_uniform

FLAME_VERTICES: Final = 5023
BASEL_VERTICES: Final = 35709


def flame_stand_in() -> FlameModel:
    """FLAME's arrays at their published shapes; metres."""
    vertices = FLAME_VERTICES
    regressor = np.abs(_numbers((len(JOINTS), vertices), "joint_regressor", 1)) ** 40
    skin = np.abs(_numbers((vertices, len(JOINTS)), "skin_weights", 1)) ** 4
    return FlameModel(
        triangles=_indices((9976, 3), "flame_triangles", vertices),
        template=_numbers((vertices, 3), "template", 0.1),
        shape_basis=_numbers((vertices, 3, IDENTITIES + EXPRESSIONS), "shape_basis", 0.002),
        pose_basis=_numbers((vertices, 3, 36), "pose_basis", 0.002),
        joint_regressor=regressor / regressor.sum(axis=1, keepdims=True),
        parents=(-1, 0, 1, 1, 1),
        skin_weights=skin / skin.sum(axis=1, keepdims=True),
    )


def basel_stand_in() -> BaselFaceModel:
    """The Basel face model's arrays at the shapes of ``BFM_model_front.mat``; decimetres."""
    vertices = BASEL_VERTICES
    return BaselFaceModel(
        mean_shape=_numbers((vertices, 3), "mean_shape", 1),
        identity_basis=_numbers((vertices, 3, 80), "identity_basis", 0.02),
        expression_basis=_numbers((vertices, 3, 64), "expression_basis", 0.02),
        mean_texture=128 + _numbers((vertices, 3), "mean_texture", 64),
        texture_basis=_numbers((vertices, 3, 80), "texture_basis", 2),
        triangles=_indices((70789, 3), "basel_triangles", vertices),
        landmarks=np.arange(68, dtype=np.int32) * 500,
    )


def _numbers(shape: tuple[int, ...], name: str, scale: float) -> npt.NDArray[np.float32]:
    return seeded_uniform(shape, name, seed=3) * np.float32(scale)


def _indices(shape: tuple[int, ...], name: str, below: int) -> npt.NDArray[np.int32]:
    return (np.abs(seeded_uniform(shape, name, seed=3)) * (below - 1)).astype(np.int32)
