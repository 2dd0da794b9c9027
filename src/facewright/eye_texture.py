"""The eyeballs' texels: the person's iris completed behind the lids, a sclera that is not quite white.

Everything is a function of two angles on the eyeball: θ from the optical axis and φ around it. What the photo shows
of the iris between the lids becomes a radial profile (a robust median per ring) that fills what the lids hide;
the visible fibres are laid over it. Catch lights are removed from the albedo: renderers make their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from facewright_kernels import TexelMap
from numpy.typing import NDArray

from facewright.colour import luminance, srgb_from_linear
from facewright.fit_info import EyeFit
from facewright.head_model import HeadModel
from facewright.photo_view import PhotoView, sample_srgb
from facewright.skin_model import smooth_step

Floats = NDArray[np.float32]

RINGS = 14
#: Mean pupil radius / iris radius indoors (4 mm / 12 mm).
PUPIL_SHARE = 0.36
#: Linear albedo of sclera, and of the pink tissue towards the corners.
SCLERA = np.array([0.56, 0.52, 0.49], np.float32)
SCLERA_EDGE = np.array([0.36, 0.22, 0.19], np.float32)
#: Iris of an eye that the photo does not show: medium brown.
DEFAULT_IRIS = np.array([0.075, 0.038, 0.02], np.float32)


@dataclass(frozen=True)
class EyeTexels:
    """The texels of one eyeball at one texture size.

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
    return EyeTexels(
        index,
        corners,
        weights.astype(np.float32),
        (radius / limbus).astype(np.float32),
        np.arctan2(across @ up, across @ right).astype(np.float32),
    )


def paint_eye(
    texture: NDArray[np.uint8],
    texels: EyeTexels,
    face_crop: NDArray[np.uint8],
    view: PhotoView,
    fit: EyeFit,
    exposure: float,
) -> None:
    """Writes one eyeball's texels into ``texture`` (sRGB u8 ``[S, S, 3]``), in place.

    Args:
        texture: the texture under construction.
        texels: of this eye at this size.
        face_crop: sRGB u8 crop.
        view: the fitted head in the photo.
        fit: what was seen of the eye.
        exposure: irradiance around the eyes, to divide out of the iris' colour.
    """
    radius, angle = texels.radius, texels.angle
    colour = _sclera(radius)
    within = radius < 1.15
    iris = np.broadcast_to(DEFAULT_IRIS, (int(within.sum()), 3)).astype(np.float32)
    seen = None if fit.closed else _iris_in_photo(texels, within, face_crop, view, fit)
    if seen is not None:
        iris = _complete_iris(*seen, radius[within]) / np.float32(max(exposure, 0.3))
    iris = _finish_iris(iris, radius[within], angle[within])
    rim = smooth_step(radius[within], 0.94, 1.06)[:, None]
    colour[within] = iris * (1 - rim) + colour[within] * rim
    flat = texture.reshape(-1, 3)
    flat[texels.index] = srgb_from_linear(colour)


def _sclera(radius: Floats) -> Floats:
    edge = smooth_step(radius, 1.15, 2.3)[:, None]
    result: Floats = SCLERA * (1 - edge) + SCLERA_EDGE * edge
    return result


