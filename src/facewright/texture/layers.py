"""The small maps that a texture is composed of: gains of photo and mirrored photo, base, fine structure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np

from facewright.appearance.evidence import Evidence, ZoneWeights
from facewright.appearance.head_template import HeadTemplate
from facewright.appearance.photo_view import Sighting
from facewright.appearance.skin_model import smooth_step
from facewright.appearance.texel_layout import TexelPoints
from facewright.core.arrays import Floats
from facewright.core.colour import luminance
from facewright.core.settings import BY_EYE, INSENSITIVE, MEASURED, NUMERICAL, Range
from facewright.hair.cover import HairTexels
from facewright.head.head_model import HeadModel
from facewright.texture.completion import Completion


@dataclass(frozen=True)
class DelightSettings:
    """How far an estimated light is believed where it is divided out."""

    #: Bounds of irradiance: beyond, noise would be amplified or highlights crushed.
    shade: Annotated[Range, "of the face's mean irradiance", INSENSITIVE] = (0.35, 2.2)
    #: Bounds of a channel's irradiance relative to its luminance.
    hue: Annotated[Range, "of luminance", INSENSITIVE] = (0.82, 1.22)
    #: What unseen vertices count where the nine bands of the divided light are found; seen skin counts 1.
    unseen: Annotated[float, "weight", NUMERICAL] = 0.02


@dataclass(frozen=True)
class LayerSettings:
    """How photo, mirrored photo and filling are laid over each other."""

    delight: DelightSettings = field(default_factory=DelightSettings)
    #: No decision has a hard border: weights are blurred over this many texels to either side, and begin
    #: between these blurred weights.
    feather: Annotated[int, "texels", MEASURED] = 2
    feather_rim: Annotated[Range, "weight", BY_EYE] = (0.3, 0.95)
    #: Facing of the mirror point between which it begins to stand in, and bounds of how its tone is changed.
    mirror_facing: Annotated[Range, "cosine", BY_EYE] = (0.25, 0.5)
    mirror_gain: Annotated[Range, "times", BY_EYE] = (0.4, 2.5)
    #: Highlights: brightness relative to the skin around it (within this part of the texture's side) where
    #: compression starts, and what share of the rest stays.
    highlight_around: Annotated[float, "of the texture's side", BY_EYE] = 1 / 22
    highlight_start: Annotated[float, "times the skin around", INSENSITIVE] = 1.3
    highlight_kept: Annotated[float, "share", INSENSITIVE] = 0.5
    #: Cosines below and above which hue is and is not corrected, how far, and within which bounds.
    oblique_hue: Annotated[Range, "cosine", BY_EYE] = (0.35, 0.7)
    hue_pull: Annotated[float, "exponent", INSENSITIVE] = 0.75
    hue_gain: Annotated[Range, "times", BY_EYE] = (0.4, 2.5)
    #: Cosines between which skin is seen at a slant, tone below which it is too dark there, how far that is
    #: lifted, and at most.
    slanted: Annotated[Range, "cosine", BY_EYE] = (0.25, 0.6)
    slanted_dark: Annotated[float, "of the skin's tone", BY_EYE] = 0.75
    slanted_lift: Annotated[float, "exponent", BY_EYE] = 0.7
    slanted_most: Annotated[float, "times", BY_EYE] = 2.2
    #: What is added to colours before they are divided.
    floor: Annotated[float, "linear", NUMERICAL] = 0.004
    #: Share of the photo that goes where an upper lid is folded away.
    lashes_removed: Annotated[float, "share", INSENSITIVE] = 0.8
    #: Amplitudes of fine structure where texels are filled in, and contrast of the gaps between teeth.
    strands: Annotated[float, "of the colour", INSENSITIVE] = 0.5
    pores: Annotated[float, "of the colour", INSENSITIVE] = 0.05
    teeth: Annotated[float, "of the colour", BY_EYE] = 0.5


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
        layers: f32 ``[L, L, 16]`` for the kernel ``texture_composite``.
        photo_weight, mirror_weight: f32 ``[N]``, 0–1, of each texel.
    """

    layers: Floats
    photo_weight: Floats
    mirror_weight: Floats


