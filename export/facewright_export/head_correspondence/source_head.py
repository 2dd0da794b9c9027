"""Another model's mean head as the open head is laid on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.core.wheels import sha256_of
from facewright_export.head_correspondence.correspondence_error import CorrespondenceError
from facewright_export.head_correspondence.landmarks import COUNT, OUTLINE
from facewright_export.head_correspondence.obj_file import read_obj
from facewright_export.head_correspondence.surface import SurfacePoints, vertex_points

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_LANDMARKS: Final = "give a list of the vertices of the 68 landmarks of Multi-PIE, counted from 0"


@dataclass(frozen=True)
class UvLayout:
    """``uv`` float64 [U, 2], glTF's convention; ``triangles`` int64 [F, 3], each triangle's corners."""

    uv: FloatArray
    triangles: IntArray


@dataclass(frozen=True, eq=False)
class SourceHead:
    """A head in its own frame and unit.

    Args:
        name: of the model; the file is called ``<name>_to_open.npz``.
        vertices: float64 [N, 3].
        triangles: int64 [F, 3], counter-clockwise from outside.
        landmarks: the 51 inner ones of the 68.
        files: ``name sha256`` of each file that it was read from.
        metres_per_unit: None where only the size tells.
        expressions: float64 [K, N, 3], a displacement for each coefficient; K may be 0.
        uv: None where the source has none.
    """

    name: str
    vertices: FloatArray
    triangles: IntArray
    landmarks: SurfacePoints
    files: tuple[str, ...]
    metres_per_unit: float | None
    expressions: FloatArray
    uv: UvLayout | None = None


def mesh_head(path: Path, landmarks: Path, metres_per_unit: float | None = None) -> SourceHead:
    """Any mesh: an OBJ file, and a JSON list of the vertices of its 68, or 51 inner, landmarks, from 0.

    Raises:
        CorrespondenceError: a file is not what it should be.
    """
    mesh = read_obj(path)
    try:
        numbers = np.array(json.loads(landmarks.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise CorrespondenceError(f"{landmarks} is no JSON list ({error})", _LANDMARKS) from error
    if numbers.ndim != 1 or len(numbers) not in (COUNT, COUNT + OUTLINE) or numbers.dtype.kind != "i":
        raise CorrespondenceError(f"{landmarks} holds no {COUNT + OUTLINE} or {COUNT} vertices", _LANDMARKS)
    if numbers.min() < 0 or numbers.max() >= len(mesh.vertices):
        raise CorrespondenceError(
            f"{landmarks} names a vertex {numbers.max()}; {path} has {len(mesh.vertices)}", _LANDMARKS
        )
    return SourceHead(
        path.stem,
        mesh.vertices,
        mesh.triangles,
        vertex_points(numbers[-COUNT:].astype(np.int64)),
        (fingerprint(path), fingerprint(landmarks)),
        metres_per_unit,
        np.zeros((0, len(mesh.vertices), 3)),
        None if mesh.uv is None or mesh.uv_triangles is None else UvLayout(mesh.uv, mesh.uv_triangles),
    )


def fingerprint(path: Path) -> str:
    """``name sha256`` of a file."""
    return f"{path.name} {sha256_of(path)}"
