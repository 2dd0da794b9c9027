"""The joint fit of one person to several photos: one identity and corrective field, and for each photo its
camera and expression.

The energy is that of `gauss_newton`, with the mean of the photos' landmark terms and each prior once. Were
the landmarks' errors independent, it would be their sum; but they are one network's, which errs alike in all
photos, and most where a face is turned, so that turned photos weigh less. What benchmarks/geometry captured
of ten heads' own shape, and the mean distance in mm:

=========================  ===============  ===============================  =============================
photos                     the first alone  sum of terms                     mean, turned ones weighing less
=========================  ===============  ===============================  =============================
yaw 0, -30, 30             .38, 1.27        .44, 1.57                        .48, 1.43
smile; jaw open, yaw 30;   .38, 1.55        .38, 1.63                        .47, 1.43
brow raise, yaw -30
=========================  ===============  ===============================  =============================

That was before shapes were regressed (`shape_prior`); with it, and on people photographed otherwise, the
first row is .40, 1.35 alone and .46, 1.33 together, the second .40, 1.45 and .42, 1.37.

A combination of each photo's own posterior would be cheaper, but each was linearised where its photo alone
led it: a smile that one photo takes for a form stays one. Here all photos say together, at every step, what
is form and what is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright.fit.camera import pose_angles
from facewright.fit.gauss_newton import POSE_SIZE, GaussNewton, Observation, Solution, bounded_step

Indices = NDArray[np.int64]

#: Degrees of yaw at which a photo's landmarks weigh half of a frontal one's.
HALF_TRUSTED_YAW: Final = 10.0


class SharedFit:
    """Gauss-Newton over several photos.

    Args:
        optimiser: of the head model.
    """

    def __init__(self, optimiser: GaussNewton) -> None:
        self._one = optimiser

    def steps(
        self, start: Sequence[Solution], seen: Sequence[Observation], size: int, count: int
    ) -> list[Solution]:
        """At most ``count`` steps over the first ``size`` coefficients (the linear model's, or all).

        Args:
            start: of each photo; identity and corrective field are the same in all.
            seen: what each photo shows.
            size, count: as `GaussNewton.steps`; at least one.

        Returns:
            A solution for each photo. Its Hessian has the other photos' cameras and expressions marginalised.
        """
        solutions, whole = list(start), np.zeros((0, 0), np.float32)
        for _ in range(count):
            before = [solution.coefficients for solution in solutions]
            solutions, whole = self._step(solutions, seen, size)
            moved = [np.abs(now.coefficients - old).max() for now, old in zip(solutions, before, strict=True)]
            if max(moved) < self._one.settings.tolerance:
                break
        _, places = self._places(len(solutions), size)
        return [
            replace(solution, hessian=_marginal(whole, place))
            for solution, place in zip(solutions, places, strict=True)
        ]

    def _step(
        self, solutions: Sequence[Solution], seen: Sequence[Observation], size: int
    ) -> tuple[list[Solution], NDArray[np.float32]]:
        """All solutions after one step, and the Hessian of all unknowns before it."""
        one, photos = self._one, len(solutions)
        robust_sigma = one.settings.robust_sigma * (1.0 if size == one.size else 4.0)
        common, places = self._places(photos, size)
        total = int(max(place.max() for place in places)) + 1
        hessian, gradient = np.zeros((total, total), np.float32), np.zeros(total)
        trusted = _trusted(solutions)
        for solution, observation, place, trust in zip(solutions, seen, places, trusted, strict=True):
            expected = one.prior_of(observation.shape)
            own, slope = one.landmark_terms(solution, observation, size, robust_sigma)
            prior, pull = np.zeros_like(own), np.zeros_like(slope)
            one.add_priors(prior, pull, solution, observation, expected, size)
            prior[np.ix_(common, common)] /= photos  # it is one person, whose prior counts once
            pull[common] /= photos
            hessian[np.ix_(place, place)] += np.float32(trust) * own + prior
            gradient[place] += trust * slope + pull

        expressions = [place[POSE_SIZE:][one.expression] for place in places]
        bounds = [one.expression_bounds(solution) for solution in solutions]
        lower, upper = (np.concatenate(side) for side in zip(*bounds, strict=True))
        step = bounded_step(hessian, gradient, np.concatenate(expressions), lower, upper)
        step *= min(one.shortened(step[place]) for place in places)
        moved = [
            one.stepped(solution, step[place], hessian)
            for solution, place in zip(solutions, places, strict=True)
        ]
        return moved, hessian

    def _places(self, photos: int, size: int) -> tuple[NDArray[np.bool_], list[Indices]]:
        """Which of a photo's unknowns [7 + size], pose and coefficients, all photos have in common, and for
        each photo where its unknowns stand among all."""
        common = np.ones(POSE_SIZE + size, bool)
        common[:POSE_SIZE] = False
        common[POSE_SIZE:][self._one.expression] = False
        shared, own = np.count_nonzero(common), np.count_nonzero(~common)
        places = []
        for number in range(photos):
            place = np.empty(POSE_SIZE + size, np.int64)
            place[common] = np.arange(shared)
            place[~common] = shared + number * own + np.arange(own)
            places.append(place)
        return common, places


def with_one_person(solutions: Sequence[Solution], optimiser: GaussNewton) -> list[Solution]:
    """Starts of a joint fit: the mean of the identities, no corrective field, each photo's own expression."""
    identity = np.mean(
        [solution.coefficients[: optimiser.expression.start] for solution in solutions], axis=0
    )
    starts = []
    for solution in solutions:
        coefficients = np.zeros(optimiser.size)
        coefficients[: optimiser.expression.start] = identity
        coefficients[optimiser.expression] = solution.coefficients[optimiser.expression]
        starts.append(replace(solution, coefficients=coefficients))
    return starts


def _trusted(solutions: Sequence[Solution]) -> NDArray[np.float64]:
    """What each photo's landmark terms count; those of a photo alone count 1, however it is turned."""
    yaw = np.array([pose_angles(solution.camera.rotation)[0] for solution in solutions])
    trust = 1.0 / (1.0 + (yaw / HALF_TRUSTED_YAW) ** 2)
    return np.asarray(trust / trust.max() / len(solutions))


def _marginal(hessian: NDArray[np.float32], place: Indices) -> NDArray[np.float32]:
    """The precision of some unknowns where the others are not known."""
    others = np.setdiff1d(np.arange(len(hessian)), place)
    kept = hessian[np.ix_(place, place)]
    if not len(others):
        return kept
    across = hessian[np.ix_(others, place)].astype(np.float64)
    among = hessian[np.ix_(others, others)].astype(np.float64)
    return np.asarray(kept - across.T @ np.linalg.solve(among, across), np.float32)