def light_gain(shade: Floats, mirrored_shade: Floats, delight: float, settings: DelightSettings) -> Floats:
    """What to multiply the photo with to divide out a share of its light, f32 ``[N, 3]``.

    Light is split into what both sides of the face have in common and what differs between them: √(e e′) and
    √(e / e′) for irradiance e here and e′ at the mirror point. Of the difference the share ``delight`` goes,
    of the common part ``delight³``: soft light from the front, and the shadows of folds, carry the form by
    which a face is known.

    Args:
        shade, mirrored_shade: irradiance f32 ``[N, 3]`` at the points and at their mirror points.
        delight: 0 keeps the light, 1 divides out all of it.
        settings: how far the light is believed.
    """
    here = np.log(_bounded_light(shade, settings))
    there = np.log(_bounded_light(mirrored_shade, settings))
    common, difference = 0.5 * (here + there), 0.5 * (here - there)
    result: Floats = np.exp(-np.float32(delight**3) * common - np.float32(delight) * difference)
    return result


def _bounded_light(shade: Floats, settings: DelightSettings) -> Floats:
    bounded = np.clip(shade, *settings.shade)
    grey = luminance(bounded)[:, None]
    # Nine bands per channel drift apart where a face turns away: the colour of light is followed only so far.
    result: Floats = grey * np.clip(bounded / grey, *settings.hue)
    return result


