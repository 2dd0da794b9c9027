"""The optimiser's parts against finite differences and brute force."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from facewright.fit import gauss_newton
from facewright.fit.camera import Camera
from facewright.fit.corrective_field import CorrectivePrior
from facewright.fit.expression_prior import WIDTHS, build_expression_prior
from facewright.fit.gauss_newton import (
    POSE_SIZE,
    FitSettings,
    GaussNewton,
    Observation,
    Solution,
    _moved,
    box_quadratic,
    scaled_cholesky,
)
from facewright.fit.landmark_basis import build_landmark_basis
from facewright.head.head_model import HeadModel
from tests.support.pose import rotation_from_angles
from tests.support.synthetic_head import arkit_names, save_synthetic_head


@pytest.fixture(scope="module")
def optimiser(tmp_path_factory: pytest.TempPathFactory) -> GaussNewton:
    path: Path = save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz")
    head = HeadModel.load(path)
    basis = build_landmark_basis(head, CorrectivePrior(modes=10))
    return GaussNewton(basis, build_expression_prior(arkit_names()), FitSettings())


def _start(optimiser: GaussNewton, yaw: float) -> Solution:
    rng = np.random.default_rng(5)
    coefficients = 0.3 * rng.standard_normal(optimiser.size)
    coefficients[optimiser.expression] = rng.uniform(0, 0.3, 52)
    camera = Camera(
        rotation_from_angles(yaw, 8, -5), np.array([0.02, 0.03, 0.6]), 1500.0, np.array([512.0, 500.0])
    )
    return Solution(camera, coefficients)


@pytest.mark.parametrize("yaw", [5.0, 50.0])
def test_jacobian_agrees_with_finite_differences(optimiser: GaussNewton, yaw: float) -> None:
    start = _start(optimiser, yaw)
    viewed, points = optimiser.view(start)
    assert (viewed.candidate >= 0).any()  # the silhouette takes part
    seen = Observation(start.camera.project(points), 1500.0)
    whitening = optimiser._whitening(start, seen, viewed, points, robust_sigma=3.0)
    jacobian, residual = optimiser._linearised(start, seen, viewed, points, whitening, optimiser.size)
    np.testing.assert_allclose(residual, 0, atol=1e-6)
    slid = viewed.candidate >= 0

    def whitened(solution: Solution) -> np.ndarray:
        moved, candidates = optimiser.points(solution.coefficients)
        moved[optimiser.basis.contour[slid]] = candidates[viewed.candidate[slid]]
        error = (solution.camera.project(moved) - seen.pixels) / start.camera.pixels_per_metre
        return (whitening @ error[:, :, None]).ravel()

    rng = np.random.default_rng(0)
    for index in [*range(POSE_SIZE), *rng.choice(np.arange(POSE_SIZE, jacobian.shape[1]), 25, replace=False)]:
        step = np.zeros(POSE_SIZE + optimiser.size)
        size = 1e-3 if index < POSE_SIZE else 0.05
        difference = []
        for sign in (1, -1):
            step[index] = sign * size
            difference.append(
                whitened(
                    Solution(_moved(start.camera, step[:POSE_SIZE]), start.coefficients + step[POSE_SIZE:])
                )
            )
        numeric = (difference[0] - difference[1]) / (2 * size)
        scale = max(np.abs(numeric).max(), 1e-3)
        assert np.abs(numeric - jacobian[:, index]).max() < 0.01 * scale, index


def test_a_step_lowers_the_energy_and_bounds_hold(optimiser: GaussNewton) -> None:
    truth = _start(optimiser, 5.0)
    _, points = optimiser.view(truth)
    seen = Observation(truth.camera.project(points), 1500.0)
    solution = Solution(truth.camera, np.zeros(optimiser.size))
    errors = []
    for _ in range(5):
        residual, _ = optimiser.residuals(solution, seen)
        errors.append(float(np.sqrt(np.mean(residual**2))))
        solution = optimiser.steps(solution, seen, optimiser.size, 1)
        expression = solution.coefficients[optimiser.expression]
        assert expression.min() >= 0
        assert expression.max() <= 1
        prior = optimiser.prior
        assert np.all(expression[~prior.free] == 0)
        assert expression[prior.mouth_close] <= max(expression[prior.jaw_open], 1e-6) + 0.2
    assert errors[-1] < 0.15 * errors[0]


def test_a_step_that_is_cut_short_is_cut_as_a_whole(
    optimiser: GaussNewton, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = _start(optimiser, 5.0)
    _, points = optimiser.view(truth)
    seen = Observation(truth.camera.project(points), 1500.0)
    turned = Camera(
        rotation_from_angles(85.0, 8, -5),
        truth.camera.translation,
        truth.camera.focal,
        truth.camera.principal,
    )
    whole: list[np.ndarray] = []
    bounded_step = gauss_newton.bounded_step

    def recorded(*arguments: np.ndarray) -> np.ndarray:
        whole.append(bounded_step(*arguments).copy())
        return whole[-1].copy()

    monkeypatch.setattr(gauss_newton, "bounded_step", recorded)
    moved = optimiser.steps(Solution(turned, truth.coefficients), seen, optimiser.size, 1)
    share = optimiser.settings.longest_turn / np.abs(whole[0][[0, 1, 2, 5, 6]]).max()
    assert share < 0.9, "this start asks for more than one step may turn"
    expected = _moved(turned, share * whole[0][:POSE_SIZE])
    np.testing.assert_allclose(moved.camera.rotation, expected.rotation, atol=1e-12)
    np.testing.assert_allclose(
        moved.coefficients - truth.coefficients, share * whole[0][POSE_SIZE:], atol=1e-12
    )


def test_box_quadratic_agrees_with_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        size = 30
        factor = rng.standard_normal((50, size))
        target = 3 * rng.standard_normal(50)
        lower, upper = -rng.uniform(0, 0.4, size), rng.uniform(0, 0.4, size)
        expected = lsq_linear(factor, target, (lower - 1e-12, upper + 1e-12), tol=1e-14).x
        found = box_quadratic(factor.T @ factor, factor.T @ target, lower, upper)
        assert np.all((found >= lower) & (found <= upper))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_scaled_cholesky_solves_across_scales() -> None:
    rng = np.random.default_rng(4)
    factor = rng.standard_normal((60, 40)) * 10.0 ** rng.uniform(-1, 4, 40)
    hessian = (factor.T @ factor + np.eye(40)).astype(np.float32)
    lower, scale = scaled_cholesky(hessian)
    rebuilt = (np.tril(lower) @ np.tril(lower).T) / (scale[:, None] * scale)
    np.testing.assert_allclose(rebuilt, hessian, rtol=1e-4, atol=1e-4 * np.abs(hessian).max() ** 0.5)


def test_an_indefinite_hessian_is_an_error() -> None:
    indefinite = np.ones((3, 3), np.float32)
    indefinite[0, 1] = indefinite[1, 0] = 5.0
    with pytest.raises(np.linalg.LinAlgError, match="positive definite"):
        scaled_cholesky(indefinite)


def test_expression_prior_knows_all_shapes_and_refuses_others() -> None:
    prior = build_expression_prior(arkit_names())
    assert np.linalg.eigvalsh(prior.precision).min() > 0
    assert prior.free.sum() == 52 - 8 - 1  # gaze and tongue are set elsewhere
    assert set(WIDTHS) >= {"jawOpen", "mouthClose"}
    with pytest.raises(ValueError, match="eyebrowWiggle"):
        build_expression_prior([*arkit_names()[:-1], "eyebrowWiggle"])
    with pytest.raises(ValueError, match="jawOpen"):
        build_expression_prior(["mouthClose"])
