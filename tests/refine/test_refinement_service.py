"""Requests of a refinement stage: collected, watched, answered one by one."""

from __future__ import annotations

import dataclasses
import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.refinement import REFINE_OPTIONS
from facewright.refine.device import RefinementDevice
from facewright.refine.history import LOSS_NAMES
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.service import LatentRefiner, RefinedLatent, RefinementProgress, RefinementRequest
from facewright.render.light import STUDIO
from facewright.render.render_head import HeadRenderer, View
from facewright_client.contract import ErrorCode
from tests.support.small_refinement_networks import IMAGE_SIZE, LATENT_SHAPE, small_networks

CPU = RefinementDevice.cpu()


@pytest.fixture(scope="module")
def refiner(open_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> LatentRefiner:
    return LatentRefiner(small_networks(open_head, tmp_path_factory.mktemp("networks")), open_head, CPU)


@pytest.fixture(scope="module")
def crop(open_head: HeadModel) -> tuple[np.ndarray, View]:
    view = View.turned(5, 2, size=1024, span=0.26)
    texture = np.full((8, 8, 3), (0.4, 0.3, 0.25), np.float32)
    return HeadRenderer(open_head, texture).render(open_head.vertices_mean, view).over(), view


def _request(crop: tuple[np.ndarray, View], seed: int = 0, **options: Any) -> RefinementRequest:
    picture, view = crop
    w_plus = np.random.default_rng(seed).normal(size=LATENT_SHAPE).astype(np.float32)
    return RefinementRequest(
        picture,
        np.full((256, 256), 255, np.uint8),
        view.intrinsics,
        view.head_to_camera,
        STUDIO.coefficients,
        w_plus,
        RefinementOptions(**{"iterations": 3} | options),
    )


def test_a_crop_becomes_what_the_networks_see(crop: tuple[np.ndarray, View]) -> None:
    picture, view = crop
    request = _request(crop)
    mask = np.zeros((1, 256, 256), np.uint8)
    mask[:, :4, :2] = 255
    photos = RefinementPhotos.from_crops(
        picture[None],
        mask,
        (view.intrinsics[None], view.head_to_camera[None]),
        STUDIO.coefficients[None],
        request.w_plus[None],
        device=CPU,
        size=IMAGE_SIZE,
    )
    assert photos.photo.shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)
    flat = picture.reshape(64, 16, 64, 16, 3)[20, :, 30].reshape(-1, 3)
    if np.ptp(flat, axis=0).max() == 0:  # a uniform block keeps its colour
        np.testing.assert_allclose(photos.photo[0, :, 20, 30], flat[0] / 255, atol=1e-3)
    np.testing.assert_allclose(photos.photo.mean(axis=(0, 2, 3)), picture.mean(axis=(0, 1)) / 255, atol=0.01)
    assert photos.face_mask[0, 0, 0] == pytest.approx(0.5)
    assert photos.face_mask[0, 0, 1] == 0
    # The same point falls on the same place of the smaller picture.
    point = view.head_to_camera @ np.array([0.02, 0.01, 0.0, 1.0])
    in_crop, in_photo = view.intrinsics @ point, photos.intrinsics[0] @ point
    np.testing.assert_allclose(in_photo[:2] / in_photo[2], in_crop[:2] / in_crop[2] / 16, rtol=1e-5)


def test_a_bad_request_does_not_touch_the_others(
    refiner: LatentRefiner, crop: tuple[np.ndarray, View]
) -> None:
    broken = dataclasses.replace(_request(crop), w_plus=np.full(LATENT_SHAPE, np.nan, np.float32))
    other = _request(crop, seed=1, learning_rate=0.03)
    answers = refiner.refine([_request(crop), broken, other, _request(crop, seed=2)])
    first, refused, alone, last = answers
    assert isinstance(refused, FacewrightError)
    assert refused.code == ErrorCode.BAD_OPTION
    assert isinstance(first, RefinedLatent)
    assert isinstance(alone, RefinedLatent)
    assert isinstance(last, RefinedLatent)
    # Equal options are computed together.
    assert [answer.info.batch for answer in (first, alone, last)] == [2, 1, 2]
    single = refiner.refine([_request(crop, seed=2)])[0]
    assert isinstance(single, RefinedLatent)
    np.testing.assert_allclose(last.refinement.losses, single.refinement.losses, rtol=1e-4, atol=1e-6)


def test_deadline_and_cancellation_end_only_their_request(
    refiner: LatentRefiner, crop: tuple[np.ndarray, View]
) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    late = _request(crop, seed=1, deadline_ms=1)
    late = dataclasses.replace(late, began=late.began - 1)
    gone = dataclasses.replace(_request(crop, seed=2), cancelled=cancelled)
    answers = refiner.refine([_request(crop), late, gone])
    assert isinstance(answers[0], RefinedLatent)
    assert answers[0].info.iterations == 3
    assert isinstance(answers[1], RefinedLatent)
    assert answers[1].info.deadline
    assert answers[1].info.iterations == 0
    assert answers[1].info.best_loss is None
    np.testing.assert_array_equal(answers[1].refinement.best.w_plus, late.w_plus)
    assert isinstance(answers[2], FacewrightError)
    assert answers[2].code == ErrorCode.CANCELLED
    assert "after 2 iterations" in answers[2].message


