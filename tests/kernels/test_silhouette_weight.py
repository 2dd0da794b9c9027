"""Silhouette weights against a brute-force distance."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from facewright_kernels import silhouette_weight
from facewright_kernels.silhouette_weight import silhouette_weight_reference


def _map(seed: int, shape=(40, 53)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    depth = (1 + 0.001 * x).astype(np.float32)
    depth[(x - 30) ** 2 + (y - 18) ** 2 < 50] -= 0.2  # something in front
    depth[(x - 8) ** 2 + (y - 30) ** 2 > 900] = np.inf
    depth[np.random.default_rng(seed).integers(0, shape[0], 2), 3] = np.nan
    return depth


@pytest.mark.parametrize("radius", [1, 5, 20])
def test_matches_reference(device, radius):
    maps = np.stack([_map(0), _map(1)])
    got = device.fetch(silhouette_weight(device.send(maps), jump=0.05, radius=radius))
    for k in range(2):
        expected = silhouette_weight_reference(maps[k].astype(np.float64), 0.05, radius)
        np.testing.assert_allclose(got[k], expected, atol=1e-6)


@pytest.mark.parametrize("radius", [1, 7, 64])
@pytest.mark.parametrize("segment", [1, 3, 8])
def test_rows_cut_into_the_pieces_of_gpu_threads_give_the_same_weights(monkeypatch, radius, segment):
    maps = np.stack([_map(0), _map(1)])
    rows = silhouette_weight(maps, jump=0.05, radius=radius)
    assert np.ptp(rows) > 0.1
    monkeypatch.setattr(
        sys.modules["facewright_kernels.silhouette_weight"], "_segment", lambda _depth_map: segment
    )
    np.testing.assert_array_equal(silhouette_weight(maps, jump=0.05, radius=radius), rows)


def test_without_silhouettes_everything_counts(device):
    got = device.fetch(silhouette_weight(device.send(np.ones((1, 9, 9), np.float32)), radius=3))
    assert (got == 1).all()


def test_boundary_says_what_is_wrong():
    with pytest.raises(ValueError, match="radius must be 1 to 64, got 0"):
        silhouette_weight(np.ones((1, 4, 4), np.float32), radius=0)
    with pytest.raises(ValueError, match="jump must be"):
        silhouette_weight(np.ones((1, 4, 4), np.float32), jump=float("nan"))
