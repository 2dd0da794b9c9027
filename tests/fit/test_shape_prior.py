"""What was regressed from a face is where its fit starts and what it stays near."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.fit.fit_head import HeadFitter
from facewright.fit.fit_info import HeadFit
from facewright.fit.shape_prior import ShapePrior
from facewright.head.head_model import HeadModel
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE, ErrorCode
from tests.fit.test_fit_head import TO_CROP, TO_PHOTO, Truth, made_up, photo_info
from tests.support.synthetic_head import save_synthetic_head

NOTHING_KNOWN = ShapePrior(
    np.tile([0.0, 1.0], (IDENTITY_SIZE, 1)),
    np.tile([0.0, 1.0], (EXPRESSION_SIZE, 1)),
    np.zeros((468, 2)),
    0.5,
)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def fitter(head: HeadModel) -> HeadFitter:
    return HeadFitter(head)


def fit(fitter: HeadFitter, truth: Truth, prior: ShapePrior | None) -> HeadFit:
    return fitter.fit(truth.network, 0.99, TO_CROP, TO_PHOTO, photo_info(), None, 0.0, prior)


def expected(head: HeadModel, mean: dict[str, float], sigma: float = 0.2) -> NDArray[np.float64]:
    """An expression prior."""
    expression = NOTHING_KNOWN.expression.copy()
    for name, value in mean.items():
        expression[list(head.expression_names).index(name)] = value, sigma
    return expression


def test_the_identity_stays_near_what_was_regressed(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter, noise=0.0003)
    identity = NOTHING_KNOWN.identity.copy()
    identity[:10] = 1.5, 0.2
    found = fit(fitter, truth, dataclasses.replace(NOTHING_KNOWN, identity=identity))
    assert np.abs(found.identity[:10] - 1.5).max() < 0.2
    assert np.abs(fit(fitter, truth, None).identity[:10] - 1.5).max() > 0.5


def test_what_the_field_holds_of_a_seen_expression_goes_to_it() -> None:
    """A smile of .8 that is seen as one of .3, and surely: the field takes the rest up, and gives it back."""
    open_head = HeadModel.load(asset_path("head.npz"))
    open_fitter = HeadFitter(open_head)
    smile = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.8}
    truth = made_up(open_head, open_fitter, pose=(5.0, 2.0, 0.0), expression=smile, noise=0.0003)
    seen = expected(open_head, dict.fromkeys(smile, 0.3), sigma=0.02)
    found = fit(open_fitter, truth, dataclasses.replace(NOTHING_KNOWN, expression=seen))
    place = [list(open_head.expression_names).index(name) for name in smile]
    assert found.expression[place].min() > 0.45
    assert found.expression.max() <= 1.0
    surely_none = expected(open_head, dict.fromkeys(smile, 0.02), sigma=0.02)
    kept = fit(open_fitter, truth, dataclasses.replace(NOTHING_KNOWN, expression=surely_none))
    assert kept.expression[place].max() < 0.1  # what is not shown gets nothing


def test_what_the_field_gives_back_is_still_in_the_fitted_head(head: HeadModel, fitter: HeadFitter) -> None:
    """The projected landmarks are the same whether the field or the expression holds a movement."""
    truth = made_up(head, fitter, expression={"jawOpen": 0.7, "mouthSmileLeft": 0.6})
    seen = expected(head, {"jawOpen": 0.4, "mouthSmileLeft": 0.3})
    found = fit(fitter, truth, dataclasses.replace(NOTHING_KNOWN, expression=seen))
    points = head.landmarks(found.fitted_vertices)[:468] @ found.head_to_camera[:, :3].T
    points = points + found.head_to_camera[:, 3]
    pixels = points @ found.intrinsics.T
    crop = truth.network[:468, :2] @ TO_CROP[:2, :2].T + TO_CROP[:2, 2]
    apart = np.linalg.norm(pixels[:, :2] / pixels[:, 2:] - crop, axis=1)
    assert np.median(apart) / found.info.pupil_distance_px < 0.01


def test_what_landmarks_are_off_by_is_taken_from_them(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter)
    bias = np.random.default_rng(5).normal(0, 0.6, (468, 2))
    off = dataclasses.replace(truth, network=truth.network.copy())
    off.network[:468, :2] += bias
    known = fit(fitter, off, dataclasses.replace(NOTHING_KNOWN, landmark_bias=bias))
    ideal, misled = fit(fitter, truth, NOTHING_KNOWN), fit(fitter, off, NOTHING_KNOWN)
    assert np.abs(known.neutral_vertices - ideal.neutral_vertices).max() < 1e-4
    assert np.abs(misled.neutral_vertices - ideal.neutral_vertices).max() > 5e-4


def test_a_face_far_from_training_is_said_to_be(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter)
    far = fit(fitter, truth, dataclasses.replace(NOTHING_KNOWN, distance=1.4))
    assert any("unlike all" in warning and "1.4 times" in warning for warning in far.info.warnings)
    assert not any("unlike" in warning for warning in fit(fitter, truth, NOTHING_KNOWN).info.warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": np.zeros((IDENTITY_SIZE, 2))},  # a sigma of 0
        {"identity": np.full((IDENTITY_SIZE, 2), np.nan)},
        {"expression": np.ones((51, 2))},
        {"landmark_bias": np.zeros((478, 2))},
        {"landmark_bias": np.full((468, 2), np.inf)},
        {"distance": float("nan")},
    ],
)
def test_numbers_that_are_no_prior_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FacewrightError) as caught:
        dataclasses.replace(NOTHING_KNOWN, **changes)  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.INTERNAL


def test_lids_that_are_seen_to_close_are_closed() -> None:
    """Landmarks show closed lids half open; where the regression is sure of a blink, it is one."""
    open_head = HeadModel.load(asset_path("head.npz"))
    open_fitter = HeadFitter(open_head)
    half = {"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5}
    truth = made_up(open_head, open_fitter, expression=half, noise=0.0003)
    seen = expected(open_head, dict.fromkeys(half, 1.0), sigma=0.35)
    found = fit(open_fitter, truth, dataclasses.replace(NOTHING_KNOWN, expression=seen))
    place = [list(open_head.expression_names).index(name) for name in half]
    assert found.expression[place].min() > 0.8
