"""Light of a photo as lamps all around the head, each with the shadows that the head itself casts.

The model is radiance = tone × Σ_d L_d max(n·d, 0) V_d over far lamps L_d ≥ 0 in even directions d, where V_d
is how far a vertex sees them past the rest of the head: that of the mean head, which stands for everyone
(Sloan et al. 2002, "Precomputed radiance transfer", with lamps for its basis, because lamps are positive).
Of hues there are nine spherical harmonics, times that. One photo cannot tell a dark face in bright light from
a bright face in dim light: the light is scaled so that the face is lit by 1 on average, which leaves the tone
that the photo shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats
from facewright.core.colour import LUMINANCE
from facewright.core.settings import BY_EYE, NUMERICAL, Range
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.ambient_occlusion import even_directions, sky_visibility
from facewright.head.head_model import HeadModel

F64 = NDArray[np.float64]

#: Where a setting is from.
_KNOWN_LIGHT: Final = "error of the light of rendered people"
_LAMPS: Final = 64
#: Of accelerated projected gradients, each time that residuals are weighted anew: three times as many change
#: no digit that counts.
_STEPS: Final = 30


@dataclass(frozen=True)
class PhotoLightPrior:
    """What is believed before the photo is seen."""

    #: Weight of the pull of each lamp to even light.
    ridge: Annotated[float, "of the samples' weight per lamp", _KNOWN_LIGHT] = 0.016
    #: Weight of the pull of each channel's deviation from grey light to zero, and for its constant band.
    chroma_ridge: Annotated[float, "of the samples' weight", BY_EYE] = 0.1
    chroma_constant_ridge: Annotated[float, "of the samples' weight", NUMERICAL] = 1e-3
    chroma_bounds: Annotated[Range, "of the luminance of light", NUMERICAL] = (0.7, 1.4)
    #: Radiance above which errors are relative, as eyes see them; were they below, hair would count too much.
    relative_above: Annotated[float, "of the median skin", _KNOWN_LIGHT] = 0.4
    #: ln(radiance) residual from which a sample counts less (Cauchy weight): moles, blush, highlights.
    outlier_log_sigma: Annotated[float, "ln", _KNOWN_LIGHT] = 0.25
    #: Least light of any vertex, and bounds of how much of the light shadows leave.
    darkest: Annotated[float, "of the median skin", NUMERICAL] = 0.05
    hidden_bounds: Annotated[Range, "share", NUMERICAL] = (0.2, 1.0)
    #: Least and largest irradiance relative to the face's mean.
    shade_bounds: Annotated[Range, "of the face's mean irradiance", BY_EYE] = (0.18, 2.6)
    #: Darkest and lightest mean skin that the estimate may return: beyond them it is the exposure that is
    #: dark or light, not the skin.
    skin_luminance: Annotated[Range, "linear luminance", "people's skin: CIE L* 24 and 79"] = (0.04, 0.55)
    #: How often the residuals' weights are found anew.
    rounds: Annotated[int, "rounds", NUMERICAL] = 5
    #: With fewer samples the light is taken to be even.
    least_samples: Annotated[int, "vertices", BY_EYE] = 50


@dataclass(frozen=True)
class LampSky:
    """Far lamps around a head.

    Attributes:
        directions: f32 ``[D, 3]``, unit, head space, towards the lamps.
        visibility: f32 ``[V, D]``, 0-1, how far each vertex sees each lamp.
        mirror_vertex: i32 ``[V]``, partners on the head's other side.
    """

    directions: Floats
    visibility: Floats
    mirror_vertex: NDArray[np.int32]

    @classmethod
    def around(cls, head: HeadModel) -> LampSky:
        """Lamps that cast the shadows of a model's mean head."""
        directions = even_directions(_LAMPS).astype(np.float32)
        seen = sky_visibility(head.vertices_mean, head.triangles, directions)
        return cls(directions, np.ascontiguousarray(seen.T), head.mirror_vertex)

    def irradiance(self, normals: Floats) -> Floats:
        """Of each lamp on unit ``normals`` ``[V, 3]`` were there nothing in between, f32 ``[V, D]``; all
        lamps of 1 are even light of 1."""
        lit: Floats = np.maximum(normals @ self.directions.T, 0.0)
        return lit * np.float32(4.0 / len(self.directions))


@dataclass(frozen=True)
class PhotoLight:
    """An estimated light.

    Attributes:
        shade: f32 ``[V, 3]``, irradiance of the vertices, about 1 on average over what is seen of the skin.
            Shadows that the head casts on itself are in it as far as they are darker on one side than on the
            other. What both sides share are folds, sockets and nostrils, which no light of an avatar shows
            again: it belongs to the skin.
        tone: f32 ``[3]``, linear mean skin albedo.
        residual: weighted mean of |ln(radiance / prediction)|: 0.1 is a 10 % error.
        contrast: largest over least irradiance on the face (5 % and 95 % quantiles).
    """

    shade: Floats
    tone: Floats
    residual: float
    contrast: float


