"""The perspective camera against independent formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from facewright.fit.camera import (
    FRONTAL,
    Camera,
    focal_prior,
    nearest_rotation,
    pose_angles,
    rotation_from_vector,
    similarity,
)
from tests.support.pose import rotation_from_angles

degrees = st.floats(-80, 80)


@given(degrees, degrees, st.floats(-179, 179))
def test_pose_angles_invert_rotation_from_angles(yaw: float, pitch: float, roll: float) -> None:
    assert pose_angles(rotation_from_angles(yaw, pitch, roll)) == pytest.approx((yaw, pitch, roll), abs=1e-9)


def test_signs_of_the_pose_angles() -> None:
    nose = np.array([0.0, 0.0, 1.0])
    looks_left = FRONTAL @ rotation_from_angles(30, 0, 0) @ nose  # back in head axes as seen frontally
    looks_down = FRONTAL @ rotation_from_angles(0, 30, 0) @ nose
    assert looks_left[0] > 0.4  # +X: the subject's left
    assert looks_down[1] < -0.4


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_rotation_from_vector_agrees_with_scipy(vector: list[float]) -> None:
    expected = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(rotation_from_vector(np.array(vector)), expected, atol=1e-9)


def test_nearest_rotation_removes_scale_and_noise() -> None:
    rotation = rotation_from_angles(20, -10, 5)
    noisy = 3.0 * rotation + 0.01 * np.random.default_rng(0).standard_normal((3, 3))
    np.testing.assert_allclose(nearest_rotation(noisy), rotation, atol=0.01)


def test_projection_of_a_known_point() -> None:
    camera = Camera(FRONTAL, np.array([0.0, 0.0, 1.0]), 1000.0, np.array([512.0, 400.0]))
    # 0.1 m to the subject's left is on the right of the picture, up is towards smaller y, out is nearer.
    pixel = camera.project(np.array([[0.1, 0.05, 0.5]]))[0]
    np.testing.assert_allclose(pixel, [512 + 1000 * 0.1 / 0.5, 400 - 1000 * 0.05 / 0.5])
    extrinsics, intrinsics = camera.extrinsics(), camera.intrinsics()
    seen = intrinsics @ (extrinsics[:, :3] @ [0.1, 0.05, 0.5] + extrinsics[:, 3])
    np.testing.assert_allclose(seen[:2] / seen[2], pixel, rtol=1e-6)


def test_rays_pass_through_what_they_see() -> None:
    camera = Camera(
        rotation_from_angles(25, 10, -5), np.array([0.1, 0.0, 0.8]), 900.0, np.array([300.0, 310.0])
    )
    points = np.random.default_rng(1).normal(0, 0.05, (20, 3))
    rays = camera.rays(camera.project(points))
    towards = points - camera.centre()
    np.testing.assert_allclose(rays, towards / np.linalg.norm(towards, axis=1, keepdims=True), atol=1e-12)


def test_similarity_recovers_a_transform_and_ignores_outliers_of_weight_zero() -> None:
    rng = np.random.default_rng(2)
    source = rng.standard_normal((30, 3))
    rotation = Rotation.random(rng=rng).as_matrix()
    target = 2.5 * source @ rotation.T + [1, 2, 3]
    target[0] += 100
    weights = np.ones(30)
    weights[0] = 0
    scale, found, offset = similarity(source, target, weights)
    assert scale == pytest.approx(2.5)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(offset, [1, 2, 3], atol=1e-12)


def test_similarity_of_a_mirrored_cloud_is_no_mirror() -> None:
    source = np.random.default_rng(3).standard_normal((30, 3))
    _, rotation, _ = similarity(source, source * [-1, 1, 1], np.ones(30))
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_focal_prior_of_tight_and_wide_photos() -> None:
    assert focal_prior((1000, 800), 100.0) == pytest.approx(1200.0)
    assert focal_prior((1000, 800), 900.0) == pytest.approx(2880.0)
