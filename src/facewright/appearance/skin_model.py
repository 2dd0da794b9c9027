"""What skin looks like in this photo, and so what is not skin: hair, hands' shadows, glasses, microphones,
cloth.

Colours are judged as (ln luminance, ln R/G, ln B/G) after dividing out the estimated light. The model is a
robust Gaussian around the median of the cheeks, nose and forehead: it stays on the skin while less than
half of those is covered. Colour alone cannot tell a beard from a microphone; `SkinModel.occlusion` therefore
also asks the mirrored point, because faces are symmetric and occluders are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.core.colour import luminance
from facewright.core.settings import BY_EYE, INSENSITIVE, NUMERICAL, Range, Triple

#: Added to linear colours before logarithms: below this (code 22 of sRGB's 255), chroma is noise.
DARK_FLOOR = 0.008


@dataclass(frozen=True)
class SkinSettings:
    """How skin is learned from a photo, and what is unlike it.

    Features are (ln luminance, ln R/G, ln B/G); deviations are in their sigmas.
    """

    #: Least 1 sigma: JPEG noise, freckles and shading that nine bands cannot follow.
    least_sigma: Annotated[Triple, "ln", BY_EYE] = (0.2, 0.07, 0.1)
    #: Largest 1 sigma: a face half covered by something must not make everything skin.
    largest_sigma: Annotated[Triple, "ln", BY_EYE] = (0.45, 0.16, 0.22)
    #: Samples beyond this many sigma are left out, and what the spread of the rest is multiplied with.
    outlier: Annotated[float, "sigmas", BY_EYE] = 2.5
    widening: Annotated[float, "times", BY_EYE] = 1.25
    #: Skin is learned from where the head faces the camera by at least this cosine; light also from beards,
    #: which count this much.
    learn_facing: Annotated[float, "cosine", BY_EYE] = 0.3
    beard_share: Annotated[float, "share", BY_EYE] = 0.7
    #: Half the deviation at which a sample of light counts half, before and after the light is known, and how
    #: often light and skin help each other.
    loose_at_first: Annotated[float, "sigmas", BY_EYE] = 2.0
    loose: Annotated[float, "sigmas", INSENSITIVE] = 1.3
    rounds: Annotated[int, "rounds", NUMERICAL] = 2
    #: Weight from which a sample counts, and how many must.
    least_weight: Annotated[float, "weight", BY_EYE] = 0.3
    least_samples: Annotated[int, "samples", BY_EYE] = 30
    #: What part of its distance counts where a colour is brighter than skin: first of all a highlight.
    highlight_share: Annotated[float, "share", BY_EYE] = 0.5
    #: Deviations of hue and ln luminance between which something on the face is foreign.
    foreign_hue: Annotated[Range, "sigmas", BY_EYE] = (6.0, 9.0)
    foreign_light: Annotated[Range, "ln luminance", BY_EYE] = (-1.2, -0.7)
    #: Deviations between which a colour is darker than skin.
    dark: Annotated[Range, "sigmas", BY_EYE] = (0.0, 1.0)
    #: Deviations of red, and of red less blue, between which a colour is as warm as skin in shadow.
    warm_red: Annotated[Range, "sigmas", BY_EYE] = (-1.5, -0.5)
    warm_blue: Annotated[Range, "sigmas", BY_EYE] = (-2.5, -1.0)
    #: Deviations between which a point contradicts the model; wide on purpose: at (2.6, 4.2) it also took
    #: stray hair and one-sided shadows, and the recognition distance was 0.35 against 0.31 without it (21
    #: portraits). And between which its mirror point no longer agrees.
    contradicts: Annotated[Range, "sigmas", INSENSITIVE] = (9.0, 13.0)
    partner_agrees: Annotated[Range, "sigmas", BY_EYE] = (1.8, 3.0)


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
        settings: what is unlike it.
    """

    mean: Floats
    sigma: Floats
    settings: SkinSettings

    def deviation(self, albedo: Floats) -> Deviation:
        """How linear colours ``[N, 3]`` with the light divided out differ from skin."""
        settings = self.settings
        offset = (colour_features(albedo) - self.mean) / self.sigma
        hue = offset[:, 1] ** 2 + offset[:, 2] ** 2
        light = offset[:, 0]
        damped = np.where(light > 0, np.float32(settings.highlight_share), np.float32(1.0)) * light
        # Paint, plastic and cloth: a hue that neither skin nor hair nor shadow has, on something not dark.
        foreign = smooth_step(np.sqrt(hue), *settings.foreign_hue)
        foreign = foreign * smooth_step(light * self.sigma[0], *settings.foreign_light)
        dark = smooth_step(-light, *settings.dark)
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
        settings = self.settings
        result: Floats = smooth_step(red, *settings.warm_red) * smooth_step(red - blue, *settings.warm_blue)
        return result

    def occlusion(self, deviation: Floats, mirrored: Floats, mirrored_visible: Floats) -> Floats:
        """Probability-like share 0–1 f32 ``[N]`` that something lies on the skin.

        A point counts as occluded when it contradicts this model strongly while its mirror point, seen as
        well, agrees with it. What is on both sides (a beard, a fringe, glasses) belongs to the person.

        Args:
            deviation, mirrored: f32 ``[N]``, `Deviation.skin` of the points and of their mirror points.
            mirrored_visible: 0–1 f32 ``[N]``.
        """
        contradicts = smooth_step(deviation, *self.settings.contradicts)
        partner_agrees = (1.0 - smooth_step(mirrored, *self.settings.partner_agrees)) * mirrored_visible
        result: Floats = contradicts * partner_agrees
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


def fit_skin_model(albedo: Floats, weights: Floats, settings: SkinSettings) -> SkinModel | None:
    """The model from samples of the face's core (cheeks, nose, forehead).

    Args:
        albedo: f32 ``[N, 3]``, linear, light divided out (or not yet, for a first guess).
        weights: f32 ``[N]`` ≥ 0.
        settings: how much counts.

    Returns:
        None when too few samples have weight.
    """
    core = weights > settings.least_weight
    if int(core.sum()) < settings.least_samples:
        return None
    features = colour_features(albedo[core])
    mean = np.median(features, axis=0)
    least, largest = (np.array(s, np.float32) for s in (settings.least_sigma, settings.largest_sigma))
    sigma = largest.astype(np.float64)
    for _ in range(3):
        near = (np.abs(features - mean) < settings.outlier * sigma).all(axis=1)
        if int(near.sum()) < settings.least_samples:
            break
        mean = np.median(features[near], axis=0)
        spread = 1.4826 * np.median(np.abs(features[near] - mean), axis=0)
        sigma = np.clip(settings.widening * spread, least, largest)
    return SkinModel(mean.astype(np.float32), sigma.astype(np.float32), settings)


def smooth_step(value: NDArray[np.floating], low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high``, 3t² − 2t³ between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    result: Floats = (t * t * (3.0 - 2.0 * t)).astype(np.float32)
    return result
