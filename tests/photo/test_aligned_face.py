"""Faces as published networks take them: each recipe lands where its published aligner puts a face."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facewright.adapter.stage_request import Place, StageRequest
from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.head.head_model import HeadModel
from facewright.photo.aligned_face import (
    ARCFACE_POINTS,
    DEEP3D_POINTS,
    RECIPES,
    align_face,
    landmarks_in_crop,
)
from facewright.photo.face_points import IBUG_68, FacePoints
from facewright.pipelines import tensors
from facewright.pipelines.alignment import ALIGN_FACE
from facewright.pipelines.request import Request
from facewright.pipelines.stages import Pipeline
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import FACE_CROP, LANDMARKS, ErrorCode

GREY = np.full((1024, 1024, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def landmarks(open_head: HeadModel) -> np.ndarray:
    """The mean head's, seen from the front with a roll of 10 degrees, in a crop."""
    flat = open_head.landmarks(open_head.vertices_mean)[:, :2] * [1, -1]
    turn = np.radians(10)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return flat @ rotation.T * 2600 + [520, 480]


def _in_image(points: np.ndarray, landmarks: np.ndarray, recipe: str) -> np.ndarray:
    """Points [N, 2] of the crop in pixels of the aligned image."""
    to_aligned = align_face(GREY, landmarks, RECIPES[recipe]).crop_to_aligned
    return points @ to_aligned[:2, :2].T + to_aligned[:2, 2]


def _with_five(five: np.ndarray) -> np.ndarray:
    """Landmarks of which only those count that the five points are made of."""
    landmarks = np.zeros((478, 2))
    rows = [slice(36, 42), slice(42, 48), slice(30, 31), slice(48, 49), slice(54, 55)]
    for point, row in zip(five, rows, strict=True):
        landmarks[list(IBUG_68[row])] = point
    return landmarks


def test_the_68_points_lie_mirrored_on_the_head(open_head: HeadModel) -> None:
    points = open_head.landmarks(open_head.vertices_mean)[list(IBUG_68)] * 1e3
    pairs = [(i, 16 - i) for i in range(8)] + [(17 + i, 26 - i) for i in range(5)] + [(31, 35), (32, 34)]
    pairs += [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46), (48, 54), (49, 53), (50, 52)]
    pairs += [(60, 64), (61, 63), (67, 65), (59, 55), (58, 56)]
    for right, left in pairs:
        np.testing.assert_allclose(points[right] * [-1, 1, 1], points[left], atol=1.5)
        assert points[right, 0] < 0
    on_the_middle = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    np.testing.assert_allclose(points[on_the_middle, 0], 0, atol=1.5)


def test_arcface_puts_the_five_points_on_its_template() -> None:
    turn = np.array([[0.9, -0.3], [0.3, 0.9]]) * 4
    found = _in_image(five := ARCFACE_POINTS @ turn.T + [200, 150], _with_five(five), "arcface")
    np.testing.assert_allclose(found, ARCFACE_POINTS + 0.5, atol=1e-3)  # OpenCV counts from pixels' centres
    np.testing.assert_allclose(ARCFACE_POINTS[2], [56.0252, 71.7366])
    # The least squared error, as of scikit-image's SimilarityTransform: no other turn or scale has less.
    bent = five + np.random.default_rng(0).normal(0, 20, five.shape)
    to_aligned = align_face(GREY, _with_five(bent), RECIPES["arcface"]).crop_to_aligned[:2, :2].astype(float)
    error = ((_in_image(bent, _with_five(bent), "arcface") - ARCFACE_POINTS - 0.5) ** 2).sum()
    for angle, scale in [(0.02, 1), (-0.02, 1), (0, 1.02), (0, 0.98)]:
        turned = (
            scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ to_aligned
        )
        there = (bent - bent.mean(axis=0)) @ turned.T + ARCFACE_POINTS.mean(axis=0)
        assert ((there - ARCFACE_POINTS) ** 2).sum() > error


