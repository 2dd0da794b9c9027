"""What skin looks like in this photo, and so what is not skin: hair, hands' shadows, glasses, microphones,
cloth.

Colours are judged as (ln luminance, ln R/G, ln B/G) after dividing out the estimated light. The model is a
robust Gaussian around the median of the cheeks, nose and forehead: it stays on the skin while less than
half of those is covered. Colour alone cannot tell a beard from a microphone; :func:`occlusion` therefore
also asks the mirrored point, because faces are symmetric and occluders are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.core.colour import luminance

#: Least 1σ of (ln luminance, ln R/G, ln B/G): JPEG noise, freckles and shading that nine bands cannot follow.
LEAST_SIGMA = np.array([0.2, 0.07, 0.1], np.float32)
#: Largest 1σ: a face half covered by something must not make everything skin.
LARGEST_SIGMA = np.array([0.45, 0.16, 0.22], np.float32)
#: Added before logarithms: below this, chroma is noise.
DARK_FLOOR = 0.008


@dataclass(frozen=True)
class Deviation:
    """Difference of N colours from skin.

    Attributes:
        skin: f32 ``[N]``, Mahalanobis distance in which highlights count half.
        strict: f32 ``[N]``, the same without that pardon: where background may show, bright is as wrong as
            dark.
        foreign: f32 ``[N]``, 0–1, a hue that nothing on a face has.
        dark: f32 ``[N]``, 0–1, darker than skin.
    """

    skin: Floats
    strict: Floats
    foreign: Floats
    dark: Floats


@dataclass(frozen=True)
class SkinModel:
    """Robust Gaussian of skin.

    Attributes:
        mean: f32 ``[3]`` of (ln luminance, ln R/G, ln B/G).
        sigma: f32 ``[3]``.
    """

    mean: Floats
    sigma: Floats

    def deviation(self, albedo: Floats) -> Deviation:
        """How linear colours ``[N, 3]`` with the light divided out differ from skin."""
        offset = (colour_features(albedo) - self.mean) / self.sigma
        hue = offset[:, 1] ** 2 + offset[:, 2] ** 2
        light = offset[:, 0]
        # Brighter than skin is first of all a highlight: half the distance.
        damped = np.where(light > 0, np.float32(0.5), np.float32(1.0)) * light
        # Paint, plastic and cloth: a hue that neither skin nor hair nor shadow has, on something not dark.
        foreign = smooth_step(np.sqrt(hue), 6.0, 9.0) * smooth_step(light * self.sigma[0], -1.2, -0.7)
        dark = smooth_step(-light, 0.0, 1.0)
        return Deviation(np.sqrt(hue + damped**2), np.sqrt(hue + light**2), foreign, dark)

    def warmth(self, albedo: Floats) -> Floats:
        """How far colours ``[N, 3]`` are as red as skin or redder, 0–1 f32 ``[N]``: what skin in shadow is,
        and brown hair.

        Compared with skin as dark as the point, because the floor makes dark colours greyer. Shadows on skin
        are red with light that came through it, and blue only as far as they are red.
        """
        skin = self._colour()
        as_dark = luminance(np.maximum(albedo, 0.0))[:, None] / luminance(skin) * skin
        redder = (colour_features(albedo) - colour_features(as_dark)) / self.sigma
        red, blue = redder[:, 1], redder[:, 2]
        result: Floats = smooth_step(red, -1.5, -0.5) * smooth_step(red - blue, -2.5, -1.0)
        return result

    def _colour(self) -> Floats:
        """Mean skin, linear f32 ``[3]``."""
        hue = np.exp(np.array([self.mean[1], 0.0, self.mean[2]], np.float32))
        result: Floats = hue * (np.exp(self.mean[0]) / luminance(hue))
        return result


def colour_features(colour: Floats) -> Floats:
    """(ln luminance, ln R/G, ln B/G) f32 ``[N, 3]`` of linear colours."""
    lifted = np.maximum(colour, 0.0) + np.float32(DARK_FLOOR)
    logs = np.log(lifted)
    return np.stack(
        [np.log(luminance(lifted)), logs[:, 0] - logs[:, 1], logs[:, 2] - logs[:, 1]], axis=1
    ).astype(np.float32)


def fit_skin_model(albedo: Floats, weights: Floats) -> SkinModel | None:
    """The model from samples of the face's core (cheeks, nose, forehead).

    Args:
        albedo: f32 ``[N, 3]``, linear, light divided out (or not yet, for a first guess).
        weights: f32 ``[N]`` ≥ 0.

    Returns:
        None when fewer than 30 samples have weight > 0.3.
    """
    core = weights > 0.3
    if int(core.sum()) < 30:
        return None
    features = colour_features(albedo[core])
    mean = np.median(features, axis=0)
    sigma = LARGEST_SIGMA.astype(np.float64)
    for _ in range(3):
        near = (np.abs(features - mean) < 2.5 * sigma).all(axis=1)
        if int(near.sum()) < 30:
            break
        mean = np.median(features[near], axis=0)
        spread = 1.4826 * np.median(np.abs(features[near] - mean), axis=0)
        sigma = np.clip(1.25 * spread, LEAST_SIGMA, LARGEST_SIGMA)
    return SkinModel(mean.astype(np.float32), sigma.astype(np.float32))


def occlusion(deviation: Floats, mirrored_deviation: Floats, mirrored_visible: Floats) -> Floats:
    """Probability-like share 0–1 f32 ``[N]`` that something lies on the skin.

    A point counts as occluded when it contradicts the skin model strongly while its mirror point, seen as
    well, agrees with it. What is on both sides (a beard, a fringe, glasses) belongs to the person. The
    bounds are wide on purpose: at 2.6–4.2 it also took stray hair and one-sided shadows, and the
    face-recognition distance between photo and avatar was 0.35 against 0.31 without it (21 portraits).
    """
    contradicts = smooth_step(deviation, 9.0, 13.0)
    partner_agrees = (1.0 - smooth_step(mirrored_deviation, 1.8, 3.0)) * mirrored_visible
    result: Floats = contradicts * partner_agrees
    return result


def smooth_step(value: NDArray[np.floating], low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high``, 3t² − 2t³ between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    result: Floats = (t * t * (3.0 - 2.0 * t)).astype(np.float32)
    return result