def estimate_photo_light(
    sky: LampSky, normals: Floats, radiance: Floats, weights: Floats, prior: PhotoLightPrior
) -> PhotoLight:
    """The light that explains skin of one tone best, by robust least squares.

    Lamps first, in luminance, none below zero; then the deviation of each channel from grey light. What
    differs from the mean skin (a mole, lips, a highlight) loses weight by its residual, so that it does not
    bend the light.

    Args:
        sky: lamps around the head.
        normals: ``[V, 3]`` unit, head space.
        radiance: ``[V, 3]`` linear RGB seen at the vertices.
        weights: ``[V]`` ≥ 0, e.g. visible area × probability of being skin.
        prior: beliefs.

    Returns:
        The light; an even one when fewer than `PhotoLightPrior.least_samples` vertices have weight.
    """
    seen = (weights > 1e-4) & np.isfinite(radiance).all(axis=-1)
    if int(seen.sum()) < prior.least_samples:
        tone = radiance[seen].mean(axis=0) if seen.any() else np.array([0.35, 0.22, 0.16], np.float32)
        even = np.ones((len(normals), 3), np.float32)
        return PhotoLight(even, np.clip(tone, 0.03, 0.8).astype(np.float32), 0.0, 1.0)
    observed = np.maximum(radiance[seen].astype(np.float64), 1e-3)
    base_weight = weights[seen].astype(np.float64)
    base_weight /= base_weight.sum()
    unhidden = sky.irradiance(normals)
    reached = unhidden * sky.visibility
    lamps, weight = _lamps(reached[seen], observed @ LUMINANCE, base_weight, prior)

    lit = np.maximum(reached @ lamps, prior.darkest)
    hidden = np.log(np.clip(lit / np.maximum(unhidden @ lamps, prior.darkest), *prior.hidden_bounds))
    lit /= float(weight @ lit[seen])
    # The deviation of each channel from grey light, of that light.
    bands = sh_basis(normals)
    basis = bands[seen].astype(np.float64)
    pull = np.diag([prior.chroma_constant_ridge] + [prior.chroma_ridge] * 8)
    deviation = observed / lit[seen, None]
    deviation = deviation / (weight @ deviation) - 1.0
    hue = np.linalg.solve(basis.T @ (basis * weight[:, None]) + pull, basis.T @ (deviation * weight[:, None]))
    hue = np.clip(1.0 + bands @ hue, *prior.chroma_bounds)
    error = np.abs(np.log((1.0 + deviation) / hue[seen]))
    low, high = np.quantile(lit[seen], [0.05, 0.95])

    grey = lit * np.exp(-0.5 * (hidden + hidden[sky.mirror_vertex]))
    grey /= float(weight @ grey[seen])
    tone = weight @ (observed / grey[seen, None])
    # The bounded albedo: what the tone may not carry, the light carries.
    bounded = float(np.clip(tone @ LUMINANCE, *prior.skin_luminance) / (tone @ LUMINANCE))
    return PhotoLight(
        np.clip(grey[:, None] * hue / bounded, *prior.shade_bounds).astype(np.float32),
        (tone * bounded).astype(np.float32),
        float((weight @ error).mean()),
        float(high / max(low, 1e-3)),
    )


def _lamps(reached: Floats, intensity: F64, base_weight: F64, prior: PhotoLightPrior) -> tuple[F64, F64]:
    """Lamps ``[D]`` ≥ 0 in units of the median skin, and what each of the N samples counted, of 1."""
    shown = intensity / _weighted_median(intensity, base_weight)
    relative = base_weight / np.maximum(shown, prior.relative_above) ** 2
    lamps = np.ones(reached.shape[1])
    robust = np.ones(len(shown))
    for _ in range(prior.rounds):
        weight = relative * robust
        weighted = reached.T * weight.astype(np.float32)
        even = float(weight @ shown) / max(float(weighted.sum()), 1e-9)
        pull = prior.ridge * float(weight.sum()) / len(lamps)
        gram = (weighted @ reached).astype(np.float64) + pull * np.eye(len(lamps))
        lamps = _least_squares_above_zero(gram, weighted @ shown + pull * even, lamps)
        residual = np.log(shown / np.clip(reached @ lamps, 0.12, 4.0))
        counted = base_weight * robust
        middle = float(counted @ residual / counted.sum())
        robust = 1.0 / (1.0 + ((residual - middle) / prior.outlier_log_sigma) ** 2)
    counted = base_weight * robust
    return lamps, counted / counted.sum()


def _least_squares_above_zero(gram: F64, right: F64, start: F64) -> F64:
    """x ≥ 0 of least xᵀ gram x / 2 − right·x, from ``start``, by accelerated projected gradients (Beck and
    Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm", FISTA)."""
    # Nothing in ``gram`` is below zero: no eigenvalue is above its largest row.
    step = 1.0 / float(gram.sum(axis=1).max())
    here, ahead, pace = start, start, 1.0
    for _ in range(_STEPS):
        following = np.maximum(ahead - step * (gram @ ahead - right), 0.0)
        next_pace = 0.5 * (1.0 + float(np.sqrt(1.0 + 4.0 * pace * pace)))
        ahead = following + (pace - 1.0) / next_pace * (following - here)
        here, pace = following, next_pace
    return here


def _weighted_median(values: F64, weights: F64) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    return float(values[order[int(np.argmax(cumulative >= 0.5 * cumulative[-1]))]])
