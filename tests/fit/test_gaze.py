"""Gaze against irises projected from known eyes."""

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.fit.camera import Camera
from facewright.fit.gaze import LARGEST_SHIFT, Gaze, SeenIris, eye_rotation, seen_irises
from facewright.head.head_model import HeadModel
from tests.support.pose import rotation_from_angles
from tests.support.synthetic_head import EYES, save_synthetic_head

CAMERA = Camera(
    rotation_from_angles(15, -5, 10), np.array([0.01, 0.0, 0.7]), 1500.0, np.array([512.0, 512.0])
)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def gaze(head: HeadModel) -> Gaze:
    return Gaze(head)


def irises(
    head: HeadModel, gaze: Gaze, angles: NDArray[np.float64], openness: tuple[float, float] = (1.0, 1.0)
) -> tuple[SeenIris, SeenIris]:
    """The irises that CAMERA sees when the mean head's eyes are turned by ``angles`` [2, 2], radians."""
    joints = head.joints(head.vertices_mean)
    seen = []
    for eye, turned, opened in zip(gaze.eyes, angles, openness, strict=True):
        point = joints[eye.joint] + eye_rotation(*turned) @ eye.iris_offset
        seen.append(SeenIris(CAMERA.project(point[None])[0], 14.0, opened))
    return seen[0], seen[1]


@pytest.mark.parametrize("degrees", [(0, 0), (20, 5), (-25, -10), (5, 15)])
def test_a_known_gaze_is_read(head: HeadModel, gaze: Gaze, degrees: tuple[float, float]) -> None:
    angles = np.radians(np.tile(degrees, (2, 1)))
    found, shifts = gaze.read(head.joints(head.vertices_mean), CAMERA, irises(head, gaze, angles))
    np.testing.assert_allclose(np.degrees(found), [degrees, degrees], atol=0.1)
    np.testing.assert_allclose(shifts, 0, atol=5e-5)


def test_a_squint_moves_the_eyeballs_instead(head: HeadModel, gaze: Gaze) -> None:
    apart = np.radians([[6.0, 0.0], [-6.0, 0.0]])
    found, shifts = gaze.read(head.joints(head.vertices_mean), CAMERA, irises(head, gaze, apart))
    np.testing.assert_array_equal(found[0], found[1])
    assert 0.0005 < shifts[0] < LARGEST_SHIFT
    assert shifts[1] == -shifts[0]
    wild = np.radians([[35.0, 0.0], [-35.0, 0.0]])
    _, shifts = gaze.read(head.joints(head.vertices_mean), CAMERA, irises(head, gaze, wild))
    assert abs(shifts[0]) <= LARGEST_SHIFT


def test_the_open_eye_leads_and_two_closed_eyes_look_ahead(head: HeadModel, gaze: Gaze) -> None:
    angles = np.radians([[20.0, 0.0], [-30.0, 10.0]])
    joints = head.joints(head.vertices_mean)
    wink, _ = gaze.read(joints, CAMERA, irises(head, gaze, angles, (1.0, 0.0)))
    np.testing.assert_allclose(np.degrees(wink), [[20, 0], [20, 0]], atol=0.1)
    closed, shifts = gaze.read(joints, CAMERA, irises(head, gaze, angles, (0.0, 0.05)))
    np.testing.assert_array_equal(closed, 0)
    np.testing.assert_array_equal(shifts, 0)


def test_turn_moves_only_the_eyes_and_keeps_their_size(head: HeadModel, gaze: Gaze) -> None:
    turned = head.vertices_mean.copy()
    gaze.turn(turned, head.joints(head.vertices_mean), np.radians([[25.0, 0.0], [0.0, 20.0]]))
    moved = np.flatnonzero(np.linalg.norm(turned - head.vertices_mean, axis=1) > 1e-6)
    assert set(moved) <= set(gaze.eyes[0].vertices) | set(gaze.eyes[1].vertices)
    for eye, centre in zip(gaze.eyes, EYES, strict=True):
        before = np.linalg.norm(head.vertices_mean[eye.vertices] - centre, axis=1)
        after = np.linalg.norm(turned[eye.vertices] - centre, axis=1)
        np.testing.assert_allclose(after, before, atol=1e-5)
    front = gaze.eyes[0].vertices[np.argmax(head.vertices_mean[gaze.eyes[0].vertices, 2])]
    assert turned[front, 0] > head.vertices_mean[front, 0] + 0.003  # positive yaw: to the subject's left
    front = gaze.eyes[1].vertices[np.argmax(head.vertices_mean[gaze.eyes[1].vertices, 2])]
    assert turned[front, 1] < head.vertices_mean[front, 1] - 0.003  # positive pitch: down


def test_look_weights_name_the_right_shapes(gaze: Gaze) -> None:
    weights = gaze.look_weights(np.radians([[14.0, 0.0], [14.0, -14.0]]))
    assert weights["eyeLookOutLeft"] == pytest.approx(0.49, abs=0.05)  # the shapes turn by half a radian
    assert weights["eyeLookInRight"] == pytest.approx(0.49, abs=0.05)
    assert weights["eyeLookUpRight"] == pytest.approx(0.49, abs=0.05)
    assert weights["eyeLookInLeft"] == weights["eyeLookOutRight"] == weights["eyeLookUpLeft"] == 0
    assert all(0 <= weight <= 1 for weight in gaze.look_weights(np.full((2, 2), 9.0)).values())


def test_openness_of_drawn_lids() -> None:
    landmarks = np.zeros((478, 2))
    for (outer, inner), centre in (((263, 362), 100.0), ((33, 133), 0.0)):
        landmarks[outer], landmarks[inner] = (centre + 15, 0), (centre - 15, 0)
    pairs = (((386, 374), (385, 380), (387, 373)), ((159, 145), (158, 153), (160, 144)))
    for side, height in zip(pairs, (9.0, 1.0), strict=True):
        for upper, lower in side:
            landmarks[upper], landmarks[lower] = (0, -height / 2), (0, height / 2)
    for first in (468, 473):
        landmarks[first + 1 : first + 5] = landmarks[first] + [[5, 0], [0, 5], [-5, 0], [0, -5]]
    left, right = seen_irises(landmarks)
    assert left.openness == 1.0
    assert right.openness == 0.0
    assert left.radius == pytest.approx(5.0)
