"""Read the geometry and the texture coordinates of a Wavefront OBJ file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facewright_export.head_correspondence.correspondence_error import CorrespondenceError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_MEND = "export the mesh again as OBJ, one object, with faces"


@dataclass(frozen=True)
class ObjMesh:
    """``vertices`` float64 [V, 3]; ``triangles`` int64 [F, 3]; ``uv`` float64 [U, 2], glTF's convention, and
    ``uv_triangles`` int64 [F, 3], or None.
    """

    vertices: FloatArray
    triangles: IntArray
    uv: FloatArray | None
    uv_triangles: IntArray | None


def read_obj(path: Path) -> ObjMesh:
    """Read a mesh; polygons become fans of triangles.

    Raises:
        CorrespondenceError: the file cannot be read, has no triangles, an index that names nothing, or
            numbers that are not finite.
    """
    positions: list[list[str]] = []
    textures: list[list[str]] = []
    fans: list[tuple[str, str, str]] = []
    try:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            kind, *words = line.split() or [""]
            if kind == "v":
                positions.append(words[:3])
            elif kind == "vt":
                textures.append(words[:2])
            elif kind == "f":
                fans += [(words[0], words[i], words[i + 1]) for i in range(1, len(words) - 1)]
        vertices, uv = np.array(positions, np.float64), np.array(textures, np.float64)
        corners = [[corner.split("/") for corner in fan] for fan in fans]
        triangles = _indices([[corner[0] for corner in fan] for fan in corners], len(vertices))
        textured = len(uv) > 0 and all(len(corner) > 1 and corner[1] for fan in corners for corner in fan)
        uv_triangles = (
            _indices([[corner[1] for corner in fan] for fan in corners], len(uv)) if textured else None
        )
    except (OSError, ValueError) as error:
        raise CorrespondenceError(f"{path} cannot be read as OBJ ({error})", _MEND) from error
    if not (vertices.ndim == 2 and vertices.shape[1] == 3 and np.isfinite(vertices).all() and len(triangles)):
        raise CorrespondenceError(f"{path} has no mesh of finite vertices and triangles", _MEND)
    return ObjMesh(
        vertices, triangles, np.stack([uv[:, 0], 1 - uv[:, 1]], 1) if textured else None, uv_triangles
    )


def _indices(words: list[list[str]], count: int) -> IntArray:
    """From 1, or from the end where negative, to from 0."""
    numbers = np.array(words, np.int64).reshape(-1, 3)
    from_zero: IntArray = np.where(numbers < 0, numbers + count, numbers - 1)
    if len(from_zero) and not 0 <= from_zero.min() <= from_zero.max() < count:
        raise ValueError(f"a face names one of {count} that is not there")
    return from_zero
