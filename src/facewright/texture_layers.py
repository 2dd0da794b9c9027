"""The small maps that a texture is composed of: gains of photo and mirrored photo, base, fine structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from facewright.colour import luminance
from facewright.head_model import HeadModel
from facewright.head_template import HeadTemplate, hair_growth
from facewright.photo_view import Sighting
from facewright.sh_light import ShLight
from facewright.skin_model import smooth_step
from facewright.texel_layout import TexelPoints
from facewright.texture_completion import Completion
from facewright.texture_evidence import Evidence, ZoneWeights

Floats = NDArray[np.float32]

#: Bounds of irradiance that is divided out: beyond, noise would be amplified or highlights crushed.
SHADE_BOUNDS = (0.35, 2.2)
#: Largest change of the mirrored photo's tone.
MIRROR_GAIN_BOUNDS = (0.4, 2.5)
#: Facing of the mirror point from which it may stand in.
MIRROR_FACING = (0.25, 0.5)
#: Highlights: brightness relative to the skin around it where compression starts, and what share of the rest stays.
HIGHLIGHT_START = 1.15
HIGHLIGHT_KEPT = 0.35
#: Amplitudes of fine structure where texels are filled in.
STRAND_AMPLITUDE = 0.5
PORE_AMPLITUDE = 0.05


@dataclass(frozen=True)
class TexelEvidence:
    """Everything known about the N texels of the layer texture.

    Attributes:
        seen, mirrored: the texels' points and their mirror points in the photo.
        evidence, mirrored_evidence: what to take of both.
        shade, mirrored_shade: irradiance f32 ``[N, 3]``.
        zones: at the texels.
    """

    seen: Sighting
    mirrored: Sighting
    evidence: Evidence
    mirrored_evidence: Evidence
    shade: Floats
    mirrored_shade: Floats
    zones: ZoneWeights


@dataclass(frozen=True)
class LayerStack:
    """The result.

    Attributes:
        layers: f32 ``[L, L, 12]`` for the kernel ``texture_composite``.
        photo_weight, mirror_weight: f32 ``[N]``, 0–1, of each texel.
    """

    layers: Floats
    photo_weight: Floats
    mirror_weight: Floats


def light_gain(shade: Floats, delight: float) -> Floats:
    """What to multiply the photo with to divide out a share of its light: shade^−delight, ``[N, 3]``."""
    result: Floats = np.clip(shade, *SHADE_BOUNDS) ** np.float32(-delight)
    return result


def build_layers(
    points: TexelPoints,
    texels: TexelEvidence,
    completion: Completion,
    template: HeadTemplate,
    hairy: Floats,
    delight: float,
) -> LayerStack:
    """Combines evidence and completion.

    Args:
        points: the layer texture's texels.
        texels: what is known about them.
        completion: fill colours per vertex.
        template: of the head.
        hairy: :func:`frayed_hair_line` of the texels.
        delight: share of the light to divide out, 0–1.
    """
    photo = _feathered(points, texels.evidence.weight)
    other_side = texels.mirrored_evidence.weight * smooth_step(texels.mirrored.facing, *MIRROR_FACING)
    mirror = (1.0 - photo) * _feathered(points, other_side)

    gain = light_gain(texels.shade, delight) * _highlight_gain(points, texels)[:, None]
    # The mirror point under the light of this point: its own light out, what stays of this point's light in.
    mirror_gain = np.clip(texels.shade, *SHADE_BOUNDS) ** np.float32(1.0 - delight)
    mirror_gain = np.clip(mirror_gain / np.clip(texels.mirrored_shade, *SHADE_BOUNDS), *MIRROR_GAIN_BOUNDS)

    skin = points.interpolate(completion.skin)
    hair = points.interpolate(completion.hair)
    base = skin * (1.0 - hairy[:, None]) + hair * hairy[:, None]
    inner = points.interpolate(template.inner)[:, None]
    inner_colour = points.interpolate(template.inner_colour)
    base = base * (1.0 - inner) + inner_colour * inner
    rest = 1.0 - photo - mirror

    stack = np.zeros((len(points.index), 12), np.float32)
    stack[:, 0:3] = photo[:, None] * gain
    stack[:, 3:6] = mirror[:, None] * mirror_gain
    stack[:, 6:9] = rest[:, None] * base
    stack[:, 9] = STRAND_AMPLITUDE * hairy * completion.hairiness
    stack[:, 10] = PORE_AMPLITUDE * (1.0 - hairy) * (1.0 - inner[:, 0])
    image = np.zeros((points.size * points.size, 12), np.float32)
    # Outside every island: plain skin, so that far mip levels stay skin-coloured.
    image[:, 6:9] = np.median(completion.skin, axis=0)
    image[points.index] = stack
    return LayerStack(image.reshape(points.size, points.size, 12), photo, mirror)


def _feathered(points: TexelPoints, weight: Floats) -> Floats:
    """The weight, shrunk and softened by about two texels so that no decision has a hard border."""
    image = points.to_image(weight)
    mass = points.to_image(np.ones_like(weight))
    blurred = ndimage.uniform_filter(image, 5) / np.maximum(ndimage.uniform_filter(mass, 5), 1e-3)
    soft = points.from_image(blurred.astype(np.float32))
    result: Floats = np.minimum(weight, smooth_step(soft, 0.3, 0.95))
    return result


def _highlight_gain(points: TexelPoints, texels: TexelEvidence) -> Floats:
    """Gain f32 ``[N]`` ≤ 1 that compresses specular peaks: skin much brighter than the skin around it."""
    skin = texels.evidence.weight * (1.0 - texels.zones.scalp) * (1.0 - texels.zones.features)
    light = luminance(texels.seen.colour / texels.shade)
    mass = points.to_image(skin)
    total = points.to_image(light * skin)
    size = 2 * (points.size // 22) + 1
    around = ndimage.uniform_filter(total, size) / np.maximum(ndimage.uniform_filter(mass, size), 1e-3)
    relative = light / np.maximum(points.from_image(around.astype(np.float32)), 1e-3)
    compressed = HIGHLIGHT_START + HIGHLIGHT_KEPT * (relative - HIGHLIGHT_START)
    gain = np.where(relative > HIGHLIGHT_START, compressed / np.maximum(relative, 1e-3), 1.0)
    soft = ndimage.uniform_filter(points.to_image((gain - 1.0) * skin), 3)
    result: Floats = (1.0 + points.from_image(soft.astype(np.float32))).astype(np.float32)
    return result


def frayed_hair_line(points: TexelPoints, mean: Floats, zones: ZoneWeights) -> Floats:
    """Where filled texels are hair, 0–1 f32 ``[N]``, with a border that frays as hair does.

    Args:
        points: the texels.
        mean: f32 ``[V, 3]``, the mean head.
        zones: at the texels.
    """
    growth = hair_growth(points.interpolate(mean))
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.standard_normal((points.size, points.size)).astype(np.float32), 1.0)
    fray = 0.003 * points.from_image(noise / noise.std())
    result: Floats = smooth_step(growth + fray, -0.006, 0.008) * (1.0 - zones.pinna) * zones.skin_part
    return result


def interpolated_zones(zones: ZoneWeights, points: TexelPoints) -> ZoneWeights:
    """Vertex zones at the texels."""
    return ZoneWeights(**{name: points.interpolate(value) for name, value in vars(zones).items()})


def region_confidence(head: HeadModel, points: TexelPoints, stack: LayerStack) -> dict[str, float]:
    """Per region of the head, how far the photo determines it: seen texels count 1, mirrored ones a half."""
    known = stack.photo_weight + 0.5 * stack.mirror_weight
    confidence = {}
    for name, weights in zip(head.region_names, head.region_weights, strict=True):
        inside = points.interpolate(weights)
        confidence[str(name)] = round(float((inside * known).sum() / max(float(inside.sum()), 1e-6)), 3)
    return confidence
