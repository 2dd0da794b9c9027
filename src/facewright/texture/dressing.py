"""A texture whose colours at large are a network's albedo, and whose fine structure is the photo's.

A generated or delit albedo has 256 × 256 texels: about a millimetre of skin each, without pores, lashes or
single hairs, which the photo has. Both are added in logarithms: ln texel = low-pass of ln albedo + high-pass
of ln photo. Where the photo is darker by more than light makes it (a beard, a fringe, a tattoo), the network
has not learned what is there, and the photo's own colour stays. What is brighter is light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from facewright.appearance.skin_model import smooth_step
from facewright.appearance.texel_layout import TexelPoints
from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, NUMERICAL, Range
from facewright.texture.layers import LayerStack, TexelEvidence


@dataclass(frozen=True)
class DressingSettings:
    """How an albedo and a photo are put together."""

    #: Half the side of the box that parts what is large from what is fine; it is run twice.
    radius: Annotated[int, "texels of 256", BY_EYE] = 3
    #: How much darker than the albedo, beside the whole face's tone, half of the photo's colour stays.
    reach: Annotated[float, "ln", BY_EYE] = 0.6
    #: Deviations between which what is so dark is no shadow on skin; where beards grow it never need be one.
    unlike: Annotated[Range, "sigmas", BY_EYE] = (2.5, 4.5)
    unlike_radius: Annotated[int, "texels of 256", BY_EYE] = 4
    #: How far fine structure may go beyond the albedo of a network that has seen the photo: more is a
    #: highlight, a hair, a frame or a shadow.
    finest: Annotated[float, "ln", "halos on 151 portraits"] = 0.3
    #: What is added to colours before logarithms.
    floor: Annotated[float, "linear", NUMERICAL] = 0.004


@dataclass(frozen=True)
class NetworkAlbedo:
    """A network's albedo of the skin.

    Attributes:
        map: linear f32 ``[3, 256, 256]``, 0-1.
        of_photo: whether the network saw this photo texel by texel, and so knows of beards and fringes.
    """

    map: Floats
    of_photo: bool


@dataclass(frozen=True)
class Dressing:
    """What an albedo changes.

    Attributes:
        stack: the layers with the albedo's colours.
        change: f32 ``[N, 3]``, ln of what albedo became of the photo's, and its light less, at all texels.
        tone: f32 ``[3]``, the same on average over the skin.
    """

    stack: LayerStack
    change: Floats
    tone: Floats


def dressed(
    stack: LayerStack,
    texels: TexelEvidence,
    points: TexelPoints,
    given: NetworkAlbedo,
    detail: float,
    settings: DressingSettings,
) -> Dressing:
    """Layers of the photo with an albedo's colours.

    Args:
        stack: of the photo, its light divided out.
        texels: that it was made of.
        points: the layer texture's texels.
        given: the albedo.
        detail: share 0-1 of the photo's fine structure; with 0 skin is the albedo alone.
        settings: how.
    """
    layers = stack.layers.reshape(-1, 16).copy()
    albedo = np.ascontiguousarray(given.map.reshape(3, -1).T, np.float32)
    hairy = smooth_step(layers[:, 13], 0.0, 1.0)
    # Eyes, teeth and hair are not a skin network's to know; along the hairline a photo shows both.
    outside = (texels.zones.skin_part * points.covered).astype(np.float32)
    differs = smooth_step(texels.evidence.deviation, *settings.unlike)
    differs_there = smooth_step(texels.mirrored_evidence.deviation, *settings.unlike)
    scalp = texels.zones.scalp
    unlike = points.blurred(np.maximum(differs, texels.zones.beard), outside, settings.unlike_radius)
    floor = np.float32(settings.floor)
    aim = np.log(np.maximum(albedo, 0.0) + floor)
    tone = np.zeros(3, np.float32)
    changes: list[Floats] = []
    # Each layer for itself: where one ends and the next begins, both then have the albedo's colour.
    for at, colour, weight, skin in (
        (0, texels.seen.colour, stack.photo_weight, outside * (1.0 - hairy * np.maximum(differs, scalp))),
        (
            3,
            texels.mirrored.colour,
            stack.mirror_weight,
            outside * (1.0 - hairy * np.maximum(differs_there, scalp)),
        ),
        (6, np.ones_like(aim), np.ones_like(outside), outside),
    ):
        counted = skin * weight
        own = layers[:, at : at + 3] * colour / np.maximum(weight, 1e-3)[:, None]
        missing = aim - np.log(np.maximum(own, 0.0) + floor)
        apart = _smooth(missing, counted, points, settings.radius)
        tone = tone if changes else _tone(apart, counted)  # the photo's
        darker = np.maximum(apart - tone, 0.0).max(axis=1)
        kept = 1.0 if given.of_photo else 1.0 / (1.0 + unlike * (darker / np.float32(settings.reach)) ** 4)
        change = (apart - tone) * np.reshape(kept * skin, (-1, 1))
        if given.of_photo:
            fine = tone * skin[:, None] + change - missing
            change -= (fine - np.clip(fine, -settings.finest, settings.finest)) * counted[:, None]
        changes.append(change.astype(np.float32))
        # Outside every island, too, where far mip levels look.
        everywhere = np.where(points.covered, skin, 1.0)[:, None]
        layers[:, at : at + 3] *= np.exp(tone * everywhere + changes[-1])
    own_share = (1.0 - (1.0 - np.float32(detail)) * outside * (1.0 - hairy))[:, None]
    share = 1.0 - own_share * (1.0 - layers[:, 12:13])
    layers[:, 0:6] *= own_share
    mixed = own_share * layers[:, 12:13] * layers[:, 6:9] + (1.0 - own_share) * albedo
    layers[:, 6:9] = np.where(own_share < 1.0, mixed / np.maximum(share, 1e-6), layers[:, 6:9])
    layers[:, 12:13] = share
    changed = replace(stack, layers=layers.astype(np.float32).reshape(stack.layers.shape))
    # The light on hair changes with the skin's tone, too, though hair itself keeps its colour.
    return Dressing(changed, (tone + changes[0]).astype(np.float32), tone.astype(np.float32))


def _tone(apart: Floats, weights: Floats) -> Floats:
    """f32 ``[3]``: what the skin differs by in the middle, so that a beard is none of its tone."""
    counted = weights > 0.5 * float(weights.max())
    return np.median(apart[counted], axis=0) if counted.any() else np.zeros(3, np.float32)


def _smooth(values: Floats, weights: Floats, points: TexelPoints, radius: int) -> Floats:
    """The low-pass of ``values`` ``[N, 3]`` over texels of weight."""
    for _ in range(2):
        values = np.stack([points.blurred(values[:, c], weights, radius) for c in range(3)], axis=1)
    return values
