"""The eyeballs' texels: the person's iris completed behind the lids, a sclera that is not quite white.

Everything is a function of two angles on the eyeball: θ from the optical axis and φ around it. What the
photo shows of the iris between the lids becomes a radial profile (a robust median per ring) that fills what
the lids hide; between the lids the photo itself is laid over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from facewright.appearance.photo_view import PhotoView, sample_srgb
from facewright.appearance.skin_model import SkinModel, smooth_step
from facewright.core.arrays import Floats
from facewright.core.colour import luminance, srgb_from_linear
from facewright.core.settings import BY_EYE, INSENSITIVE, MEASURED, Range, Triple
from facewright.fit.fit_info import EyeFit
from facewright.head.head_model import HeadModel
from facewright_kernels import TexelMap

#: Rings of an iris that each have a colour, out to this radius (1 is the limbus).
RINGS = 14
RINGS_REACH = 1.05


@dataclass(frozen=True)
class EyeSettings:
    """How eyeballs are seen and painted. Radii and heights are in radii of the iris."""

    #: Radii between which iris passes into sclera, and the photo into what is painted.
    iris_rim: Annotated[Range, "iris radii", BY_EYE] = (0.92, 1.06)
    seen_rim: Annotated[Range, "iris radii", MEASURED] = (1.9, 2.6)
    #: Narrower eyes show lashes and folds where the iris is expected, smaller irises nothing.
    least_openness: Annotated[float, "openness", BY_EYE] = 0.45
    least_iris: Annotated[float, "crop pixels", BY_EYE] = 2.0
    #: Share of the iris that must be seen for its colour to be believed.
    least_iris_seen: Annotated[float, "share", BY_EYE] = 0.25
    #: How far the detected circle may change the projected iris's size.
    size_change: Annotated[Range, "times", BY_EYE] = (0.7, 1.4)
    #: Heights between which the upper lid's lashes and shadow begin, and the lower lid ends.
    upper_lid: Annotated[Range, "openness", BY_EYE] = (0.75, 1.0)
    lower_lid: Annotated[Range, "openness", BY_EYE] = (-1.15, -0.9)
    #: Deviations from skin between which a colour is a lid; even light irises are half as bright.
    lid: Annotated[Range, "sigmas", INSENSITIVE] = (0.8, 1.8)
    #: Least irradiance that is divided out.
    least_exposure: Annotated[float, "of the face's mean irradiance", BY_EYE] = 0.3
    #: Largest colour taken from the photo: a catch light stays one, but does not burn out.
    catch_light: Annotated[float, "linear", BY_EYE] = 0.75
    #: Albedo of sclera, and of the pink tissue towards the corners; between these radii one becomes the
    #: other.
    sclera: Annotated[Triple, "linear albedo", BY_EYE] = (0.56, 0.52, 0.49)
    sclera_edge: Annotated[Triple, "linear albedo", BY_EYE] = (0.36, 0.22, 0.19)
    sclera_corner: Annotated[Range, "iris radii", BY_EYE] = (1.2, 2.4)
    #: An unseen sclera's luminance is this many times the skin's, within these shares of its albedo's; a seen
    #: one's is its own, within these, and its hue within those.
    sclera_to_skin: Annotated[float, "times", BY_EYE] = 1.8
    unseen_sclera: Annotated[Range, "of its albedo", BY_EYE] = (0.35, 1.0)
    seen_sclera: Annotated[Range, "of its albedo", BY_EYE] = (0.3, 1.1)
    sclera_hue: Annotated[Range, "of its luminance", BY_EYE] = (0.75, 1.3)
    #: Radii between which the photo's sclera is looked for.
    sclera_seen: Annotated[Range, "iris radii", BY_EYE] = (1.12, 1.9)
    #: How much darker the eyeball is under the upper lid, and between which heights.
    lid_shadow: Annotated[float, "share", BY_EYE] = 0.35
    lid_shadow_height: Annotated[Range, "iris radii", BY_EYE] = (0.2, 1.3)
    #: Iris of an eye that the photo does not show: medium brown.
    iris: Annotated[Triple, "linear albedo", BY_EYE] = (0.075, 0.038, 0.02)
    #: Luminance that irises can have: one of a bright-eyed person in shade, or of a dark one.
    iris_luminance: Annotated[Range, "linear albedo", BY_EYE] = (0.012, 0.14)
    #: Of a ring the darker colours count up to this quantile: catch lights and scattered light from the
    #: sclera only ever brighten.
    ring_dark: Annotated[float, "quantile", BY_EYE] = 0.6
    #: Contrast of painted fibres, and darkening of the limbus.
    fibres: Annotated[float, "share", BY_EYE] = 0.08
    limbus: Annotated[float, "share", BY_EYE] = 0.4
    #: A pupil's radius (indoors about 4 mm of the iris's 12 mm across), the radii around it between which it
    #: ends, and how dark it is.
    pupil: Annotated[float, "iris radii", BY_EYE] = 0.36
    pupil_rim: Annotated[Range, "iris radii", BY_EYE] = (-0.07, 0.05)
    pupil_darkness: Annotated[float, "share", BY_EYE] = 0.92


@dataclass(frozen=True)
class EyeTexels:
    """The texels of one eyeball at one texture size, ordered by their radius.

    Attributes:
        index: flat indices ``[N]`` into S × S.
        corners, weights: ``[N, 3]``, vertices of each texel's triangle and barycentric weights.
        radius: f32 ``[N]``, distance from the optical axis; 1 at the limbus (border of the iris).
        angle: f32 ``[N]``, φ in radians, 0 towards +X, π/2 up.
    """

    index: NDArray[np.int64]
    corners: NDArray[np.int32]
    weights: Floats
    radius: Floats
    angle: Floats

    def within(self, radius: float) -> EyeTexels:
        """The texels up to a radius: the first ones."""
        count = int(np.searchsorted(self.radius, radius))
        return EyeTexels(*(value[:count] for value in vars(self).values()))


def eye_texels(head: HeadModel, texels: TexelMap, side: int) -> EyeTexels:
    """Polar coordinates of one eye's texels. ``side`` is 0 for the left eye, 1 for the right."""
    name = ("eye_left", "eye_right")[side]
    part = [str(entry) for entry in head.part_names].index(name)
    triangle = texels.triangle_id.ravel()
    index = np.flatnonzero((triangle >= 0) & (head.triangle_part[triangle] == part))
    first_two = texels.barycentric.reshape(-1, 2)[index]
    weights = np.concatenate([first_two, 1.0 - first_two.sum(axis=1, keepdims=True)], axis=1)
    corners = head.triangles[triangle[index]]
    vertices = np.unique(head.triangles[head.triangle_part == part])
    mean = head.vertices_mean
    low, high = mean[vertices].min(axis=0), mean[vertices].max(axis=0)
    centre = 0.5 * (low + high)
    axis = head.iris_centre[side] - centre
    axis = axis / np.linalg.norm(axis)
    limbus = np.sin(np.arctan2(head.iris_radius[side], np.linalg.norm(head.iris_centre[side] - centre)))

    position = (mean[corners] * weights[..., None]).sum(axis=1)
    direction = position - centre
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
    along = direction @ axis
    across = direction - along[:, None] * axis
    right = np.cross(np.array([0.0, 1.0, 0.0]), axis)
    right /= np.linalg.norm(right)
    up = np.cross(axis, right)
    radius = np.where(along > 0, np.linalg.norm(across, axis=1), 1.0 + (1.0 - np.abs(along)))
    order = np.argsort(radius, kind="stable")
    return EyeTexels(
        index[order],
        corners[order],
        weights[order].astype(np.float32),
        (radius[order] / limbus).astype(np.float32),
        np.arctan2(across @ up, across @ right)[order].astype(np.float32),
    )


