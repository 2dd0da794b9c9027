"""Teeth and tongue moved to where they are seen in an open mouth.

MakeHuman's teeth bite edge to edge high behind the upper lip, and its tongue hides them. Here the upper
incisors show below the lip and stand before the lower ones, and the tongue rests behind and below them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.expressions import EXPRESSION_NAMES
from facewright_export.open_head.neck_cut import PART_GROUPS, HeadTopology

FloatArray = npt.NDArray[np.float64]

#: Shift of each part in head space, metres.
SHIFTS: Final[dict[str, tuple[float, float, float]]] = {
    "teeth_upper": (0.0, -0.0040, 0.0045),
    "teeth_lower": (0.0, -0.0025, 0.0020),
    "tongue": (0.0, -0.0080, -0.0040),
}


def place_mouth_parts(topology: HeadTopology, mean: FloatArray) -> FloatArray:
    """The mean head [V, 3] with teeth and tongue shifted."""
    placed = mean.copy()
    for name, shift in SHIFTS.items():
        placed[topology.part_vertices(list(PART_GROUPS).index(name))] += shift
    return placed


def lift_tongue_out(topology: HeadTopology, mean: FloatArray, expressions: FloatArray) -> FloatArray:
    """Expressions [52, V, 3] in which ``tongueOut`` takes the tongue's shift back, more so towards the tip.

    Otherwise the lowered tongue would leave the mouth through the lower teeth.
    """
    lifted = expressions.copy()
    lifted[EXPRESSION_NAMES.index("tongueOut")] -= tongue_shift(topology, mean, SHIFTS["tongue"])
    return lifted


def tongue_shift(topology: HeadTopology, mean: FloatArray, shift: tuple[float, float, float]) -> FloatArray:
    """A displacement float64 [V, 3] of the tongue alone: all of ``shift`` at its tip, none at its root."""
    displacement = np.zeros_like(mean)
    tongue = topology.part_vertices(list(PART_GROUPS).index("tongue"))
    depth = mean[tongue, 2]
    towards_tip = np.clip((depth - depth.min()) / np.ptp(depth) * 1.5, 0, 1)
    displacement[tongue] = towards_tip[:, None] * shift
    return displacement
