"""The fit on the open head: a real photo, and made-up views of random people with a known answer."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facewright.fit.camera import Camera
from facewright.fit.fit_head import HeadFitter
from facewright.fit.fit_info import HeadFit
from facewright.head.head_model import HeadModel
from facewright.photo.find_face import FaceNetworks, find_face
from tests.fit.test_fit_head import CROP_CENTRE, TO_CROP, TO_PHOTO, photo_info
from tests.support.pose import rotation_from_angles

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="module")
def fitter(open_head: HeadModel) -> HeadFitter:
    return HeadFitter(open_head)


@pytest.fixture(scope="module")
def networks() -> FaceNetworks:
    return FaceNetworks.load()


def fit(photo: bytes, fitter: HeadFitter, networks: FaceNetworks) -> HeadFit:
    found = find_face(photo, networks)
    landmarks, score = networks.landmarks(found.landmark_input)
    return fitter.fit(
        landmarks, score, found.landmark_to_crop, found.crop_to_photo, found.info, found.person_mask
    )


@pytest.fixture(scope="module")
def astronaut(fitter: HeadFitter, networks: FaceNetworks) -> HeadFit:
    return fit(ASTRONAUT.read_bytes(), fitter, networks)


def test_the_astronaut_fits(astronaut: HeadFit, open_head: HeadModel) -> None:
    info = astronaut.info
    assert info.error_after.median < 0.8  # % of the pupil distance; 0.6 when this was written
    assert info.error_after.p95 < 3.0
    assert info.error_after.median < 0.6 * info.error_before.median
    assert abs(info.yaw) < 8
    assert abs(info.roll) < 8
    assert not info.left_eye.closed
    weights = dict(zip(open_head.expression_names, astronaut.expression, strict=True))
    assert weights["mouthSmileLeft"] > 0.2
    assert weights["mouthSmileRight"] > 0.2
    assert weights["eyeBlinkLeft"] < 0.2
    assert not any("poor fit" in warning for warning in info.warnings)


#: Between the eyes and the mouth of the astronaut, the height of her face, and her right eye; photo pixels.
FACE, FACE_HEIGHT, RIGHT_EYE = 224 + 123j, 109.0, 205 + 102j


def swirled(point: NDArray[np.complex128]) -> NDArray[np.complex128]:
    turned = 1.6 * np.clip(1 - np.abs(point - FACE) / (0.75 * FACE_HEIGHT), 0, 1) ** 2
    return FACE + (point - FACE) * np.exp(1j * turned)


def melted(point: NDArray[np.complex128]) -> NDArray[np.complex128]:
    aside, below = (point - FACE).real / FACE_HEIGHT, (point - FACE).imag / FACE_HEIGHT
    sunk = 0.13 * np.clip(0.5 + 2 * aside, 0, 1) * np.clip(1 - (below / 0.8) ** 2, 0, 1)
    return point - 1j * FACE_HEIGHT * sunk


def with_one_large_eye(point: NDArray[np.complex128]) -> NDArray[np.complex128]:
    aside = point - RIGHT_EYE
    return RIGHT_EYE + aside * (1 - 0.5 * np.clip(1 - np.abs(aside / (0.25 * FACE_HEIGHT)) ** 2, 0, 1))


def bulged(point: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return FACE + (point - FACE) * np.clip(np.abs(point - FACE) / (0.65 * FACE_HEIGHT), 0, 1)


def of_mirrored_halves(point: NDArray[np.complex128]) -> NDArray[np.complex128]:
    return FACE.real - np.abs((point - FACE).real) + 1j * point.imag


@pytest.mark.parametrize(
    ("from_where", "what"),
    [
        (swirled, "a form that no person's has"),
        (melted, "a form that no person's has"),
        (with_one_large_eye, "a form that no person's has"),
        (bulged, "a form that no person's has"),
        (of_mirrored_halves, "each other's mirror image"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_face_that_a_filter_distorted_is_warned_of(
    from_where: Callable[[NDArray[np.complex128]], NDArray[np.complex128]],
    what: str,
    fitter: HeadFitter,
    networks: FaceNetworks,
) -> None:
    pixels = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    rows, columns = np.indices(pixels.shape[:2])
    there = from_where(columns + 1j * rows)
    file = io.BytesIO()
    Image.fromarray(pixels[there.imag.round().astype(int), there.real.round().astype(int)]).save(file, "PNG")
    (warning,) = fit(file.getvalue(), fitter, networks).info.warnings
    assert what in warning


def test_the_astronauts_form_is_a_persons(astronaut: HeadFit) -> None:
    assert astronaut.info.warnings == []


def test_the_astronauts_head_has_a_human_size(astronaut: HeadFit, fitter: HeadFitter) -> None:
    joints = fitter.head.joints(astronaut.neutral_vertices)
    left, right = (joints[eye.joint] for eye in fitter.gaze.eyes)
    assert 0.054 < np.linalg.norm(left - right) < 0.070


def test_the_neutral_closes_the_smiling_mouth(astronaut: HeadFit, open_head: HeadModel) -> None:
    upper, lower = 13, 14  # inner lips, middle
    fitted = open_head.landmarks(astronaut.fitted_vertices)
    neutral = open_head.landmarks(astronaut.neutral_vertices)
    assert fitted[upper, 1] - fitted[lower, 1] > 0.004
    mean = open_head.landmarks(open_head.vertices_mean)  # its lips touch, 2 mm behind these two landmarks
    assert neutral[upper, 1] - neutral[lower, 1] < mean[upper, 1] - mean[lower, 1] + 0.0005


def test_the_neutral_has_no_folded_triangles(astronaut: HeadFit, open_head: HeadModel) -> None:
    def normals(vertices: NDArray[np.float32]) -> NDArray[np.float64]:
        corners = vertices[open_head.triangles[open_head.triangle_part == 0]].astype(np.float64)
        crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return np.asarray(crossed / np.maximum(np.linalg.norm(crossed, axis=1, keepdims=True), 1e-20))

    turned = np.sum(normals(astronaut.neutral_vertices) * normals(open_head.vertices_mean), axis=1)
    # a few of a fifth of a millimetre where the lips meet before the corners: 0.0021
    assert np.mean(turned < 0) < 0.004


@pytest.mark.parametrize("yaw", [0.0, 20.0, -30.0])
def test_random_people_are_found(open_head: HeadModel, fitter: HeadFitter, yaw: float) -> None:
    rng = np.random.default_rng(int(abs(yaw)))
    identity = 0.7 * rng.standard_normal(160)
    expression = np.zeros(52)
    names = list(open_head.expression_names)
    for name, value in (("jawOpen", 0.5), ("mouthSmileLeft", 0.4), ("mouthSmileRight", 0.4)):
        expression[names.index(name)] = value
    vertices = open_head.shape(identity, expression)
    camera = Camera(rotation_from_angles(yaw, 5, 4), np.array([0.0, 0.0, 0.8]), 1650.0, CROP_CENTRE)
    points = open_head.landmarks(vertices)
    scale = camera.pixels_per_metre
    pixels = camera.project(points) + 0.0004 * scale * rng.standard_normal((478, 2))
    back = np.linalg.inv(TO_CROP)
    network = np.zeros((478, 3))
    network[:, :2] = pixels @ back[:2, :2].T + back[:2, 2]
    network[:, 2] = (camera.to_camera(points)[:, 2] - 0.8) * scale * np.sqrt(np.linalg.det(back[:2, :2]))
    found = fitter.fit(network, 0.99, TO_CROP, TO_PHOTO, photo_info())
    # The outline slides on the silhouette, where a network sees it but these made-up landmarks do not lie.
    assert found.info.yaw == pytest.approx(yaw, abs=4.0)
    assert found.info.pitch == pytest.approx(5, abs=4.0)
    assert found.expression[names.index("jawOpen")] == pytest.approx(0.5, abs=0.2)
    assert found.expression[names.index("mouthSmileLeft")] > 0.07
    assert found.info.error_after.median < 1.0
