"""Contour landmarks on the open head: which slide, where to, and what still counts of them."""

from __future__ import annotations

import numpy as np
import pytest

from facewright.fit.camera import Camera
from facewright.fit.contour import ViewedLandmarks, view_landmarks
from facewright.fit.corrective_field import CorrectivePrior
from facewright.fit.landmark_basis import LandmarkBasis, build_landmark_basis
from facewright.head.head_model import HeadModel
from tests.support.pose import rotation_from_angles


@pytest.fixture(scope="module")
def basis(open_head: HeadModel) -> LandmarkBasis:
    return build_landmark_basis(open_head, CorrectivePrior(modes=10))


def _camera(yaw: float) -> Camera:
    return Camera(
        rotation_from_angles(yaw, 0, 0), np.array([0.0, 0.0, 0.8]), 2400.0, np.array([512.0, 512.0])
    )


def _viewed(basis: LandmarkBasis, yaw: float) -> ViewedLandmarks:
    return view_landmarks(basis, basis.landmarks.mean, basis.candidates.mean, _camera(yaw))


def _weight(viewed: ViewedLandmarks) -> np.ndarray:
    """Mean weight of each landmark over the image's two directions, [N]."""
    return np.asarray(np.sum(viewed.whitening**2, axis=(1, 2)) / 2)


@pytest.mark.parametrize("yaw", [30.0, -30.0])
def test_the_far_side_slides_and_the_near_side_stays(basis: LandmarkBasis, yaw: float) -> None:
    """A subject who looks to their left (yaw > 0) hides their left cheek, which lies at x > 0."""
    viewed = _viewed(basis, yaw)
    across = np.sign(yaw) * basis.landmarks.mean[basis.contour, 0]
    slid = viewed.candidate >= 0
    assert slid.sum() >= 8
    assert across[slid].min() > -0.01
    assert not slid[across < -0.03].any()


def test_the_mirrored_view_slides_to_the_mirrored_points(basis: LandmarkBasis) -> None:
    left, right = _viewed(basis, 30.0), _viewed(basis, -30.0)
    points = basis.candidates.mean
    left_points = points[left.candidate[left.candidate >= 0]]
    right_points = points[right.candidate[right.candidate >= 0]][::-1]  # the oval runs from left to right
    np.testing.assert_allclose(left_points * [-1, 1, 1], right_points, atol=0.002)


def test_slid_points_are_their_own_and_further_out_in_the_image(basis: LandmarkBasis) -> None:
    """Further out than where they are embedded, or they would not be on the far side's outline."""
    camera, viewed = _camera(30.0), _viewed(basis, 30.0)
    slid = np.flatnonzero(viewed.candidate >= 0)
    per_landmark = len(basis.candidates.mean) // len(basis.contour)
    np.testing.assert_array_equal(viewed.candidate[slid] // per_landmark, slid)
    embedded = camera.project(basis.landmarks.mean[basis.contour[slid]])
    moved = camera.project(basis.candidates.mean[viewed.candidate[slid]]) - embedded
    gained = np.sum(moved * viewed.outward[slid], axis=1) / camera.pixels_per_metre
    assert gained.min() > -0.002  # candidates are vertices, embedded points lie between them
    assert gained.max() > 0.01


def test_errors_count_across_the_outline(basis: LandmarkBasis) -> None:
    viewed = _viewed(basis, 20.0)
    slid = np.flatnonzero(viewed.candidate >= 0)
    outward = viewed.outward[slid]
    along = np.stack([-outward[:, 1], outward[:, 0]], axis=1)
    whitening = viewed.whitening[basis.contour[slid]]
    cost_across = np.sum((whitening @ outward[:, :, None]) ** 2, axis=(1, 2))
    cost_along = np.sum((whitening @ along[:, :, None]) ** 2, axis=(1, 2))
    np.testing.assert_allclose(cost_along, 0.1 * cost_across, rtol=1e-6)
    residual = np.zeros((len(basis.landmarks.mean), 2))
    residual[basis.contour[slid]] = 3.0 * outward + 40.0 * along
    np.testing.assert_allclose(viewed.distances(residual, basis.contour)[basis.contour[slid]], 3.0)


def test_hidden_skin_and_profiles_weigh_less(basis: LandmarkBasis) -> None:
    frontal, turned, profile = (_weight(_viewed(basis, yaw)) for yaw in (0.0, 30.0, 60.0))
    inner = np.setdiff1d(np.arange(len(frontal)), basis.contour)
    camera = _camera(30.0)
    towards = camera.centre() - basis.landmarks.mean[inner]
    facing = np.sum(towards * basis.landmarks.normal[inner], axis=1) / np.linalg.norm(towards, axis=1)
    assert turned[inner][facing < -0.2].max() < 0.05
    assert turned[inner][facing > 0.35].min() == pytest.approx(1.0)
    assert profile.max() < 0.2 < frontal.max()
