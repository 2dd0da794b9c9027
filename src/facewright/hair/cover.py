"""Which texels hair covers where no photo shows them: the hairline and the rim of the ears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from facewright.appearance.evidence import ZoneWeights
from facewright.appearance.skin_model import smooth_step
from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, Range
from facewright.hair.falling import FallingHairSettings, hides_skin, room_for_hair
from facewright.head.hairline import hair_growth


@dataclass(frozen=True)
class HairCoverSettings:
    """How hair that no photo shows begins and ends."""

    #: Signed distances to the hairline between which hair becomes dense: wider, the strands that fray it
    #: become the teeth of a comb.
    line: Annotated[Range, "metres", BY_EYE] = (-0.0035, 0.0035)
    #: Weights of the ear between which hair ends: wider, it would hang over the ear as a comb.
    ear_rim: Annotated[Range, "weight", BY_EYE] = (0.3, 0.7)


@dataclass(frozen=True)
class HairTexels:
    """Where hair may be, at the N texels.

    Attributes:
        grows: :func:`hair_line`.
        room: :func:`facewright.hair.falling.room_for_hair`.
        settings: of falling hair.
    """

    grows: Floats
    room: Floats
    settings: FallingHairSettings

    @staticmethod
    def of(
        position: Floats, zones: ZoneWeights, cover: HairCoverSettings, falling: FallingHairSettings
    ) -> HairTexels:
        """Of texels with points f32 ``[N, 3]`` on the mean head, metres, and the zones there."""
        return HairTexels(hair_line(position, zones, cover), room_for_hair(position, zones, falling), falling)

    def hidden_skin(self, likely: Floats) -> Floats:
        """How far falling hair hides the skin, 0–1 f32 ``[N]``; ``likely`` as f32 ``[N]`` it lies there."""
        return hides_skin(likely, self.room, self.settings)


def hair_line(position: Floats, zones: ZoneWeights, settings: HairCoverSettings) -> Floats:
    """How likely a filled texel is hair, 0–1 f32 ``[N]``; strands fray the border when texels are composed.

    Args:
        position: f32 ``[N, 3]``, the texels' points on the canonical head, metres.
        zones: at the texels.
        settings: where it ends.
    """
    growth = hair_growth(position)
    begins, dense = settings.line
    soft = np.clip((growth - begins) / (dense - begins), 0.0, 1.0)
    ear = smooth_step(zones.pinna, *settings.ear_rim)
    result: Floats = (soft * (1.0 - ear) * zones.skin_part).astype(np.float32)
    return result
