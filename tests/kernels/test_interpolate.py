"""Interpolation of vertex attributes."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import Raster, interpolate, rasterize
from facewright_kernels.interpolate import interpolate_reference


def _scene(batch: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    points = rng.uniform([-1, -1, 1], [1, 1, 3], (batch, 30, 3))
    z = points[..., 2]
    clip = np.stack([points[..., 0], points[..., 1], z - 1, z], -1).astype(np.float32)
    return clip, rng.integers(0, 30, (20, 3)).astype(np.int32), rng


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_matches_reference(device, channels, shared):
    clip, triangles, rng = _scene()
    raster = rasterize(device.send(clip), device.send(triangles), 40, 31)
    # A list of its own, as UV triangles are.
    attribute_triangles = rng.integers(0, 50, triangles.shape).astype(np.int32)
    attributes = rng.normal(size=(1 if shared else 2, 50, channels)).astype(np.float32)
    got = device.fetch(interpolate(device.send(attributes), device.send(attribute_triangles), raster))
    ids, weights = device.fetch(raster.triangle_id), device.fetch(raster.barycentric)
    assert (ids >= 0).any()
    assert (ids < 0).any()
    for k in range(2):
        expected = interpolate_reference(
            attributes[0 if shared else k].astype(np.float64),
            attribute_triangles,
            ids[k],
            weights[k].astype(np.float64),
        )
        np.testing.assert_allclose(got[k], expected, atol=2e-6)
    assert (got[ids < 0] == 0).all()


def test_interpolated_position_projects_to_its_pixel(device):
    """Perspective correctness end to end: camera points interpolated at a pixel project to that pixel's
    centre.
    """
    clip, triangles, _ = _scene(1)
    raster = rasterize(device.send(clip), device.send(triangles), 64, 48)
    at = device.fetch(interpolate(device.send(clip), device.send(triangles), raster))[0]
    seen = device.fetch(raster.triangle_id)[0] >= 0
    row, column = np.nonzero(seen)
    x, y = (at[seen][:, 0] / at[seen][:, 3] + 1) * 24, (at[seen][:, 1] / at[seen][:, 3] + 1) * 32
    # Centres that snapping put into a triangle they lie beside are moved to its edge, at most a few 1/256
    # pixel.
    np.testing.assert_allclose(x, column + 0.5, atol=0.02)
    np.testing.assert_allclose(y, row + 0.5, atol=0.02)


def test_triangle_numbers_outside_the_list_give_zero(device):
    raster = Raster(
        device.send(np.array([[[5, -1, 0]]], np.int32)),
        device.send(np.full((1, 1, 3, 2), 0.25, np.float32)),
        device.send(np.zeros((1, 1, 3), np.float32)),
    )
    ones = device.send(np.ones((1, 3, 2), np.float32))
    got = device.fetch(interpolate(ones, device.send(np.array([[0, 1, 2]], np.int32)), raster))
    np.testing.assert_array_equal(got[0, 0, :, 0], [0, 0, 1])


def test_boundary_says_what_is_wrong():
    clip, triangles, _ = _scene()
    raster = rasterize(clip, triangles, 8, 8)
    with pytest.raises(ValueError, match="attributes must have batch 1 or 2 like the raster, got 3"):
        interpolate(np.zeros((3, 30, 2), np.float32), triangles, raster)
    with pytest.raises(ValueError, match="triangles must hold indices 0 to 4"):
        interpolate(np.zeros((1, 5, 2), np.float32), triangles, raster)
