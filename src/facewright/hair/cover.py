"""Which texels hair covers where no photo shows them: the hairline and the rim of the ears."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright.appearance.evidence import ZoneWeights
from facewright.appearance.skin_model import smooth_step
from facewright.core.arrays import Floats
from facewright.head.hairline import hair_growth

#: Distances to the hairline between which hair becomes dense, metres: wider, the strands that fray it become
#: the teeth of a comb.
HAIR_LINE_WIDTH = (-0.0035, 0.0035)
#: Weights of the ear between which hair ends: wider, it would hang over the ear as a comb.
EAR_RIM = (0.3, 0.7)


@dataclass(frozen=True)
class HairTexels:
    """Where hair may be, at the N texels.

    Attributes:
        grows: :func:`hair_line`.
        room: :func:`facewright.hair.falling.room_for_hair`.
    """

    grows: Floats
    room: Floats


def hair_line(position: Floats, zones: ZoneWeights) -> Floats:
    """How likely a filled texel is hair, 0–1 f32 ``[N]``; strands fray the border when texels are composed.

    Args:
        position: f32 ``[N, 3]``, the texels' points on the mean head, metres.
        zones: at the texels.
    """
    growth = hair_growth(position)
    soft = np.clip((growth - HAIR_LINE_WIDTH[0]) / (HAIR_LINE_WIDTH[1] - HAIR_LINE_WIDTH[0]), 0.0, 1.0)
    ear = smooth_step(zones.pinna, *EAR_RIM)
    result: Floats = (soft * (1.0 - ear) * zones.skin_part).astype(np.float32)
    return result
