"""Several photos fitted together: one as it is alone, and several better than one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facewright.fit.camera import Camera
from facewright.fit.corrective_field import CorrectivePrior
from facewright.fit.expression_prior import build_expression_prior
from facewright.fit.gauss_newton import FitSettings, GaussNewton, Observation, Solution
from facewright.fit.landmark_basis import build_landmark_basis
from facewright.fit.shared_fit import SharedFit, with_one_person
from facewright.head.head_model import HeadModel
from tests.support.pose import rotation_from_angles
from tests.support.synthetic_head import arkit_names, save_synthetic_head

FOCAL = 1500.0


@pytest.fixture(scope="module")
def optimiser(tmp_path_factory: pytest.TempPathFactory) -> GaussNewton:
    path: Path = save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz")
    basis = build_landmark_basis(HeadModel.load(path), CorrectivePrior())
    return GaussNewton(basis, build_expression_prior(arkit_names()), FitSettings())


def _camera(yaw: float) -> Camera:
    return Camera(
        rotation_from_angles(yaw, 0.0, 0.0), np.array([0.0, 0.0, 0.6]), FOCAL, np.array([512.0, 512.0])
    )


def _person(optimiser: GaussNewton) -> np.ndarray:
    truth = np.zeros(optimiser.size)
    truth[: optimiser.expression.start] = np.random.default_rng(8).standard_normal(optimiser.expression.start)
    return truth


def _photo(optimiser: GaussNewton, truth: np.ndarray, yaw: float, jaw: float) -> tuple[Observation, Solution]:
    """What is seen of a person, and a start that knows nobody."""
    shown = truth.copy()
    shown[optimiser.expression.start + optimiser.prior.jaw_open] = jaw
    camera = _camera(yaw)
    _, points = optimiser.view(Solution(camera, shown))
    return Observation(camera.project(points), FOCAL), Solution(camera, np.zeros(optimiser.size))


def test_one_photo_is_fitted_as_it_is_alone(optimiser: GaussNewton) -> None:
    seen, start = _photo(optimiser, _person(optimiser), 20.0, 0.4)
    alone = optimiser.steps(start, seen, optimiser.size, 2)
    (together,) = SharedFit(optimiser).steps([start], [seen], optimiser.size, 2)
    np.testing.assert_allclose(together.coefficients, alone.coefficients, atol=2e-3)
    np.testing.assert_allclose(together.camera.rotation, alone.camera.rotation, atol=1e-4)
    assert alone.hessian is not None
    assert together.hessian is not None
    np.testing.assert_allclose(together.hessian, alone.hessian, rtol=1e-3, atol=1e-2 * alone.hessian.max())


def test_the_same_photo_twice_tells_hardly_more_than_once(optimiser: GaussNewton) -> None:
    seen, start = _photo(optimiser, _person(optimiser), 10.0, 0.0)
    alone = optimiser.steps(start, seen, optimiser.size, 3)
    twice = SharedFit(optimiser).steps([start] * 2, [seen] * 2, optimiser.size, 3)
    form = np.delete(np.arange(optimiser.size), optimiser.expression)
    gap = np.linalg.norm((twice[0].coefficients - alone.coefficients)[form])
    assert gap < 0.08 * np.linalg.norm(alone.coefficients[form])


def test_the_photo_from_the_front_decides(optimiser: GaussNewton) -> None:
    truth = _person(optimiser)
    photos = [_photo(optimiser, truth, 0.0, 0.0), _photo(optimiser, -truth, 30.0, 0.0)]
    fit = SharedFit(optimiser)
    solutions = fit.steps([one[1] for one in photos], [one[0] for one in photos], optimiser.linear_size, 4)
    form = solutions[0].coefficients[: optimiser.expression.start]
    assert form @ truth[: optimiser.expression.start] > 0.3 * np.linalg.norm(form) ** 2


def test_all_photos_have_one_form_and_each_its_own_expression(optimiser: GaussNewton) -> None:
    truth, fit = _person(optimiser), SharedFit(optimiser)
    photos = [_photo(optimiser, truth, yaw, jaw) for yaw, jaw in ((-25.0, 0.0), (0.0, 0.5), (25.0, 0.0))]
    seen, starts = [one[0] for one in photos], [one[1] for one in photos]
    solutions = fit.steps(starts, seen, optimiser.linear_size, 4)
    solutions = fit.steps(solutions, seen, optimiser.size, 3)
    form = np.delete(solutions[0].coefficients, optimiser.expression)
    for solution in solutions[1:]:
        np.testing.assert_array_equal(np.delete(solution.coefficients, optimiser.expression), form)
    jaws = [s.coefficients[optimiser.expression][optimiser.prior.jaw_open] for s in solutions]
    assert jaws[1] > 0.3 > 0.15 > max(jaws[0], jaws[2])
    for solution in solutions:
        assert solution.coefficients[optimiser.expression].min() >= 0
        assert solution.coefficients[optimiser.expression].max() <= 1

    def away(solution: Solution) -> float:
        resting = solution.coefficients.copy()
        resting[optimiser.expression] = 0.0
        points, true = optimiser.points(resting)[0], optimiser.points(truth)[0]
        return float(np.linalg.norm(points - true, axis=1).mean())

    alone = optimiser.steps(starts[1], seen[1], optimiser.linear_size, 4)
    alone = optimiser.steps(alone, seen[1], optimiser.size, 3)
    assert away(solutions[1]) < 0.9 * away(alone)


def test_a_start_has_the_mean_of_the_identities(optimiser: GaussNewton) -> None:
    one, other = (Solution(_camera(0.0), np.full(optimiser.size, value)) for value in (1.0, 3.0))
    starts = with_one_person([one, other], optimiser)
    for start, value in zip(starts, (1.0, 3.0), strict=True):
        assert (start.coefficients[: optimiser.expression.start] == 2.0).all()
        assert (start.coefficients[optimiser.expression] == value).all()
        assert (start.coefficients[optimiser.linear_size :] == 0.0).all()
