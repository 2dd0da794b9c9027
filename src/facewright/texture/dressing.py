"""A texture whose colours at large are a network's albedo, and whose fine structure is the photo's.

A generated or delit albedo has 256 × 256 texels: about a millimetre of skin each, without pores, lashes or
single hairs, which the photo has. Both are added in logarithms: ln texel = low-pass of ln albedo + high-pass
of ln photo. Where both differ by more than light and tone do (a beard, a tattoo, paint), the network has not
learned what is there, and the photo's own colour stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from facewright.appearance.skin_model import smooth_step
from facewright.appearance.texel_layout import TexelPoints
from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, NUMERICAL
from facewright.texture.layers import LayerStack, TexelEvidence


@dataclass(frozen=True)
class DressingSettings:
    """How an albedo and a photo are put together."""

    #: Half the side of the box that parts what is large from what is fine; it is run twice.
    radius: Annotated[int, "texels of 256", BY_EYE] = 5
    #: Difference, beside one of the whole face's tone, from which half of the photo's colour stays.
    reach: Annotated[float, "ln", BY_EYE] = 0.6
    #: What is added to colours before logarithms.
    floor: Annotated[float, "linear", NUMERICAL] = 0.004


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
    albedo: Floats,
    detail: float,
    settings: DressingSettings,
) -> Dressing:
    """Layers of the photo with an albedo's colours.

    Args:
        stack: of the photo, its light divided out.
        texels: that it was made of.
        points: the layer texture's texels.
        albedo: linear f32 ``[N, 3]`` at them.
        detail: share 0-1 of the photo's fine structure; with 0 skin is the albedo alone.
        settings: how.
    """
    layers = stack.layers.reshape(-1, 16).copy()
    hairy = smooth_step(layers[:, 13], 0.0, 1.0)
    # Eyes, teeth and hair are not a skin network's to know.
    skin = texels.zones.skin_part * (1.0 - hairy) * points.covered
    fill = layers[:, 6:9] * (1.0 - hairy)[:, None] + layers[:, 9:12] * hairy[:, None]
    shown = layers[:, 0:3] * texels.seen.colour + layers[:, 3:6] * texels.mirrored.colour
    shown += layers[:, 12:13] * fill
    floor = np.float32(settings.floor)
    wanted = np.log(np.maximum(albedo, 0.0) + floor) - np.log(np.maximum(shown, 0.0) + floor)
    low = np.stack([_smooth(wanted[:, c], skin, points, settings.radius) for c in range(3)], axis=1)
    alike, tone = np.ones_like(skin), np.zeros(3, np.float32)
    for _ in range(2):
        weight = skin * alike
        tone = (weight / max(float(weight.sum()), 1e-6)) @ low
        apart = low - tone
        alike = 1.0 / (1.0 + (np.abs(apart).max(axis=1) / np.float32(settings.reach)) ** 4)
    near = apart * alike[:, None]
    gain = np.exp((tone + near) * skin[:, None]).astype(np.float32)
    # Outside every island, too, where far mip levels look.
    gain = np.where(points.covered[:, None], gain, np.exp(tone))
    for at in (0, 3, 6):
        layers[:, at : at + 3] *= gain
    own = (1.0 - (1.0 - np.float32(detail)) * skin)[:, None]
    share = 1.0 - own * (1.0 - layers[:, 12:13])
    layers[:, 0:6] *= own
    mixed = own * layers[:, 12:13] * layers[:, 6:9] + (1.0 - own) * albedo
    layers[:, 6:9] = np.where(own < 1.0, mixed / np.maximum(share, 1e-6), layers[:, 6:9])
    layers[:, 12:13] = share
    # The light on hair changes with the skin's tone, too, though hair itself keeps its colour.
    change: Floats = (tone + near * skin[:, None]).astype(np.float32)
    changed = replace(stack, layers=layers.astype(np.float32).reshape(stack.layers.shape))
    return Dressing(changed, change, tone.astype(np.float32))


def _smooth(values: Floats, weights: Floats, points: TexelPoints, radius: int) -> Floats:
    """The low-pass of ``values`` ``[N]`` over texels of weight."""
    once = points.blurred(values, weights, radius)
    return points.blurred(once, weights, radius)