def test_progress_is_reported_with_pictures_now_and_then(
    refiner: LatentRefiner, crop: tuple[np.ndarray, View]
) -> None:
    seen: list[RefinementProgress] = []
    request = _request(crop, iterations=5, preview_every=2)
    answer = refiner.refine([dataclasses.replace(request, report=seen.append)])[0]
    assert isinstance(answer, RefinedLatent)
    assert [progress.iteration for progress in seen] == [1, 2, 3, 4, 5]
    assert [bool(progress.preview) for progress in seen] == [False, True, False, True, False]
    assert Image.open(BytesIO(seen[1].preview)).size == (IMAGE_SIZE, IMAGE_SIZE)
    state = json.loads(seen[-1].to_json())
    assert state["iterations"] == 5
    assert list(state["losses"]) == list(LOSS_NAMES)
    np.testing.assert_allclose(list(state["losses"].values()), answer.refinement.losses[-1], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        ({"iterations": 20, "patience": 2, "learning_rate": 1e-6}, "plateau"),
        ({"iterations": 500}, "deadline"),
    ],
)
def test_whatever_ends_it_the_last_iteration_is_reported(
    options: dict[str, float], ended: str, refiner: LatentRefiner, crop: tuple[np.ndarray, View]
) -> None:
    seen: list[int] = []
    request = _request(crop, **options)

    def report(progress: RefinementProgress) -> None:
        seen.append(progress.iteration)

    class _Watched(RefinementRequest):
        """Its deadline comes after three iterations, whatever the clock says."""

        @property
        def past_deadline(self) -> bool:
            return ended == "deadline" and bool(seen) and seen[-1] >= 3

    fields = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
    answer = refiner.refine([_Watched(**{**fields, "report": report})])[0]
    assert isinstance(answer, RefinedLatent)
    assert answer.info.ended == ended
    assert seen == list(range(1, answer.info.iterations + 1))


def test_losses_that_are_not_finite_from_the_start_are_an_error(
    refiner: LatentRefiner, crop: tuple[np.ndarray, View]
) -> None:
    light = np.full((9, 3), 3e38, np.float32)
    answer = refiner.refine([dataclasses.replace(_request(crop), sh_light=light)])[0]
    assert isinstance(answer, FacewrightError)
    assert "losses of the start are not finite" in answer.message


def test_a_start_whose_head_is_not_in_the_picture_is_an_error_and_no_perfect_match(
    refiner: LatentRefiner, crop: tuple[np.ndarray, View]
) -> None:
    """The picture is the photo then, and every term of the loss 0."""
    request = _request(crop)
    aside = request.head_to_camera.copy()
    aside[0, 3] += 2
    reported: list[RefinementProgress] = []
    lost = dataclasses.replace(request, head_to_camera=aside, report=reported.append)
    answer, whole = refiner.refine([lost, _request(crop, seed=1)])
    assert isinstance(answer, FacewrightError)
    assert answer.code == ErrorCode.BAD_OPTION
    assert "nothing of the head is seen under the face mask" in answer.message
    assert reported == []
    assert isinstance(whole, RefinedLatent), "another photo of the batch"


def test_options_are_the_contracts() -> None:
    defaults = dataclasses.asdict(RefinementOptions())
    assert defaults == {name: option.default for name, option in REFINE_OPTIONS.items()}
    assert RefinementOptions.from_parameters({"learning_rate": "0.5"}).learning_rate == 0.5
    assert RefinementOptions.from_parameters({}, has_identity=False).identity_weight == 0
    asked = RefinementOptions.from_parameters({"identity_weight": 2.0}, has_identity=False)
    assert asked.identity_weight == 2
    for wrong in ({"iterations": 0}, {"iterations": 2.5}, {"learning_rate": float("inf")}, {"rate": 1}):
        with pytest.raises(FacewrightError, match=next(iter(wrong))) as caught:
            RefinementOptions.from_parameters(wrong)
        assert caught.value.code == ErrorCode.BAD_OPTION
    with pytest.raises(FacewrightError, match="iterations is 0"):
        RefinementOptions(iterations=0)


def test_the_rate_rises_stays_and_falls() -> None:
    options = RefinementOptions(iterations=100, warm_up=0.1, ramp_down=0.2)
    factors = [options.rate_factor(iteration) for iteration in range(100)]
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(factors[10:81], 1)
    np.testing.assert_allclose(factors[90], 0.5)
    assert all(np.diff(factors[80:]) < 0)
    assert 0 < factors[99] < 0.01
    assert RefinementOptions(iterations=1, warm_up=0.0, ramp_down=0.0).rate_factor(0) == 1


def test_noise_is_gone_after_three_quarters() -> None:
    options = RefinementOptions(iterations=100, latent_noise=0.2)
    assert options.noise_deviation(0) == pytest.approx(0.2)
    assert options.noise_deviation(30) == pytest.approx(0.2 * 0.6**2)
    assert options.noise_deviation(75) == 0
