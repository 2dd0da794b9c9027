"""FLAME's ``generic_model.pkl`` and landmark embedding: pickles of Python 2 with chumpy and SciPy objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.checkpoints._array_files import finite_array, index_array
from facewright_export.checkpoints._files import WHICH, LayoutError
from facewright_export.checkpoints._pickled_arrays import read_pickle_arrays
from facewright_export.networks.flame import EXPRESSIONS, IDENTITIES, JOINTS, Flame, FlameModel

_ROOT_PARENT: Final = 2**32 - 1


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
    """``flame_static_embedding.pkl``, held to the triangles of ``model``. Raises CheckpointError.

    For ``flame_to_open.npz``, the correspondence with the open head that ``to_open_head`` reads: it starts
    from these landmarks.
    """
    content, source = read_pickle_arrays(path), f"landmark embedding {path}"
    triangles = index_array(content, "lmk_face_idx", [None], below=len(model.triangles), source=source)
    return FlameLandmarks(
        triangles, finite_array(content, "lmk_b_coords", [len(triangles), 3], source=source)
    )
