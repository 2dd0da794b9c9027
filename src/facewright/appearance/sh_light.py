"""Light of a photo as nine spherical harmonics, estimated jointly with a bounded albedo, one sample per
vertex.

The model is radiance = albedo × Σ c_k Y_k(n) with the basis of CONVENTIONS.md. One photo cannot tell a dark
face in bright light from a bright face in dim light: the light is scaled so that the face is lit by 1 on
average, which leaves the albedo with the tone that the photo shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.core.colour import LUMINANCE
from facewright.core.settings import BY_EYE, INSENSITIVE, NUMERICAL, Range
from facewright.core.spherical_harmonics import sh_basis


@dataclass(frozen=True)
class ShLightPrior:
    """What is believed before the photo is seen."""

    #: Weight of the pull of bands l = 1 to zero.
    directional_ridge: Annotated[float, "of the number of samples", INSENSITIVE] = 0.004
    #: The same for bands l = 2, which a face (less than half of the sphere) determines badly.
    quadratic_ridge: Annotated[float, "of the number of samples", INSENSITIVE] = 0.03
    #: The same for the difference of each channel from grey light, and for its constant band.
    chroma_ridge: Annotated[float, "of the number of samples", INSENSITIVE] = 0.1
    chroma_constant_ridge: Annotated[float, "of the number of samples", NUMERICAL] = 1e-3
    #: 1 sigma of ln(albedo of a vertex / mean skin): freckles, blush, stubble.
    albedo_log_sigma: Annotated[float, "ln", INSENSITIVE] = 0.12
    #: ln(radiance) residual from which a sample counts less (Cauchy weight).
    outlier_log_sigma: Annotated[float, "ln", INSENSITIVE] = 0.25
    #: How far a vertex's albedo may be from mean skin.
    largest_albedo_log: Annotated[float, "ln", NUMERICAL] = 0.5
    #: Least and largest irradiance relative to the face's mean.
    shade_bounds: Annotated[Range, "of the face's mean irradiance", BY_EYE] = (0.18, 2.6)
    #: Darkest and lightest mean skin that the estimate may return: beyond them it is the exposure that is
    #: dark or light, not the skin.
    skin_luminance: Annotated[Range, "linear luminance", "people's skin: CIE L* 24 and 79"] = (0.04, 0.55)
    #: Alternations between light and albedo.
    rounds: Annotated[int, "rounds", NUMERICAL] = 5
    #: With fewer samples the light is taken to be even.
    least_samples: Annotated[int, "vertices", BY_EYE] = 50


@dataclass(frozen=True)
class ShLight:
    """An estimated light.

    Attributes:
        coefficients: f32 ``[9, 3]``, head space, convolved with the cosine lobe.
        tone: f32 ``[3]``, linear mean skin albedo.
        residual: weighted mean of |ln(radiance / prediction)|: 0.1 is a 10 % error.
        contrast: largest over least irradiance on the face (5 % and 95 % quantiles).
        shade_bounds: what irradiance is clamped to.
    """

    coefficients: Floats
    tone: Floats
    residual: float
    contrast: float
    shade_bounds: Range

    def irradiance(self, normals: Floats) -> Floats:
        """Irradiance f32 ``[N, 3]`` on unit normals ``[N, 3]``, clamped to `shade_bounds`."""
        shade: Floats = np.clip(sh_basis(normals) @ self.coefficients, *self.shade_bounds)
        return shade


def ambient_light(tone: Floats, shade_bounds: Range) -> ShLight:
    """Irradiance 1 from everywhere: what is assumed where too little skin is seen to say more."""
    coefficients = np.zeros((9, 3), np.float32)
    coefficients[0] = 1.0 / 0.282095
    return ShLight(coefficients, tone.astype(np.float32), 0.0, 1.0, shade_bounds)


def fit_sh_light(normals: Floats, irradiance: Floats, weights: Floats) -> Floats:
    """The nine bands f32 ``[9, 3]`` nearest to ``irradiance`` ``[N, 3]`` on unit ``normals`` ``[N, 3]``, by
    least squares with ``weights`` ``[N]``."""
    basis = sh_basis(normals).astype(np.float64)
    weighted = basis.T * weights
    ridge = 1e-4 * float(weights.sum()) * np.eye(9)
    coefficients: Floats = np.linalg.solve(weighted @ basis + ridge, weighted @ irradiance).astype(np.float32)
    return coefficients


def _ridge_rows(prior: ShLightPrior, samples: float) -> NDArray[np.float64]:
    ridge = np.array([0.0] + [prior.directional_ridge] * 3 + [prior.quadratic_ridge] * 5)
    return np.diag(ridge * samples)


def estimate_sh_light(normals: Floats, radiance: Floats, weights: Floats, prior: ShLightPrior) -> ShLight:
    """Maximum a posteriori light and skin tone from samples of skin.

    Alternates (a) ridge least squares for the light given albedo, first in luminance and then the deviation
    of each channel from grey, and (b) the albedo of each sample given the light: ln(albedo / tone) ~ N(0, σ²)
    observed through the radiance's robust residual, so a mole or a highlight does not bend the light.

    Args:
        normals: ``[N, 3]`` unit, head space.
        radiance: ``[N, 3]`` linear RGB seen at the samples.
        weights: ``[N]`` ≥ 0, e.g. visible area × probability of being skin.
        prior: beliefs.

    Returns:
        The light; an ambient one when fewer than `ShLightPrior.least_samples` samples have weight.
    """
    seen = (weights > 1e-4) & np.isfinite(radiance).all(axis=-1)
    if int(seen.sum()) < prior.least_samples:
        fallback = radiance[seen].mean(axis=0) if seen.any() else np.array([0.35, 0.22, 0.16], np.float32)
        return ambient_light(np.clip(fallback, 0.03, 0.8), prior.shade_bounds)
    basis = sh_basis(normals[seen]).astype(np.float64)
    observed = np.maximum(radiance[seen].astype(np.float64), 1e-3)
    base_weight = weights[seen].astype(np.float64)
    base_weight /= base_weight.sum()
    intensity = observed @ LUMINANCE.astype(np.float64)

    tone = _weighted_median(observed, base_weight)
    albedo_luminance = np.full(len(observed), float(tone @ LUMINANCE))
    robust = np.ones(len(observed))
    light = np.zeros(9)
    bound = prior.largest_albedo_log
    for _ in range(prior.rounds):
        w = base_weight * robust
        scaled = basis * (w * albedo_luminance**2)[:, None]
        scale = float((w * albedo_luminance**2).sum())
        light = np.linalg.solve(
            basis.T @ scaled + _ridge_rows(prior, scale), basis.T @ (w * albedo_luminance * intensity)
        )
        shade = np.clip(basis @ light, *prior.shade_bounds)
        residual = np.log(intensity / (shade * albedo_luminance))
        offset = float((w * residual).sum() / w.sum())
        robust = 1.0 / (1.0 + ((residual - offset) / prior.outlier_log_sigma) ** 2)
        # Posterior mean of the log albedo: the sample is trusted as far as the albedo's own spread goes.
        trust = prior.albedo_log_sigma**2 / (prior.albedo_log_sigma**2 + prior.outlier_log_sigma**2)
        mean_albedo = float(tone @ LUMINANCE)
        ratio = np.log(intensity / (shade * mean_albedo))
        albedo_luminance = mean_albedo * np.exp(np.clip(trust * ratio, -bound, bound))

    # Scale: the mean irradiance on the samples is 1; the tone follows.
    w = base_weight * robust
    w /= w.sum()
    shade = np.clip(basis @ light, *prior.shade_bounds)
    mean_shade = float((w * shade).sum())
    light = light / mean_shade
    shade = np.clip(basis @ light, *prior.shade_bounds)
    coefficients = np.repeat(light[:, None], 3, axis=1)
    tone = (w[:, None] * observed / shade[:, None]).sum(axis=0)
    for channel in range(3):
        # The deviation of this channel from grey light, with its own stronger ridge.
        target = observed[:, channel] / tone[channel] - shade
        gram = basis.T @ (basis * w[:, None]) + np.diag(
            [prior.chroma_constant_ridge] + [prior.chroma_ridge] * 8
        )
        coefficients[:, channel] += np.linalg.solve(gram, basis.T @ (w * target))
    predicted = np.clip(basis @ coefficients, *prior.shade_bounds) * tone
    error = float((w[:, None] * np.abs(np.log(observed / predicted))).sum() / 3.0)
    low, high = np.quantile(shade, [0.05, 0.95])
    bounded = float(np.clip(tone @ LUMINANCE, *prior.skin_luminance) / (tone @ LUMINANCE))
    # The bounded albedo: what the tone may not carry, the light carries.
    return ShLight(
        (coefficients / bounded).astype(np.float32),
        (tone * bounded).astype(np.float32),
        error,
        float(high / max(low, 1e-3)),
        prior.shade_bounds,
    )


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per-column weighted median of ``[N, C]``."""
    order = np.argsort(values, axis=0)
    cumulative = np.cumsum(weights[order], axis=0)
    row = np.argmax(cumulative >= 0.5 * weights.sum(), axis=0)
    columns = np.arange(values.shape[1])
    result: NDArray[np.float64] = values[order[row, columns], columns]
    return result
