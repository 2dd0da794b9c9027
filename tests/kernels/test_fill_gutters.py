"""Gutter filling against a brute-force nearest neighbour."""

from __future__ import annotations

import numpy as np
import pytest
from facewright_kernels import fill_gutters, make_gutter_map
from facewright_kernels.fill_gutters import fill_gutters_reference


def _charts() -> np.ndarray:
    y, x = np.mgrid[:31, :40]
    return ((x - 9) ** 2 + (y - 12) ** 2 < 40) | ((x > 25) & (x < 33) & (y > 18))


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_matches_reference(device, dtype):
    """By distance, since of two nearest texels either will do: the texture holds each texel's own
    position.
    """
    inside = _charts()
    position = np.stack(np.mgrid[:31, :40], -1).astype(dtype)
    texture = np.stack([position, position[::-1, ::-1]])
    got = device.fetch(fill_gutters(device.send(texture), device.send(make_gutter_map(inside))))
    assert got.dtype == dtype
    expected = fill_gutters_reference(position, inside)
    here = np.stack(np.mgrid[:31, :40], -1)
    reached = np.linalg.norm(got[0].astype(float) - here, axis=-1)
    np.testing.assert_allclose(reached, np.linalg.norm(expected.astype(float) - here, axis=-1))
    np.testing.assert_array_equal(got[:, inside], texture[:, inside])
    assert inside[got[0, ..., 0].astype(int), got[0, ..., 1].astype(int)].all()


def test_boundary_says_what_is_wrong():
    with pytest.raises(ValueError, match="no texel is inside"):
        make_gutter_map(np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="gutter_map must hold indices 0 to 15, holds 16"):
        fill_gutters(np.zeros((1, 4, 4, 3), np.float32), np.full((4, 4), 16, np.int32))