class LayerBuilder:
    """Lays photo, mirrored photo and filling over each other, for one head model.

    Args:
        points: the layer texture's texels.
        template: of the head.
        hair: of the texels.
        settings: how.
    """

    def __init__(
        self, points: TexelPoints, template: HeadTemplate, hair: HairTexels, settings: LayerSettings
    ) -> None:
        self._points = points
        self._template = template
        self._hair = hair
        self._settings = settings

    def build(self, texels: TexelEvidence, completion: Completion, delight: float) -> LayerStack:
        """Combines evidence and completion.

        Args:
            texels: what is known about them.
            completion: fill colours per vertex.
            delight: as in :func:`light_gain`.
        """
        points, template, settings = self._points, self._template, self._settings
        fixed = np.stack([template.inner, template.teeth, template.folded], axis=1)
        inner, teeth, folded = np.ascontiguousarray(points.interpolate(fixed).T)
        # Of the lids' folds an open eye shows a line of lashes, which would cover a closed one.
        photo = (1.0 - settings.lashes_removed * folded) * self._feathered(texels.evidence.weight)
        other_side = texels.mirrored_evidence.weight * smooth_step(
            texels.mirrored.facing, *settings.mirror_facing
        )
        mirror = (1.0 - photo) * (1.0 - np.minimum(2.0 * folded, 1.0)) * self._feathered(other_side)
        hairy = self._hair.grows
        falling_hair = completion.hair.falling
        if falling_hair is not None:
            # What hair hides on this side is not to be copied from the other.
            falling = self._hair.hidden_skin(points.interpolate(falling_hair))
            mirror *= 1.0 - falling
            hairy = np.maximum(hairy, falling)

        used = np.flatnonzero(photo + mirror)
        gain = np.ones_like(texels.shade)
        gain[used] = light_gain(texels.shade[used], texels.mirrored_shade[used], delight, settings.delight)
        # What stays of this point's light, in grey: a difference of hue between the sides would tint half a
        # face.
        own = luminance(np.clip(texels.shade, *settings.delight.shade)) * luminance(gain)
        gain *= self._highlight_gain(texels)[:, None]
        oblique = (1.0 - smooth_step(texels.seen.facing, *settings.oblique_hue)) * (photo > 0.0)
        gain *= self._hue_gain(texels.seen.colour, oblique, texels.zones, completion)
        gain *= self._slant_gain(texels, luminance(texels.seen.colour * gain), completion)[:, None]
        # The mirror point under the light of this point: its own light out, what stays of this point's light
        # in.
        mirror_gain = own / luminance(np.clip(texels.mirrored_shade, *settings.delight.shade))
        mirror_gain = np.clip(mirror_gain, *settings.mirror_gain)[:, None]
        # The other side may be lit in another colour.
        shown = (mirror > 0.0).astype(np.float32)
        mirror_gain = mirror_gain * self._hue_gain(texels.mirrored.colour, shown, texels.zones, completion)

        skin = points.interpolate(completion.skin)
        skin = skin * (1.0 - inner[:, None]) + points.interpolate(template.inner_colour) * inner[:, None]

        stack = np.empty((points.size * points.size, 16), np.float32)
        stack[:, 0:3] = photo[:, None] * gain
        stack[:, 3:6] = mirror[:, None] * mirror_gain
        stack[:, 6:9] = skin
        stack[:, 9:12] = points.interpolate(completion.hair.colour)
        stack[:, 12] = 1.0 - photo - mirror
        stack[:, 13] = hairy
        stack[:, 14] = settings.strands * completion.hair.hairiness
        stack[:, 15] = settings.pores * (1.0 - inner) + settings.teeth * teeth
        # Outside every island: plain skin, so that far mip levels stay skin-coloured.
        empty = ~points.covered
        stack[empty] = 0.0
        stack[empty, 6:9] = np.median(completion.skin, axis=0)
        stack[empty, 12] = 1.0
        return LayerStack(stack.reshape(points.size, points.size, 16), photo, mirror)

    def _feathered(self, weight: Floats) -> Floats:
        """The weight, shrunk and softened by a few texels."""
        points, settings = self._points, self._settings
        soft = points.blurred(weight, points.covered.astype(np.float32), settings.feather)
        result: Floats = np.minimum(weight, smooth_step(soft, *settings.feather_rim))
        return result

    def _highlight_gain(self, texels: TexelEvidence) -> Floats:
        """Gain f32 ``[N]`` ≤ 1 that compresses specular peaks: skin much brighter than the skin around it."""
        points, settings = self._points, self._settings
        skin = texels.evidence.weight * (1.0 - texels.zones.scalp) * (1.0 - texels.zones.features)
        light = luminance(texels.seen.colour / texels.shade)
        around = points.blurred(light, skin, int(settings.highlight_around * points.size))
        relative = light / np.maximum(around, np.float32(1e-3))
        start = settings.highlight_start
        compressed = start + settings.highlight_kept * (relative - start)
        gain = np.where(relative > start, compressed / np.maximum(relative, 1e-3), 1.0)
        result: Floats = 1.0 + points.blurred((gain - 1.0) * skin, np.ones_like(skin), 1)
        return result

    def _slant_gain(self, texels: TexelEvidence, brightness: Floats, completion: Completion) -> Floats:
        """Gain f32 ``[N]`` ≥ 1 that lifts skin of ``brightness`` ``[N]`` dark where it is seen at a slant.

        Along the outline of a face, light falls off and a texel holds some of what is behind: whoever looks
        at it from the side sees a smear. Beards and hair are dark themselves.
        """
        settings, zones = self._settings, texels.zones
        slanted = 1.0 - smooth_step(texels.seen.facing, *settings.slanted)
        skin = slanted * (1.0 - zones.features) * (1.0 - zones.scalp) * (1.0 - zones.beard)
        tone = np.float32(settings.slanted_dark) * luminance(completion.skin_tone)
        missing = tone / np.maximum(brightness, np.float32(1e-3))
        result: Floats = np.clip(missing, 1.0, settings.slanted_most) ** (settings.slanted_lift * skin)
        return result

    def _hue_gain(self, colour: Floats, share: Floats, zones: ZoneWeights, completion: Completion) -> Floats:
        """Gain f32 ``[N, 3]`` that pulls a ``share`` ``[N]`` of colours ``[N, 3]`` to the hue of skin or
        hair, keeping their luminance.

        Seen at a slant, a texel carries the colour of what stands beside the head (a wall, a lamp, a flag),
        and little of its own.
        """
        settings, floor = self._settings, np.float32(self._settings.floor)
        at = np.flatnonzero(share)
        hair = zones.scalp[at, None]
        target = completion.skin_tone * (1.0 - hair) + completion.hair.tone * hair
        target = (target + floor) / (luminance(target) + floor)[:, None]
        seen = colour[at] + floor
        hue = seen / luminance(seen)[:, None]
        pull = (settings.hue_pull * share[at] * (1.0 - zones.features[at]))[:, None]
        result: Floats = np.ones_like(colour)
        ratio = target / np.maximum(hue, np.float32(0.05))
        result[at] = np.clip(ratio, *settings.hue_gain) ** pull
        return result


def interpolated_zones(zones: ZoneWeights, points: TexelPoints) -> ZoneWeights:
    """Vertex zones at the texels."""
    return ZoneWeights(**{name: points.interpolate(value) for name, value in vars(zones).items()})


def region_shares(head: HeadModel, points: TexelPoints) -> Floats:
    """How much of each region every texel is, f32 ``[R, N]``; each row sums to 1 (or 0 for a region without
    texels)."""
    weights = points.interpolate(np.ascontiguousarray(head.region_weights.T)).T
    result: Floats = np.ascontiguousarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-6))
    return result


def region_confidence(head: HeadModel, shares: Floats, stack: LayerStack) -> dict[str, float]:
    """Per region of the head, how far the photo determines it: seen texels count 1, mirrored ones a half."""
    known = shares @ (stack.photo_weight + np.float32(0.5) * stack.mirror_weight)
    return {str(name): round(float(k), 3) for name, k in zip(head.region_names, known, strict=True)}
