"""The distribution of MakeHuman identity parameters that the identity basis is fitted to.

Every MakeHuman head is ``base + sum_k w_k target_k``. The target weights ``w`` are piecewise linear or
products of the modelling parameters (a slider has one target for its positive and another for its negative
side; the macro targets are products of sex, age, muscle, weight and ancestry). This module draws parameters
of grown people and teenagers and returns the target weights, from which the mean and the covariance follow
exactly.

The standard deviations are this project's choice, in millimetres of the slider's peak displacement, checked
against published adult anthropometry (Farkas 1994) by ``tests/export/test_open_head.py``.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.makehuman_data import MakeHumanData, Target

FloatArray = npt.NDArray[np.float64]

#: Folder of sliders → 1 σ in metres of the displacement where the slider moves the surface most.
SLIDER_SIGMA: Final[dict[str, float]] = {
    "head": 0.0034,
    "forehead": 0.0025,
    "eyebrows": 0.0016,
    "eyes": 0.0009,
    "nose": 0.0016,
    "mouth": 0.0014,
    "chin": 0.0025,
    "cheek": 0.0020,
    "ears": 0.0025,
    "neck": 0.0030,
    "asym": 0.0006,
}
#: Sliders are trusted to this many of their full ranges; beyond it MakeHuman's own targets fold over.
SLIDER_LIMIT: Final = 0.9
#: Share of the standard deviation of a left–right pair of sliders that is not common to both sides.
ASYMMETRY: Final = 0.2

_OPPOSITES: Final = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
    ("1-l", "1-r"),
)
_ANCESTRY: Final = ("african", "asian", "caucasian")
_SEX: Final = ("female", "male")
_AGE: Final = ("child", "young", "old")
_MUSCLE: Final = ("minmuscle", "averagemuscle", "maxmuscle")
_WEIGHT: Final = ("minweight", "averageweight", "maxweight")
_HEIGHT: Final = ("minheight", "maxheight")


@dataclass(frozen=True)
class TargetWeights:
    """Target weights of a drawn population.

    ``targets`` [K]; ``weights`` float64 [N, K], one row for each drawn person.
    """

    targets: list[Target]
    weights: FloatArray


@dataclass(frozen=True)
class _Slider:
    """Targets of the negative and positive side (the negative one is None for one-sided sliders) and 1 σ."""

    negative: Target | None
    positive: Target
    sigma: float
    pair: str


def draw_target_weights(makehuman: MakeHumanData, people: int, seed: int) -> TargetWeights:
    """Draw ``people`` rows of target weights with NumPy's PCG64 generator seeded by ``seed``."""
    random = np.random.Generator(np.random.PCG64(seed))
    targets: list[Target] = []
    columns: list[FloatArray] = []
    for macro_targets, macro_weights in _macro_targets(makehuman, people, random):
        targets.append(macro_targets)
        columns.append(macro_weights)
    common: dict[str, FloatArray] = {}
    for slider in _sliders(makehuman):
        if slider.pair not in common:
            common[slider.pair] = random.standard_normal(people)
        own = random.standard_normal(people)
        score = np.sqrt(1 - ASYMMETRY**2) * common[slider.pair] + ASYMMETRY * own
        value = np.clip(slider.sigma * score, -SLIDER_LIMIT, SLIDER_LIMIT)
        targets.append(slider.positive)
        columns.append(np.maximum(value, 0.0))
        if slider.negative is not None:
            targets.append(slider.negative)
            columns.append(np.maximum(-value, 0.0))
    return TargetWeights(targets, np.stack(columns, axis=1))


def _sliders(makehuman: MakeHumanData) -> list[_Slider]:
    sliders: list[_Slider] = []
    for folder, sigma in SLIDER_SIGMA.items():
        names = makehuman.target_names(folder)
        for name in names:
            if name.startswith(("measure-", "asymm-")):  # whole-body measures
                continue
            negative_name = _opposite(name, names)
            if negative_name == "":
                continue  # the negative side of a slider that its positive side brings in
            negative = makehuman.target(f"{folder}/{negative_name}") if negative_name else None
            positive = makehuman.target(f"{folder}/{name}")
            sides = [positive] if negative is None else [positive, negative]
            peak = max(float(np.linalg.norm(side.offsets, axis=1).max()) for side in sides)
            sliders.append(
                _Slider(
                    negative,
                    positive,
                    sigma / peak,
                    # l-… and r-… sliders share a common score; the ±sides of asym-… sliders are left and
                    # right
                    pair=f"{folder}/{name[2:] if name[:2] in ('l-', 'r-') else name}",
                )
            )
    return sliders


def _opposite(name: str, names: list[str]) -> str | None:
    """Name of the negative side of a positive side; "" if ``name`` is itself a negative side; None if it has
    none.
    """
    if name.startswith("asym-"):
        return name[:-1] + "l" if name.endswith("-r") else ""
    for low, high in _OPPOSITES:
        stem, _, suffix = name.rpartition("-")
        if suffix == high and f"{stem}-{low}" in names:
            return f"{stem}-{low}"
        if suffix == low and f"{stem}-{high}" in names:
            return ""
    return None


def _macro_targets(
    makehuman: MakeHumanData, people: int, random: np.random.Generator
) -> list[tuple[Target, FloatArray]]:
    """Sex, age, muscle, weight, height and ancestry: MakeHuman's products of interpolation weights."""
    male = random.beta(0.35, 0.35, people)
    sex = dict(zip(_SEX, (1 - male, male), strict=True))
    # -1 child, 0 young adult, 1 old; a few teenagers, most people between 18 and 65
    age_value = np.clip(random.normal(0.30, 0.35, people), -0.5, 1.0)
    age = _interpolate(age_value, _AGE)
    muscle = _interpolate(np.clip(random.normal(0.0, 0.35, people), -1, 1), _MUSCLE)
    weight = _interpolate(np.clip(random.normal(0.1, 0.45, people), -1, 1), _WEIGHT)
    tall = np.clip(random.normal(0.5, 0.05, people), 0, 1)
    # MakeHuman's height slider: half-way is no height target at all, the ends are the full targets
    height = dict(zip(_HEIGHT, (np.maximum(1 - 2 * tall, 0), np.maximum(2 * tall - 1, 0)), strict=True))
    ancestry_rows = random.dirichlet((0.45, 0.45, 0.45), people)
    ancestry = {name: ancestry_rows[:, i] for i, name in enumerate(_ANCESTRY)}

    result: list[tuple[Target, FloatArray]] = []
    for a, s, g in itertools.product(_ANCESTRY, _SEX, _AGE):
        result.append((makehuman.target(f"macrodetails/{a}-{s}-{g}"), ancestry[a] * sex[s] * age[g]))
    for s, g, m, w in itertools.product(_SEX, _AGE, _MUSCLE, _WEIGHT):
        product = sex[s] * age[g] * muscle[m] * weight[w]
        result.append((makehuman.target(f"macrodetails/universal-{s}-{g}-{m}-{w}"), product))
        for h in _HEIGHT:
            name = f"macrodetails/height/{s}-{g}-{m}-{w}-{h}"
            result.append((makehuman.target(name), product * height[h]))
    return result


def _interpolate(value: FloatArray, names: tuple[str, str, str]) -> dict[str, FloatArray]:
    """Piecewise linear weights of three anchors at −1, 0 and 1."""
    low, middle, high = names
    return {
        low: np.maximum(-value, 0.0),
        middle: 1.0 - np.abs(value),
        high: np.maximum(value, 0.0),
    }
