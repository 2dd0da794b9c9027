"""Close lids and lips all the way: what is carried from another head leaves slits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import splu

from facewright.fit.corrective_field import membrane
from facewright_export.head_correspondence.seen_curves import SeenFace, lid_lines, lip_lines
from facewright_export.head_correspondence.surface import SurfacePoints

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: The upper and the lower line of a slit on a face, empty where it is closed.
Lines = Callable[[SeenFace], tuple[SurfacePoints, SurfacePoints]]

#: Lids and lips overlap by this much, metres.
LID_OVERLAP: Final = 0.0002
LIP_OVERLAP: Final = 0.0004
#: Lips this far apart are closed, metres: two pixels.
_LIPS_TOUCH: Final = 0.00011
#: How far from the lines the skin follows, metres.
_REACH: Final = 0.003
_ROUNDS: Final = 8


def closed_lids(face: SeenFace, eye: IntArray, blink: FloatArray) -> FloatArray:
    """``blink`` float64 [V, 3] so that, at weight 1, nothing is seen of the eyeball ``eye`` int64 [N, 3] from
    the front; ``face`` is the neutral one. Raises ValueError where the lids do not meet.
    """
    return _closed(face, blink, lambda seen: lid_lines(seen, eye), LID_OVERLAP)


def closed_lips(face: SeenFace) -> FloatArray:
    """Displacement float64 [V, 3] after which the lips touch. Raises ValueError where they do not meet."""

    def slit(seen: SeenFace) -> tuple[SurfacePoints, SurfacePoints]:
        upper, lower = lip_lines(seen)
        apart = upper.of(seen.vertices)[:, 1] - lower.of(seen.vertices)[:, 1]
        still = np.flatnonzero(apart > _LIPS_TOUCH)
        return upper.taken(still), lower.taken(still)

    return _closed(face, np.zeros_like(face.vertices), slit, LIP_OVERLAP)


def _closed(face: SeenFace, moved: FloatArray, lines: Lines, overlap: float) -> FloatArray:
    """``moved`` [V, 3] with either side of the slit going half of the way; skin follows as a membrane."""
    skin = np.unique(face.skin)
    columns = np.full(len(face.vertices), -1)
    columns[skin] = np.arange(len(skin))
    stiffness, area = membrane(face.vertices[skin], columns[face.skin])
    energy = sparse.csr_array(stiffness + sparse.diags_array(area / _REACH**2))
    closed = moved.copy()
    for _ in range(_ROUNDS):
        vertices = face.vertices + closed
        sides = lines(replace(face, vertices=vertices))
        if not len(sides[0].corners):
            return closed
        upper, lower = (side.of(vertices) for side in sides)
        move = np.zeros_like(upper)
        move[:, 1] = (upper[:, 1] - lower[:, 1] + overlap) / 2
        maps = sparse.vstack([side.matrix(columns, len(skin)) for side in sides])
        # a stiff pull on many points: 1e3 against cotangents of about 1
        pull = 1e3 * maps.T / len(upper)
        solve = splu(sparse.csc_matrix(energy + pull @ maps)).solve
        closed[skin] += solve(pull @ np.concatenate([-move, move]))
    raise ValueError("lids or lips do not meet")