def test_light_cnn_has_48_pixels_from_eyes_to_mouth_and_40_above(landmarks: np.ndarray) -> None:
    five = _in_image(FacePoints(landmarks).five, landmarks, "light_cnn")
    eyes, mouth = five[:2].mean(axis=0), five[3:].mean(axis=0)
    np.testing.assert_allclose(eyes, [64, 40.5], atol=1e-3)
    assert mouth[1] - eyes[1] == pytest.approx(48, abs=1e-3)
    assert five[0, 1] == pytest.approx(five[1, 1], abs=1e-3)
    assert align_face(GREY, landmarks, RECIPES["light_cnn"]).image.shape == (128, 128, 1)


def test_deep3d_scales_its_standard_head_to_102_pixels() -> None:
    turn = np.radians(7)
    axes = 300 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    five = DEEP3D_POINTS[:, :2] * [1, -1] @ axes.T + [500, 400]
    found = _in_image(five, _with_five(five), "deep3d")
    # The head's origin in the middle, 102 pixels to a unit, and the face's roll kept.
    np.testing.assert_allclose(found, DEEP3D_POINTS[:, :2] * [1, -1] @ (axes * 102 / 300).T + 112, atol=1e-2)


def test_deca_takes_137_percent_of_the_box_of_68_landmarks(landmarks: np.ndarray) -> None:
    low, high = FacePoints(landmarks).ibug_box
    side = (high[0] - low[0] + high[1] - low[1]) / 2 * 1.1 * 1.25
    corners = (low + high) / 2 + np.array([[-0.5, -0.5], [0.5, 0.5]]) * side
    np.testing.assert_allclose(_in_image(corners, landmarks, "deca"), [[0, 0], [224, 224]], atol=1e-3)


def test_facenet_stretches_the_face_box_over_its_image(landmarks: np.ndarray) -> None:
    box = np.stack(FacePoints(landmarks).mesh_box)
    np.testing.assert_allclose(_in_image(box, landmarks, "facenet"), [[0, 0], [160, 160]], atol=1e-3)


@pytest.mark.parametrize(("recipe", "size"), [("ffhq", 256), ("bisenet", 512), ("pspnet", 473)])
def test_ffhq_takes_the_square_of_the_published_script(recipe: str, size: int, landmarks: np.ndarray) -> None:
    points = FacePoints(landmarks)
    left, right = points.eyes
    mouth = (points.ibug[48] + points.ibug[54]) / 2
    across, down = right - left, mouth - (left + right) / 2
    # download_ffhq.py: the half axis x is turned by the eyes and the mouth together.
    x = across - down[::-1] * [-1, 1]
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y = x[::-1] * [-1, 1]
    centre = (left + right) / 2 + 0.1 * down
    square = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    expected = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * size
    np.testing.assert_allclose(_in_image(square, landmarks, recipe), expected, atol=1e-2)


@pytest.mark.parametrize("name", RECIPES)
def test_pixels_come_from_where_the_matrix_says(name: str, landmarks: np.ndarray) -> None:
    ramp = np.tile(np.arange(1024) / 4, (1024, 1)).astype(np.uint8)
    crop = np.stack([ramp, ramp.T, np.full_like(ramp, 90)], axis=2)
    aligned = align_face(crop, landmarks, RECIPES[name])
    assert aligned.image.dtype == np.uint8
    assert aligned.image.shape == tensors.ALIGNED_SHAPES[name]
    to_crop = np.linalg.inv(aligned.crop_to_aligned.astype(float))
    middle = aligned.image.shape[0] // 2
    for row, column in [(middle, middle), (middle - 20, middle + 30)]:
        x, y = (to_crop @ [column + 0.5, row + 0.5, 1])[:2]
        # A byte holds four pixels, cut off.
        expected = np.array([x, y, 90 * 4]) / 4 - [0.5, 0.5, 0]
        if name == "light_cnn":
            expected = np.atleast_1d(expected @ [0.299, 0.587, 0.114])
        np.testing.assert_allclose(aligned.image[row, column], expected, atol=1)


