"""The Basel face model in ``BFM_model_front.mat``, the MATLAB file that Deep3D makes of the licensed one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from facewright_export.checkpoints._array_files import finite_array, index_array, read_mat
from facewright_export.networks.basel_face import BaselFace, BaselFaceModel

_MATRICES: Final = ("meanshape", "idBase", "exBase", "meantex", "texBase", "tri", "keypoints")


def read_bfm(path: Path | str) -> BaselFaceModel:
    """The arrays of a BFM file: indices from 0, the shape moved to the mean of its vertices as Deep3D does.

    Raises CheckpointError.
    """
    content = read_mat(path, _MATRICES)
    source = f"MAT file {path}"
    mean = finite_array({"meanshape": content["meanshape"].reshape(-1)}, "meanshape", [None], source=source)
    if len(mean) % 3:
        # told as a shape, like every other mismatch
        finite_array(content, "meanshape", [1, 3 * (len(mean) // 3)], source=source)
    count = len(mean) // 3
    shape = mean.reshape(count, 3)
    bases = {
        name: finite_array(content, name, [3 * count, size], source=source).reshape(count, 3, size)
        for name, size in (("idBase", 80), ("exBase", 64), ("texBase", 80))
    }
    from_one = {name: content[name].astype(np.int64) - 1 for name in ("tri", "keypoints")}
    from_one["keypoints"] = from_one["keypoints"].reshape(-1)
    return BaselFaceModel(
        mean_shape=shape - shape.mean(0),
        identity_basis=bases["idBase"],
        expression_basis=bases["exBase"],
        mean_texture=finite_array(
            {"meantex": content["meantex"].reshape(-1)}, "meantex", [3 * count], source=source
        ).reshape(count, 3),
        texture_basis=bases["texBase"],
        triangles=index_array(from_one, "tri", [None, 3], below=count, source=source),
        landmarks=index_array(from_one, "keypoints", [68], below=count, source=source),
    )


def import_bfm(path: Path | str) -> BaselFace:
    """The Basel face model as a network. Raises CheckpointError."""
    network = BaselFace(read_bfm(path))
    network.eval()
    return network
