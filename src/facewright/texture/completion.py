"""What no photo showed, continued from what it showed: skin over neck and ears, hair over the back of the
head.

The template (tints per region) is the background, the photo the foreground, and ln(photo / template) is
continued harmonically over the surface (``surface_diffusion``): Poisson blending on the mesh,
in the domain where a change of tone is an offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facewright.appearance.evidence import Evidence, ZoneWeights
from facewright.appearance.head_template import HeadTemplate
from facewright.appearance.photo_view import Sighting
from facewright.appearance.skin_model import SkinModel, smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.colour import luminance
from facewright.hair.falling import BesideEars, HairOverEars

Floats = NDArray[np.float32]

#: How strongly an observed vertex is pinned, relative to one mesh edge.
PIN = 8.0
#: Pull of unseen skin back to the mean tone, and of unseen hair to the median: a shadow under the jaw must
#: not darken the whole neck.
SKIN_SCREENING = 0.02
HAIR_SCREENING = 0.01
#: Hair of a head whose scalp and brows the photo does not show.
DEFAULT_HAIR = np.array([0.045, 0.03, 0.02], np.float32)


@dataclass(frozen=True)
class HeadSurface:
    """What colours are completed on.

    Attributes:
        zones, template: at the vertices.
        lids: f32 ``[V]``, 0–1, the eyelids.
        diffusion: over the skin.
        over_ears: finds long hair.
    """

    zones: ZoneWeights
    template: HeadTemplate
    lids: Floats
    diffusion: SurfaceDiffusion
    over_ears: HairOverEars


@dataclass(frozen=True)
class Completion:
    """Colours for every vertex, whether seen or not, already with the photo's remaining light.

    Attributes:
        skin: linear f32 ``[V, 3]``.
        hair: linear f32 ``[V, 3]``; skin-coloured for a bald head.
        hairiness: 0–1, how much of the scalp is hair rather than skin.
        hair_seen: share of the visible scalp that is not skin.
        hair_tone: typical hair colour, linear f32 ``[3]``.
        skin_tone: mean skin colour, linear f32 ``[3]``.
        falling: f32 ``[V]``, 0–1, how likely hair falls over the skin there; None where it falls nowhere.
    """

    skin: Floats
    hair: Floats
    hairiness: float
    hair_seen: float
    hair_tone: Floats
    skin_tone: Floats
    falling: Floats | None


def complete_colours(
    surface: HeadSurface,
    seen: Sighting,
    beside: BesideEars,
    colours: Floats,
    evidence: Evidence,
    tone: Floats,
    brow_colour: Floats | None,
) -> Completion:
    """Skin and hair at every vertex.

    Args:
        surface: of the head.
        seen: the vertices in the photo.
        beside: what the photo shows beside the ears.
        colours: f32 ``[V, 3]``, linear, theirs with the light divided out as asked.
        evidence: at the vertices.
        tone: mean skin, f32 ``[3]``, in the same light as ``colours``.
        brow_colour: linear f32 ``[3]``, stands in for hair that the crop cuts off; None where brows are
            unseen.
    """
    zones, diffusion = surface.zones, surface.diffusion
    background = surface.template.tint * tone
    floor = np.float32(0.004)
    offset = np.log((np.maximum(colours, 0.0) + floor) / (background + floor))
    offset = np.clip(offset, -1.2, 0.9)
    # Long hair beside the cheeks is dark where skin should continue; a beard or eyeshadow is dark and should.
    own = np.maximum(zones.beard, surface.lids * (1.0 - surface.template.folded))
    skin_like = 1.0 - smooth_step(evidence.deviation, 2.0, 4.0) * (1.0 - own)
    pinned = PIN * evidence.weight * (1.0 - smooth_step(zones.scalp, 0.1, 0.5)) * skin_like
    skin = background * np.exp(diffusion.complete(offset, pinned, SKIN_SCREENING))

    scalp_weight = evidence.weight * smooth_step(zones.scalp, 0.3, 0.7)
    mass = float(scalp_weight.sum())
    scalp_seen = mass > 6.0
    falling = None
    if scalp_seen:
        not_skin = smooth_step(evidence.deviation, 1.8, 3.2)
        hair_seen = float((scalp_weight * not_skin).sum()) / mass
        hairiness = float(smooth_step(np.array(hair_seen), 0.3, 0.6))
        # A bald patch or a forehead under the hairline must not bleach the hair, nor hair tan a bald head.
        hair_tone = _hair_tone(colours, scalp_weight * (1.0 - 0.75 * hairiness * (1.0 - not_skin)))
        scalp_weight = scalp_weight * (1.0 - min(1.0, 2.0 * hairiness) * (1.0 - not_skin))
        long_hair = surface.over_ears.find(seen, beside, colours, evidence, (hair_tone, tone))
        if long_hair is not None:
            falling = np.float32(hairiness) * long_hair.likely
            scalp_weight = np.maximum(scalp_weight, hairiness * long_hair.seen)
        reference = np.maximum(hair_tone, 0.004)
        offset = np.clip(np.log((np.maximum(colours, 0.0) + floor) / (reference + floor)), -0.9, 0.4)
        hair = reference * np.exp(diffusion.complete(offset, PIN * scalp_weight, HAIR_SCREENING))
    else:
        hair_seen, hairiness = 0.0, 1.0
        hair_tone = DEFAULT_HAIR if brow_colour is None else brow_colour
        hair = np.broadcast_to(hair_tone, colours.shape).astype(np.float32)
    return Completion(
        skin.astype(np.float32),
        hair.astype(np.float32),
        hairiness,
        hair_seen,
        hair_tone.astype(np.float32),
        tone.astype(np.float32),
        falling,
    )


def brow_colour(colours: Floats, evidence: Evidence, brow: Floats, skin: SkinModel | None) -> Floats | None:
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