@dataclass(frozen=True)
class EyeEvidence:
    """What an eye is painted from.

    Attributes:
        face_crop: sRGB u8 crop.
        view: the fitted head in the photo.
        fit: what was seen of the eye.
        skin: the skin model, to tell lids from eyeball; None where no skin was seen.
        skin_tone: linear f32 ``[3]``, mean skin in the photo's exposure.
        exposure: irradiance around the eyes that is divided out.
    """

    face_crop: NDArray[np.uint8]
    view: PhotoView
    fit: EyeFit
    skin: SkinModel | None
    skin_tone: Floats
    exposure: float


@dataclass(frozen=True)
class _Seen:
    """Colour f32 ``[N, 3]`` of an eye's first N texels in the photo, and how far to trust it, ``[N]``."""

    colour: Floats
    weight: Floats


class EyePainter:
    """Paints eyeballs.

    Args:
        settings: how.
    """

    def __init__(self, settings: EyeSettings) -> None:
        self.settings = settings

    def paint(self, texture: NDArray[np.uint8], texels: EyeTexels, evidence: EyeEvidence) -> None:
        """Writes one eyeball's texels into ``texture`` (sRGB u8 ``[S, S, 3]``), in place."""
        settings, radius = self.settings, texels.radius
        vertical = (radius * np.sin(texels.angle)).astype(np.float32)
        iris_texels, front = texels.within(settings.iris_rim[1]), texels.within(settings.seen_rim[1])
        iris_count, front_count = len(iris_texels.index), len(front.index)
        seen = self._eye_in_photo(front, vertical[:front_count], evidence)
        gain = np.float32(1.0 / max(evidence.exposure, settings.least_exposure))
        colour = self._sclera(radius, vertical, seen, gain, evidence.skin_tone)
        iris = self._iris(seen, iris_texels.radius, iris_texels.angle, gain)
        rim = smooth_step(iris_texels.radius, *settings.iris_rim)[:, None]
        colour[:iris_count] = iris * (1 - rim) + colour[:iris_count] * rim
        if seen is not None:
            # Between the lids the photo itself: nothing painted looks as much like the person.
            weight = (seen.weight * (1 - smooth_step(front.radius, *settings.seen_rim)))[:, None]
            shown = np.minimum(seen.colour * gain, np.float32(settings.catch_light))
            colour[:front_count] = colour[:front_count] * (1 - weight) + shown * weight
        texture.reshape(-1, 3)[texels.index] = srgb_from_linear(colour)

    def _eye_in_photo(self, texels: EyeTexels, vertical: Floats, evidence: EyeEvidence) -> _Seen | None:
        """The eyeball in the photo; None when it is closed, too small or not found where the fit says.

        The detected iris circle overrules the projected eyeball: a gaze error of 2° moves the iris by a tenth
        of its radius, and colours from beyond its rim are white.
        """
        settings, fit, view = self.settings, evidence.fit, evidence.view
        if fit.openness < settings.least_openness or fit.iris_radius < settings.least_iris:
            return None
        homogeneous = (view.points[texels.corners] * texels.weights[..., None]).sum(axis=1)
        depth = homogeneous[:, 2]
        projected = homogeneous[:, :2] / np.maximum(depth[:, None], 1e-6)
        inner = texels.radius < 0.95
        if int(inner.sum()) < 8:
            return None
        polar = np.stack(
            [texels.radius * np.cos(texels.angle), texels.radius * np.sin(texels.angle), np.ones_like(depth)],
            axis=1,
        )
        affine, *_ = np.linalg.lstsq(polar[inner], projected[inner], rcond=None)
        size = float(np.linalg.norm(affine[:2], axis=1).max())
        if not np.isfinite(size) or size < 0.5:
            return None
        # Place and size from the circle, foreshortening from the eyeball.
        scale = np.clip(fit.iris_radius / size, *settings.size_change)
        pixel = (projected - affine[2]) * scale + np.asarray(fit.iris_centre)
        colour = sample_srgb(evidence.face_crop, pixel.astype(np.float32))
        in_front = view.unoccluded(projected.astype(np.float32), depth.astype(np.float32))
        # Lashes and the lid's shadow reach over the top of the opening.
        openness = float(np.clip(fit.openness, 0.3, 1.0))
        upper, lower = (
            smooth_step(vertical, *(edge * openness for edge in lid))
            for lid in (settings.upper_lid, settings.lower_lid)
        )
        lids = (1 - upper) * lower
        weight = in_front * lids
        if evidence.skin is not None:
            # What has the colour of skin is a lid.
            deviation = evidence.skin.deviation(colour / np.float32(evidence.exposure)).strict
            lid = 1 - smooth_step(deviation, *settings.lid)
            weight = weight * (1 - lid)
        if float(weight[texels.radius < 0.9].mean()) < settings.least_iris_seen:
            return None
        return _Seen(colour, weight.astype(np.float32))

    def _sclera(
        self, radius: Floats, vertical: Floats, seen: _Seen | None, gain: np.float32, skin_tone: Floats
    ) -> Floats:
        """White of the eye in the tone that the photo shows between iris and lids, under the lid's shadow."""
        settings = self.settings
        sclera, edge_colour = (np.array(c, np.float32) for c in (settings.sclera, settings.sclera_edge))
        expected = settings.sclera_to_skin * luminance(skin_tone) / luminance(sclera)
        white = sclera * np.clip(expected, *settings.unseen_sclera)
        if seen is not None:
            front = radius[: len(seen.weight)]
            inner, outer = settings.sclera_seen
            ring = (front > inner) & (front < outer) & (seen.weight > 0.5)
            if int(ring.sum()) >= 6:
                light = luminance(seen.colour[ring])
                bright = light >= np.quantile(light, 0.5)
                tone = np.median(seen.colour[ring][bright], axis=0) * gain
                level = float(np.clip(luminance(tone) / luminance(sclera), *settings.seen_sclera))
                hue = np.clip(tone / max(float(luminance(tone)), 1e-3), *settings.sclera_hue)
                white = (luminance(sclera) * level * hue).astype(np.float32)
        edge = smooth_step(radius, *settings.sclera_corner)[:, None]
        shadow = 1.0 - settings.lid_shadow * smooth_step(vertical, *settings.lid_shadow_height)[:, None]
        result: Floats = (white * (1 - edge) + edge_colour / sclera * white * edge) * shadow
        return result.astype(np.float32)

    def _iris(self, seen: _Seen | None, radius: Floats, angle: Floats, gain: np.float32) -> Floats:
        """The iris without lids: a robust radial profile of what is seen, with fibres, limbus and pupil."""
        settings = self.settings
        default = np.broadcast_to(np.array(settings.iris, np.float32), (len(radius), 3))
        profile = None if seen is None else self._radial_profile(seen, radius)
        if profile is None:
            iris = default
        else:
            at = np.clip(radius / RINGS_REACH * RINGS - 0.5, 0, RINGS - 1)
            rings = np.arange(RINGS)
            columns = [np.interp(at, rings, profile[:, channel]) for channel in range(3)]
            iris = np.stack(columns, axis=1).astype(np.float32) * gain
        light = luminance(iris)
        middle = (radius > 0.5) & (radius < 0.85)
        level = float(np.median(light[middle])) if middle.any() else float(np.median(light))
        level_gain = np.clip(level, *settings.iris_luminance) / max(level, 1e-4)
        waves = np.sin(37.0 * angle + 2.0 * np.sin(5.0 * angle))
        fibres = 1.0 + settings.fibres * waves * smooth_step(radius, 0.35, 0.6)
        limbus = 1.0 - settings.limbus * smooth_step(radius, 0.8, 1.0)
        rim = smooth_step(radius, *(settings.pupil + edge for edge in settings.pupil_rim))
        pupil = 1.0 - settings.pupil_darkness * (1.0 - rim)
        result: Floats = iris * (level_gain * fibres * limbus * pupil).astype(np.float32)[:, None]
        return result

    def _radial_profile(self, seen: _Seen, radius: Floats) -> Floats | None:
        """Colour per ring f32 ``[RINGS, 3]``, from the darker part of what is seen; None when that is hardly
        anything."""
        profile = np.zeros((RINGS, 3), np.float32)
        ring = (radius / RINGS_REACH * RINGS).astype(np.int32)
        seen = _Seen(seen.colour[: len(radius)], seen.weight[: len(radius)])
        light = luminance(seen.colour)
        found = np.zeros(RINGS, bool)
        for k in range(RINGS):
            own = (ring == k) & (seen.weight > 0.5)
            if int(own.sum()) >= 3:
                dark = own & (light <= np.quantile(light[own], self.settings.ring_dark))
                profile[k] = np.median(seen.colour[dark], axis=0)
                found[k] = True
        if int(found.sum()) < 3:
            return None
        # The pupil's own rings must not darken the iris beneath a smaller painted pupil.
        rings = np.arange(RINGS)
        for channel in range(3):
            profile[:, channel] = np.interp(rings, rings[found], profile[found, channel])
        return profile
