"""FLAME's ``generic_model.pkl`` and landmark embedding: pickles of Python 2 with chumpy and SciPy objects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.checkpoints._array_files import finite_array, index_array
from facewright_export.checkpoints._files import WHICH, LayoutError
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from facewright_export.networks.flame import EXPRESSIONS, IDENTITIES, JOINTS, Flame, FlameModel

_ROOT_PARENT: Final = 2**32 - 1
_MOST_JOINTS_PER_VERTEX: Final = 4


def read_flame(path: Path | str) -> FlameModel:
    """The arrays of a FLAME file (2019, 2020 or 2023, generic, female or male). Raises CheckpointError."""
    content = read_pickle_arrays(path)
    source = f"FLAME file {path}"
    joints = len(JOINTS)
    template = finite_array(content, "v_template", [None, 3], source=source)
    count = len(template)
    kinship = finite_array(content, "kintree_table", [2, joints], source=source)
    parents = tuple(-1 if parent == _ROOT_PARENT else int(parent) for parent in kinship[0])
    if parents[0] != -1 or any(not 0 <= parent < joint for joint, parent in enumerate(parents[1:], 1)):
        raise LayoutError(source, f"kintree_table has parents {list(parents)}", WHICH)
    regressor = finite_array(content, "J_regressor", [joints, count], source=source)
    weights = finite_array(content, "weights", [count, joints], source=source)
    for name, sums in (("J_regressor", regressor.sum(1)), ("weights", weights.sum(1))):
        if abs(sums - 1).max() > 1e-3:
            raise LayoutError(
                source, f"rows of {name} add up to {sums.min():g} … {sums.max():g}, not 1", WHICH
            )
    return FlameModel(
        triangles=index_array(content, "f", [None, 3], below=count, source=source),
        template=template,
        shape_basis=finite_array(content, "shapedirs", [count, 3, IDENTITIES + EXPRESSIONS], source=source),
        pose_basis=finite_array(content, "posedirs", [count, 3, 9 * (joints - 1)], source=source),
        joint_regressor=regressor,
        parents=parents,
        skin_weights=weights,
    )


def import_flame(path: Path | str, identities: int = IDENTITIES, expressions: int = EXPRESSIONS) -> Flame:
    """FLAME as a network of its first ``identities`` and ``expressions``. Raises CheckpointError."""
    network = Flame(read_flame(path), identities, expressions)
    network.eval()
    return network


@dataclass(frozen=True, eq=False)
class FlameLandmarks:
    """Where the 51 inner landmarks of the 68 lie: triangles int32 [51] and barycentric weights [51, 3]."""

    triangles: npt.NDArray[np.int32]
    barycentrics: npt.NDArray[np.float64]


def read_flame_landmarks(path: Path | str, model: FlameModel) -> FlameLandmarks:
    """``flame_static_embedding.pkl``, held to the triangles of ``model``. Raises CheckpointError."""
    content, source = read_pickle_arrays(path), f"landmark embedding {path}"
    triangles = index_array(content, "lmk_face_idx", [None], below=len(model.triangles), source=source)
    return FlameLandmarks(
        triangles, finite_array(content, "lmk_b_coords", [len(triangles), 3], source=source)
    )


def head_arrays(model: FlameModel) -> dict[str, npt.NDArray[Any]]:
    """The parts of a head model file (CONVENTIONS.md) that FLAME has, by their keys.

    The origin moves between the eyes; the 160 strongest of 300 identity components are kept, and the four
    strongest of five joints for each vertex. FLAME's expressions are principal components, not ARKit's
    shapes, and come as ``flame_expression_basis`` f32 [100, V, 3]; ``missing_head_arrays`` says what a head
    model file needs besides.
    """
    joints = model.joint_regressor @ model.template
    origin = (joints[JOINTS.index("eye_left")] + joints[JOINTS.index("eye_right")]) / 2
    bases = model.shape_basis.transpose(2, 0, 1)
    smallest_kept = np.sort(model.skin_weights, axis=1)[:, -_MOST_JOINTS_PER_VERTEX, None]
    kept = np.where(model.skin_weights >= smallest_kept, model.skin_weights, 0)
    parts = ("skin", "eye_left", "eye_right")
    triangle_part = np.zeros(len(model.triangles), np.uint8)
    for part, name in enumerate(parts[1:], 1):
        follows = model.skin_weights[:, JOINTS.index(name)] > 0.5
        triangle_part[follows[model.triangles].all(1)] = part
    return {
        "vertices_mean": (model.template - origin).astype(np.float32),
        "identity_basis": bases[:IDENTITY_SIZE].astype(np.float32),
        "flame_expression_basis": bases[IDENTITIES:].astype(np.float32),
        "triangles": model.triangles,
        "part_names": np.array(parts),
        "triangle_part": triangle_part,
        "joint_names": np.array(JOINTS),
        "joint_parents": np.array(model.parents, np.int32),
        "joint_regressor": model.joint_regressor.astype(np.float32),
        "skin_weights": (kept / kept.sum(1, keepdims=True)).astype(np.float32),
    }


def missing_head_arrays(model: FlameModel) -> list[str]:
    """Keys of a head model file that no FLAME file has the data for, sorted."""
    return sorted({field.name for field in fields(HeadModel)} - head_arrays(model).keys())
