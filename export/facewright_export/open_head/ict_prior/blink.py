"""Close the lids of a blink all the way: what is carried from another head leaves a slit."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import splu

from facewright.fit.corrective_field import membrane
from facewright_export.open_head.ict_prior.correspondences import SeenFace, lid_lines

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The lids overlap by this much, metres.
OVERLAP: Final = 0.0002
#: How far from the lids' lines their skin follows, metres.
_REACH: Final = 0.003
_ROUNDS: Final = 8


def closed_lids(face: SeenFace, eye: IntArray, blink: FloatArray) -> FloatArray:
    """``blink`` float64 [V, 3] so that, at weight 1, nothing is seen of the eyeball ``eye`` int64 [N, 3] from
    the front.

    ``face`` is the neutral one. Both lids go half of the way, and their skin follows as a membrane.
    Raises ValueError where they do not meet.
    """
    skin = np.unique(face.skin)
    columns = np.full(len(face.vertices), -1)
    columns[skin] = np.arange(len(skin))
    stiffness, area = membrane(face.vertices[skin], columns[face.skin])
    energy = sparse.csr_array(stiffness + sparse.diags_array(area / _REACH**2))
    closed = blink.copy()
    for _ in range(_ROUNDS):
        vertices = face.vertices + closed
        lines = lid_lines(replace(face, vertices=vertices), eye)
        if not len(lines[0].corners):
            return closed
        upper, lower = (line.of(vertices) for line in lines)
        move = np.zeros_like(upper)
        move[:, 1] = (upper[:, 1] - lower[:, 1] + OVERLAP) / 2
        maps = sparse.vstack([line.matrix(columns, len(skin)) for line in lines])
        # a stiff pull on many points: 1e3 against cotangents of about 1
        pull = 1e3 * maps.T / len(upper)
        solve = splu(sparse.csc_matrix(energy + pull @ maps)).solve
        closed[skin] += solve(pull @ np.concatenate([-move, move]))
    raise ValueError("the lids do not meet")
