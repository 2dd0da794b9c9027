"""The hair's colour at every vertex: what the photo shows of it, continued over the back of the head.

ln(photo / typical hair) is continued harmonically over the surface (``surface_diffusion``), as skin is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright.appearance.evidence import Evidence, ZoneWeights
from facewright.appearance.skin_model import SkinModel, smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.arrays import Floats
from facewright.core.colour import luminance
from facewright.hair.falling import HairOverEars, SeenHead
from facewright.head.head_model import HeadModel

#: How strongly an observed vertex is pinned, relative to one mesh edge.
PIN = 8.0
#: Pull of unseen hair back to the median.
HAIR_SCREENING = 0.01
#: Hair of a head whose scalp and brows the photo does not show.
DEFAULT_HAIR = np.array([0.045, 0.03, 0.02], np.float32)


@dataclass(frozen=True)
class HairColour:
    """Hair at every vertex, whether seen or not, with the photo's remaining light.

    Attributes:
        colour: linear f32 ``[V, 3]``; skin-coloured for a bald head.
        tone: typical hair colour, linear f32 ``[3]``.
        hairiness: 0–1, how much of the scalp is hair rather than skin.
        seen: share of the visible scalp that is not skin.
        falling: f32 ``[V]``, 0–1, how likely hair falls over the skin there; None where it falls nowhere.
    """

    colour: Floats
    tone: Floats
    hairiness: float
    seen: float
    falling: Floats | None


class HairColouring:
    """Colours the hair of one head model.

    Args:
        head: the head model.
        zones: at its vertices.
        diffusion: over the skin's surface.
    """

    def __init__(self, head: HeadModel, zones: ZoneWeights, diffusion: SurfaceDiffusion) -> None:
        self.over_ears = HairOverEars(head, zones, diffusion)
        self._scalp = zones.scalp
        self._brows = np.maximum(head.region("brow_left"), head.region("brow_right"))
        self._diffusion = diffusion

    def complete(self, seen: SeenHead) -> HairColour:
        """The hair of the head in the photo; where the crop cuts it off, the brows' colour stands in."""
        colours, evidence = seen.colours, seen.evidence
        floor = np.float32(0.004)
        scalp_weight = evidence.weight * smooth_step(self._scalp, 0.3, 0.7)
        mass = float(scalp_weight.sum())
        if not mass > 6.0:
            brows = _brow_colour(colours, evidence, self._brows, seen.skin)
            tone = DEFAULT_HAIR if brows is None else brows
            everywhere = np.broadcast_to(tone, colours.shape).astype(np.float32)
            return HairColour(everywhere, tone.astype(np.float32), 1.0, 0.0, None)
        not_skin = smooth_step(evidence.deviation, 1.8, 3.2)
        hair_seen = float((scalp_weight * not_skin).sum()) / mass
        hairiness = float(smooth_step(np.array(hair_seen), 0.3, 0.6))
        # A bald patch or a forehead under the hairline must not bleach the hair, nor hair tan a bald head.
        tone = _hair_tone(colours, scalp_weight * (1.0 - 0.75 * hairiness * (1.0 - not_skin)))
        scalp_weight = scalp_weight * (1.0 - min(1.0, 2.0 * hairiness) * (1.0 - not_skin))
        falling = None
        long_hair = self.over_ears.find(seen, tone)
        if long_hair is not None:
            falling = np.float32(hairiness) * long_hair.likely
            scalp_weight = np.maximum(scalp_weight, hairiness * long_hair.seen)
        reference = np.maximum(tone, 0.004)
        offset = np.clip(np.log((np.maximum(colours, 0.0) + floor) / (reference + floor)), -0.9, 0.4)
        hair = reference * np.exp(self._diffusion.complete(offset, PIN * scalp_weight, HAIR_SCREENING))
        return HairColour(hair.astype(np.float32), tone.astype(np.float32), hairiness, hair_seen, falling)


def _brow_colour(colours: Floats, evidence: Evidence, brow: Floats, skin: SkinModel | None) -> Floats | None:
    """The darker part of the brows, f32 ``[3]``; None when they are hardly seen."""
    own = (brow > 0.4) & (evidence.weight > 0.4)
    if skin is None or int(own.sum()) < 6:
        return None
    seen = colours[own]
    dark = luminance(seen) <= np.quantile(luminance(seen), 0.4)
    result: Floats = np.median(seen[dark], axis=0).astype(np.float32)
    return result


def _hair_tone(colours: Floats, weights: Floats) -> Floats:
    """Weighted geometric mean f32 ``[3]`` of colours ``[N, 3]``: hair is strands and gaps, and sheen counts
    less."""
    share = (weights / weights.sum())[:, None]
    logs = np.log(np.maximum(colours, 0.0) + np.float32(0.002))
    result: Floats = np.exp((share * logs).sum(axis=0)).astype(np.float32)
    return result