def test_what_is_finer_than_the_images_pixels_is_averaged(landmarks: np.ndarray) -> None:
    checks = ((np.indices((1024, 1024)).sum(axis=0) % 2) * 255).astype(np.uint8)
    crop = np.repeat(checks[..., None], 3, axis=2)
    small = RECIPES["arcface"]
    inner = align_face(crop, landmarks, small).image[20:90, 20:90]
    assert np.abs(inner.astype(float) - 127.5).max() < 30
    assert inner.std() < 8


def test_beyond_the_crop_its_border_is_repeated(landmarks: np.ndarray) -> None:
    for shift in (-480, 480):
        image = align_face(GREY, landmarks + shift, RECIPES["ffhq"]).image
        assert (image.min(), image.max()) == (128, 128)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("landmarks", [np.full((478, 2), 300.0), np.full((478, 2), np.nan)])
def test_landmarks_of_no_face_are_an_error(name: str, landmarks: np.ndarray) -> None:
    with pytest.raises(FacewrightError, match="landmarks span") as caught:
        align_face(GREY, landmarks, RECIPES[name])
    assert caught.value.code == ErrorCode.NO_FACE


def test_arrays_of_other_shapes_are_named(landmarks: np.ndarray) -> None:
    with pytest.raises(FacewrightError, match=r"FACE_CROP is uint8 \[512, 512, 3\], not uint8"):
        align_face(GREY[:512, :512], landmarks, RECIPES["deca"])
    with pytest.raises(FacewrightError, match=r"landmarks \[68, 2\], not \[478, 2\]"):
        align_face(GREY, landmarks[:68], RECIPES["deca"])


class _Sender:
    def __init__(self, arrays: dict[str, Any]) -> None:
        self._arrays = arrays

    def tensor(self, name: str) -> Any:
        return self._arrays[name][None]

    def parameters(self) -> str:
        return ""

    def cancelled(self) -> bool:
        return False


def test_the_stage_cuts_what_its_pipeline_reads(landmarks: np.ndarray) -> None:
    """And hands it on, although the images that nobody takes are missing."""
    from facewright.adapter.in_process import stage_model
    from facewright.adapter.stage_request import finished

    read = (tensors.ALIGNED_IMAGES["arcface"], tensors.CROP_TO_ALIGNED["arcface"])
    row = Pipeline("aligned", (*AVATAR_TWIN.steps, ALIGN_FACE), AVATAR_TWIN.options, gives=read)
    crop_to_photo = np.array([[2, 0, 30], [0, 2, -40], [0, 0, 1]], np.float32)
    photo_landmarks = (landmarks * 2 + [30, -40]).astype(np.float32)
    np.testing.assert_allclose(landmarks_in_crop(photo_landmarks, crop_to_photo), landmarks, atol=1e-3)
    sent = {
        FACE_CROP.name: GREY,
        LANDMARKS.name: photo_landmarks,
        tensors.CROP_TO_PHOTO.name: crop_to_photo,
    }
    request = StageRequest(_Sender(sent), Place(row, Request.accepted(row, {}, Provenance("1"))))
    outputs = stage_model(ALIGN_FACE).compute(request)
    answer = finished(ALIGN_FACE, request, outputs)
    assert set(read) <= set(answer)
    assert set(outputs) == set(read)
    direct = align_face(GREY, landmarks_in_crop(photo_landmarks, crop_to_photo), RECIPES["arcface"])
    np.testing.assert_array_equal(outputs[read[1]], direct.crop_to_aligned)
    del outputs[read[1]]
    with pytest.raises(FacewrightError, match="align_face gave no CROP_TO_ARCFACE"):
        finished(ALIGN_FACE, request, outputs)


def test_every_recipe_has_its_tensors() -> None:
    assert {name: recipe.shape for name, recipe in RECIPES.items()} == tensors.ALIGNED_SHAPES
