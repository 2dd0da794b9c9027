"""Skin that no photo showed, over neck and ears, continued from what it showed; with the hair's completion
(`facewright.hair.colour`) all that a texture is filled with.

The template (tints per region) is the background, the photo the foreground, and ln(photo / template) is
continued harmonically over the surface (``surface_diffusion``): Poisson blending on the mesh,
in the domain where a change of tone is an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from facewright.appearance.evidence import ZoneWeights
from facewright.appearance.head_template import HeadTemplate
from facewright.appearance.skin_model import smooth_step
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, NUMERICAL, Range
from facewright.hair.colour import HairColour, HairColouring
from facewright.hair.falling import SeenHead


@dataclass(frozen=True)
class SkinCompletionSettings:
    """How seen skin is continued."""

    #: How strongly an observed vertex is pinned, and the pull of unseen skin back to the mean tone: a shadow
    #: under the jaw must not darken the whole neck.
    pin: Annotated[float, "of a mesh edge", BY_EYE] = 8.0
    screening: Annotated[float, "of a mesh edge", BY_EYE] = 0.02
    #: How much darker and brighter than the template's skin may be, and what is added before logarithms.
    offset: Annotated[Range, "ln", BY_EYE] = (-1.2, 0.9)
    floor: Annotated[float, "linear", NUMERICAL] = 0.004
    #: Deviations between which something is no skin to continue, and weights of the scalp between which it
    #: ends.
    unlike: Annotated[Range, "sigmas", BY_EYE] = (2.0, 4.0)
    scalp: Annotated[Range, "weight", BY_EYE] = (0.1, 0.5)


@dataclass(frozen=True)
class HeadSurface:
    """What colours are completed on.

    Attributes:
        zones, template: at the vertices.
        lids: f32 ``[V]``, 0–1, the eyelids.
        diffusion: over the skin.
        hair: colours the hair.
        settings: how skin is continued.
    """

    zones: ZoneWeights
    template: HeadTemplate
    lids: Floats
    diffusion: SurfaceDiffusion
    hair: HairColouring
    settings: SkinCompletionSettings


@dataclass(frozen=True)
class Completion:
    """Colours for every vertex, whether seen or not, already with the photo's remaining light.

    Attributes:
        skin: linear f32 ``[V, 3]``.
        skin_tone: mean skin colour, linear f32 ``[3]``.
        hair: of the same head.
    """

    skin: Floats
    skin_tone: Floats
    hair: HairColour


def complete_colours(surface: HeadSurface, seen: SeenHead) -> Completion:
    """Skin and hair at every vertex.

    Args:
        surface: of the head.
        seen: the head in the photo.
    """
    evidence = seen.evidence
    zones, diffusion, settings = surface.zones, surface.diffusion, surface.settings
    background = surface.template.tint * seen.skin_tone
    floor = np.float32(settings.floor)
    offset = np.log((np.maximum(seen.colours, 0.0) + floor) / (background + floor))
    offset = np.clip(offset, *settings.offset)
    # Long hair beside the cheeks is dark where skin should continue; a beard or eyeshadow is dark and should.
    own = np.maximum(zones.beard, surface.lids * (1.0 - surface.template.folded))
    skin_like = 1.0 - smooth_step(evidence.deviation, *settings.unlike) * (1.0 - own)
    pinned = settings.pin * evidence.weight * (1.0 - smooth_step(zones.scalp, *settings.scalp)) * skin_like
    skin = background * np.exp(diffusion.complete(offset, pinned, settings.screening))
    return Completion(skin.astype(np.float32), seen.skin_tone.astype(np.float32), surface.hair.complete(seen))
