"""The hair's colour at every vertex: what the photo shows of it, continued over the back of the head.

ln(photo / typical hair) is continued harmonically over the surface (``surface_diffusion``), as skin is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from facewright.appearance.evidence import Evidence, ZoneWeights
from facewright.appearance.skin_model import smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.arrays import Floats
from facewright.core.colour import luminance
from facewright.core.settings import BY_EYE, INSENSITIVE, NUMERICAL, Range, Triple
from facewright.hair.falling import FallingHairSettings, HairOverEars, SeenHead
from facewright.head.head_model import HeadModel


@dataclass(frozen=True)
class HairColourSettings:
    """How hair is told from skin on the scalp, and continued."""

    #: Hair of a head whose scalp and brows the photo does not show: dark brown.
    default: Annotated[Triple, "linear albedo", BY_EYE] = (0.045, 0.03, 0.02)
    #: Weights of the scalp between which a vertex counts, and how many must be seen.
    scalp: Annotated[Range, "weight", BY_EYE] = (0.3, 0.7)
    least_seen: Annotated[float, "vertices", BY_EYE] = 6.0
    #: Deviations from skin between which something on the scalp is no skin, and shares of that between which
    #: a head is bald and is not.
    unlike_skin: Annotated[Range, "sigmas", BY_EYE] = (1.8, 3.2)
    hairiness: Annotated[Range, "share", INSENSITIVE] = (0.3, 0.6)
    #: A bald patch or a forehead under the hairline must not bleach the hair, nor hair tan a bald head: what
    #: of skin is left out of the tone, and how fast of the colour as heads grow hairy.
    skin_left_out: Annotated[float, "share", BY_EYE] = 0.75
    skin_fades: Annotated[float, "times the hairiness", BY_EYE] = 2.0
    #: How strongly an observed vertex is pinned, and the pull of unseen hair back to the tone.
    pin: Annotated[float, "of a mesh edge", INSENSITIVE] = 8.0
    screening: Annotated[float, "of a mesh edge", BY_EYE] = 0.01
    #: How much darker and brighter than the tone hair may be, and what is added before logarithms, to colours
    #: and to those that make the tone.
    offset: Annotated[Range, "ln", BY_EYE] = (-0.9, 0.4)
    floor: Annotated[float, "linear", NUMERICAL] = 0.004
    tone_floor: Annotated[float, "linear", NUMERICAL] = 0.002
    #: Where the crop cuts the hair off the darker part of the brows stands in: weights of brow and evidence
    #: from which a vertex counts, how many must, and which quantile of brightness is dark.
    brow: Annotated[float, "weight", BY_EYE] = 0.4
    least_brows: Annotated[int, "vertices", BY_EYE] = 6
    brow_dark: Annotated[float, "quantile", BY_EYE] = 0.4


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
        settings: how hair is told and continued.
        falling: how long hair is told.
    """

    def __init__(
        self,
        head: HeadModel,
        zones: ZoneWeights,
        diffusion: SurfaceDiffusion,
        settings: HairColourSettings,
        falling: FallingHairSettings,
    ) -> None:
        self.over_ears = HairOverEars(head, zones, diffusion, falling)
        self._settings = settings
        self._scalp = zones.scalp
        self._brows = np.maximum(head.region("brow_left"), head.region("brow_right"))
        self._diffusion = diffusion

    def complete(self, seen: SeenHead) -> HairColour:
        """The hair of the head in the photo; where the crop cuts it off, the brows' colour stands in."""
        settings, colours, evidence = self._settings, seen.colours, seen.evidence
        floor = np.float32(settings.floor)
        scalp_weight = evidence.weight * smooth_step(self._scalp, *settings.scalp)
        mass = float(scalp_weight.sum())
        if not mass > settings.least_seen:
            brows = None if seen.skin is None else self._brow_colour(colours, evidence)
            tone = np.array(settings.default, np.float32) if brows is None else brows
            everywhere = np.broadcast_to(tone, colours.shape).astype(np.float32)
            return HairColour(everywhere, tone.astype(np.float32), 1.0, 0.0, None)
        not_skin = smooth_step(evidence.deviation, *settings.unlike_skin)
        hair_seen = float((scalp_weight * not_skin).sum()) / mass
        hairiness = float(smooth_step(np.array(hair_seen), *settings.hairiness))
        like_skin = 1.0 - not_skin
        tone_weight = scalp_weight * (1.0 - settings.skin_left_out * hairiness * like_skin)
        tone = _hair_tone(colours, tone_weight, settings.tone_floor)
        scalp_weight = scalp_weight * (1.0 - min(1.0, settings.skin_fades * hairiness) * like_skin)
        falling = None
        long_hair = self.over_ears.find(seen, tone)
        if long_hair is not None:
            falling = np.float32(hairiness) * long_hair.likely
            scalp_weight = np.maximum(scalp_weight, hairiness * long_hair.seen)
        reference = np.maximum(tone, settings.floor)
        offset = np.log((np.maximum(colours, 0.0) + floor) / (reference + floor))
        offset = np.clip(offset, *settings.offset)
        pinned = settings.pin * scalp_weight
        hair = reference * np.exp(self._diffusion.complete(offset, pinned, settings.screening))
        return HairColour(hair.astype(np.float32), tone.astype(np.float32), hairiness, hair_seen, falling)

    def _brow_colour(self, colours: Floats, evidence: Evidence) -> Floats | None:
        """The darker part of the brows, f32 ``[3]``; None when they are hardly seen."""
        settings = self._settings
        own = (self._brows > settings.brow) & (evidence.weight > settings.brow)
        if int(own.sum()) < settings.least_brows:
            return None
        seen = colours[own]
        dark = luminance(seen) <= np.quantile(luminance(seen), settings.brow_dark)
        result: Floats = np.median(seen[dark], axis=0).astype(np.float32)
        return result


def _hair_tone(colours: Floats, weights: Floats, floor: float) -> Floats:
    """Weighted geometric mean f32 ``[3]`` of colours ``[N, 3]``: hair is strands and gaps, and sheen counts
    less."""
    share = (weights / weights.sum())[:, None]
    logs = np.log(np.maximum(colours, 0.0) + np.float32(floor))
    result: Floats = np.exp((share * logs).sum(axis=0)).astype(np.float32)
    return result