def _iris_in_photo(
    texels: EyeTexels,
    within: NDArray[np.bool_],
    face_crop: NDArray[np.uint8],
    view: PhotoView,
    fit: EyeFit,
) -> tuple[Floats, Floats] | None:
    """Colour f32 ``[N, 3]`` of the texels ``within`` in the photo, and how much each is seen, ``[N]``.

    The detected iris circle overrules the projected eyeball: a gaze error of 2° moves the iris by a tenth of its
    radius, and colours from beyond its rim are white.
    """
    if fit.iris_radius < 2.0:
        return None
    radius, angle = texels.radius[within], texels.angle[within]
    homogeneous = (view.points[texels.corners[within]] * texels.weights[within][..., None]).sum(axis=1)
    projected = homogeneous[:, :2] / np.maximum(homogeneous[:, 2:], 1e-6)
    inner = radius < 1.0
    if int(inner.sum()) < 8:
        return None
    # Affine from polar coordinates to the projected eyeball keeps foreshortening; the circle gives place and size.
    polar = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones_like(radius)], axis=1)
    affine, *_ = np.linalg.lstsq(polar[inner], projected[inner], rcond=None)
    size = float(np.linalg.norm(affine[:2], axis=1).max())
    if not np.isfinite(size) or size < 0.5:
        return None
    stretch = affine[:2] * (fit.iris_radius / size)
    pixel = polar[:, :2] @ stretch + np.asarray(fit.iris_centre, np.float32)
    colour = sample_srgb(face_crop, pixel.astype(np.float32))
    # The lids cover the top first; a squint covers both. Openness scales the band that is trusted.
    vertical = (radius * np.sin(angle)).astype(np.float32)
    openness = float(np.clip(fit.openness, 0.3, 1.0))
    seen = (1 - smooth_step(vertical, 0.45 * openness, 0.7 * openness)) * smooth_step(
        vertical, -0.95 * openness, -0.75 * openness
    )
    return colour, seen.astype(np.float32)


def _complete_iris(colour: Floats, seen: Floats, radius: Floats) -> Floats:
    """Radial profile where hidden, the photo where seen, catch lights removed."""
    profile = np.zeros((RINGS, 3), np.float32)
    ring = np.minimum((radius / 1.15 * RINGS).astype(np.int32), RINGS - 1)
    light = luminance(colour)
    found = np.zeros(RINGS, bool)
    for k in range(RINGS):
        own = (ring == k) & (seen > 0.5)
        if int(own.sum()) >= 3:
            # The darker half: catch lights and scattered sclera light only ever brighten.
            dark = own & (light <= np.quantile(light[own], 0.6))
            profile[k] = np.median(colour[dark], axis=0)
            found[k] = True
    if not found.any():
        return np.broadcast_to(DEFAULT_IRIS, colour.shape).astype(np.float32)
    centres = np.arange(RINGS)
    for channel in range(3):
        profile[:, channel] = np.interp(centres, centres[found], profile[found, channel])
    at = np.clip(radius / 1.15 * RINGS - 0.5, 0, RINGS - 1)
    smooth = np.stack([np.interp(at, centres, profile[:, channel]) for channel in range(3)], axis=1)
    expected = np.maximum(luminance(smooth.astype(np.float32)), 1e-3)
    glint = smooth_step(light / expected, 1.5, 2.2)
    weight = (seen * (1 - glint) * 0.75)[:, None]
    result: Floats = (colour * weight + smooth * (1 - weight)).astype(np.float32)
    return result


def _finish_iris(iris: Floats, radius: Floats, angle: Floats) -> Floats:
    """A crisp pupil, a dark limbal ring and faint radial fibres: what a small photo blurs away."""
    light = luminance(iris)
    middle = (radius > 0.5) & (radius < 0.85)
    level = float(np.median(light[middle])) if middle.any() else float(np.median(light))
    # The iris of a bright-eyed person in shade, or of a dark one: within what irises can be.
    gain = np.clip(level, 0.018, 0.22) / max(level, 1e-4)
    fibres = 1.0 + 0.10 * np.sin(37.0 * angle + 2.0 * np.sin(5.0 * angle)) * smooth_step(radius, 0.35, 0.6)
    limbus = 1.0 - 0.55 * smooth_step(radius, 0.78, 1.0)
    pupil = 1.0 - 0.94 * (1.0 - smooth_step(radius, PUPIL_SHARE - 0.07, PUPIL_SHARE + 0.05))
    result: Floats = iris * (gain * fibres * limbus * pupil).astype(np.float32)[:, None]
    return result
