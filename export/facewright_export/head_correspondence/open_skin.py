"""The open head as it is laid on another one: its outer skin, its lids and lips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.landmarks import (
    LOWER_LIP,
    MOUTH_CORNERS,
    OUTLINE_REACH,
    UPPER_LIP,
    open_landmarks,
)
from facewright_export.head_correspondence.seen_curves import SeenFace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OpenSkin:
    """``vertices`` int64 [N] of the outer skin, rising; ``triangles`` int64 [F, 3] among them, as vertices of
    the head; ``columns`` int64 [V], the place of a vertex among ``vertices``, -1 elsewhere.
    """

    vertices: IntArray
    triangles: IntArray
    columns: IntArray

    @classmethod
    def of(cls, head: HeadModel) -> OpenSkin:
        """The skin without the linings of the mouth and the eye sockets."""
        triangles = head.outer_triangles.astype(np.int64)
        vertices = np.unique(triangles)
        columns = np.full(head.vertex_count, -1)
        columns[vertices] = np.arange(len(vertices))
        return cls(vertices, triangles, columns)


def open_face(head: HeadModel, vertices: FloatArray) -> SeenFace:
    """The open head with ``vertices`` float64 [V, 3], as its lids and lips are looked for."""
    triangles = head.triangles.astype(np.int64)
    skin, left, right = (triangles[head.part_triangles(part)] for part in ("skin", "eye_left", "eye_right"))
    nearest = open_landmarks(head).nearest
    corners = open_landmarks(head).of(vertices)[list(MOUTH_CORNERS)]
    return SeenFace(
        vertices, skin, (left, right), corners, (nearest[LOWER_LIP], nearest[UPPER_LIP]), OUTLINE_REACH
    )
