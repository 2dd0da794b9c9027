"""Landmark errors on a sphere-shaped face, where every distance is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.likeness.landmark_error import LandmarkSurface, landmark_errors, project

_INTRINSICS = np.array([[800, 0, 256], [0, 800, 256], [0, 0, 1]], np.float32)
_CONTOUR = np.arange(24)


def _pose(yaw: float) -> np.ndarray:
    a = np.radians(yaw)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    rotation = np.diag([1.0, -1.0, -1.0]) @ turn
    return np.concatenate([rotation, [[0], [0], [1.0]]], axis=1).astype(np.float32)


def _surface() -> LandmarkSurface:
    """A ball of radius 8 cm around the origin; its outline's landmarks lie 10° in front of the rim."""
    rng = np.random.default_rng(5)
    direction = rng.normal(size=(478, 3))
    direction[:, 2] = np.abs(direction[:, 2]) + 1.0
    round_the_rim = 2 * np.pi * np.arange(24) / 24
    rim = np.stack(
        [np.cos(round_the_rim), np.sin(round_the_rim), np.full(24, np.tan(np.radians(10)))], axis=1
    )
    direction[_CONTOUR] = rim
    direction[468], direction[473] = (-0.35, 0.2, 1.0), (0.35, 0.2, 1.0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    steps = np.radians(np.arange(-60, 70, 10))
    outward = rim * (1, 1, 0)
    candidates = np.cos(steps)[:, None, None] * outward + np.sin(steps)[:, None, None] * np.array([0, 0, 1.0])
    return LandmarkSurface(
        0.08 * direction, direction, _CONTOUR, 0.08 * np.ascontiguousarray(candidates.transpose(1, 0, 2))
    )


def test_a_perfect_fit_has_no_error() -> None:
    surface = _surface()
    seen = project(surface.points, _INTRINSICS, _pose(0))
    assert landmark_errors(surface, seen, _INTRINSICS, _pose(0)).max() < 1e-6


@pytest.mark.parametrize("yaw", [0.0, 30.0])
def test_one_percent_of_the_pupil_distance_is_one_percent_at_any_yaw(yaw: float) -> None:
    surface = _surface()
    pose = _pose(yaw)
    eyes = surface.points[[468, 473]].mean(axis=0)
    depth = float(pose[2, :3] @ eyes + pose[2, 3])
    one_percent = 0.01 * surface.pupil_distance * 800 / depth
    inside = np.setdiff1d(np.arange(478), _CONTOUR)
    seen = project(surface.points, _INTRINSICS, pose)
    errors = landmark_errors(surface, seen + np.array([one_percent, 0]), _INTRINSICS, pose)
    np.testing.assert_allclose(errors[inside], 1.0, rtol=1e-5)


def test_the_outline_slides_along_but_not_across() -> None:
    surface = _surface()
    seen = project(surface.points, _INTRINSICS, _pose(0))
    between = (seen[_CONTOUR] + np.roll(seen[_CONTOUR], 1, axis=0)) / 2
    along = seen.copy()
    along[_CONTOUR] = between
    assert landmark_errors(surface, along, _INTRINSICS, _pose(0))[_CONTOUR].max() < 1e-6
    across = seen.copy()
    across[_CONTOUR] = 256 + 1.1 * (seen[_CONTOUR] - 256)
    assert landmark_errors(surface, across, _INTRINSICS, _pose(0))[_CONTOUR].min() > 5


def test_a_turned_outline_is_the_silhouette() -> None:
    surface = _surface()
    pose = _pose(35)
    pixels = project(surface.points, _INTRINSICS, pose)
    # The ball's silhouette: where a network would draw the far side of this face.
    radius = 800 * 0.08 / np.sqrt(1 - 0.08**2)
    far = int(np.argmin(surface.normals[_CONTOUR] @ pose[2, :3] * -1))
    seen = pixels.copy()
    outward = (pixels[far] - 256) / np.linalg.norm(pixels[far] - 256)
    seen[far] = 256 + radius * outward
    hidden_error = np.linalg.norm(pixels[far] - seen[far])
    error = landmark_errors(surface, seen, _INTRINSICS, pose)[far]
    assert hidden_error > 5  # the embedded point is behind the rim
    assert error < 1.5


def test_a_missing_landmark_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(478, 2\)"):
        landmark_errors(_surface(), np.zeros((468, 2)), _INTRINSICS, _pose(0))
