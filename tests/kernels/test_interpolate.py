"""Interpolation of vertex attributes."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import Raster, interpolate, interpolate_vjp, rasterize
from facewright_kernels.interpolate import interpolate_reference, interpolate_vjp_reference


def _scene(batch: int = 2, seed: int = 0):
    rng = np.random.default_rng(seed)
    points = rng.uniform([-1, -1, 1], [1, 1, 3], (batch, 30, 3))
    z = points[..., 2]
    clip = np.stack([points[..., 0], points[..., 1], z - 1, z], -1).astype(np.float32)
    return clip, rng.integers(0, 30, (20, 3)).astype(np.int32), rng


def _attributed_scene(device, channels: int, shared: bool):
    """A raster of 40 × 31 pixels, and attributes of 50 vertices with triangles of their own, as in UV."""
    clip, triangles, rng = _scene()
    raster = rasterize(device.send(clip), device.send(triangles), 40, 31)
    attribute_triangles = rng.integers(0, 50, triangles.shape).astype(np.int32)
    attributes = rng.normal(size=(1 if shared else 2, 50, channels)).astype(np.float32)
    return raster, attributes, attribute_triangles, rng


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_matches_reference(device, channels, shared):
    raster, attributes, attribute_triangles, _ = _attributed_scene(device, channels, shared)
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


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_vjp_matches_reference(device, channels, shared):
    raster, attributes, attribute_triangles, rng = _attributed_scene(device, channels, shared)
    grad = rng.normal(size=(2, 40, 31, channels)).astype(np.float32)
    gradients = interpolate_vjp(
        device.send(attributes), device.send(attribute_triangles), raster, device.send(grad)
    )
    ids, weights = device.fetch(raster.triangle_id), device.fetch(raster.barycentric)
    at_vertices = np.zeros(attributes.shape)
    for k in range(2):
        row = 0 if shared else k
        to_attributes, to_barycentric = interpolate_vjp_reference(
            attributes[row].astype(np.float64),
            attribute_triangles,
            ids[k],
            weights[k].astype(np.float64),
            grad[k].astype(np.float64),
        )
        at_vertices[row] += to_attributes
        np.testing.assert_allclose(device.fetch(gradients.barycentric)[k], to_barycentric, atol=1e-5)
    np.testing.assert_allclose(device.fetch(gradients.attributes), at_vertices, atol=2e-5, rtol=1e-5)


def test_vjp_reference_against_finite_differences():
    """The product is linear in attributes and in barycentrics: central differences are exact to rounding."""
    clip, triangles, rng = _scene(1)
    raster = rasterize(clip, triangles, 20, 17)
    ids, weights = raster.triangle_id[0], raster.barycentric[0].astype(np.float64)
    attributes, grad = rng.normal(size=(30, 3)), rng.normal(size=(20, 17, 3))
    to_attributes, to_barycentric = interpolate_vjp_reference(attributes, triangles, ids, weights, grad)
    move_attributes = rng.normal(size=attributes.shape)
    move_weights = rng.normal(size=weights.shape) * (ids >= 0)[..., None]

    def loss(step: float, *, attribute: bool) -> float:
        return float(
            (
                grad
                * interpolate_reference(
                    attributes + step * move_attributes * attribute,
                    triangles,
                    ids,
                    weights + step * move_weights * (not attribute),
                )
            ).sum()
        )

    for attribute, product in (
        (True, to_attributes * move_attributes),
        (False, to_barycentric * move_weights),
    ):
        slope = (loss(1e-3, attribute=attribute) - loss(-1e-3, attribute=attribute)) / 2e-3
        assert slope == pytest.approx(product.sum(), rel=1e-9)


def test_vjp_of_each_image_does_not_depend_on_its_batch(device):
    clip, triangles, rng = _scene(3)
    attributes = rng.normal(size=(3, 30, 3)).astype(np.float32)
    grad = (rng.normal(size=(3, 24, 50, 3)) * np.array([1e-6, 1, 1e6])[:, None, None, None]).astype(
        np.float32
    )
    sent = device.send(triangles)

    def gradients(images: slice):
        raster = rasterize(device.send(clip[images]), sent, 24, 50)
        return interpolate_vjp(device.send(attributes[images]), sent, raster, device.send(grad[images]))

    batch = gradients(slice(None))
    for k in range(3):
        alone = gradients(slice(k, k + 1))
        np.testing.assert_array_equal(device.fetch(batch.attributes)[k], device.fetch(alone.attributes)[0])
        np.testing.assert_array_equal(device.fetch(batch.barycentric)[k], device.fetch(alone.barycentric)[0])


def test_vjp_ignores_what_a_gradient_holds_at_empty_pixels(device):
    clip, triangles, _ = _scene(1)
    raster = rasterize(device.send(clip), device.send(triangles), 16, 16)
    seen = device.fetch(raster.triangle_id) >= 0
    attributes = device.send(np.ones((1, 30, 2), np.float32))
    grads = [
        np.where(seen[..., None], 1, outside).repeat(2, -1).astype(np.float32) for outside in (0, np.nan)
    ]
    clean, dirty = (
        interpolate_vjp(attributes, device.send(triangles), raster, device.send(grad)) for grad in grads
    )
    assert device.fetch(clean.attributes).any()
    np.testing.assert_array_equal(device.fetch(clean.attributes), device.fetch(dirty.attributes))
    np.testing.assert_array_equal(device.fetch(clean.barycentric), device.fetch(dirty.barycentric))


@pytest.mark.parametrize("batch", [1, 3])
def test_vjp_of_images_that_share_a_raster_is_that_of_each_with_its_own(device, batch):
    clip, triangles, rng = _scene(1)
    attribute_triangles = device.send(rng.integers(0, 30, triangles.shape).astype(np.int32))
    triangles = device.send(triangles)
    shared = rasterize(device.send(clip), triangles, 40, 31)
    repeated = rasterize(device.send(clip.repeat(batch, 0)), triangles, 40, 31)
    attributes = device.send(rng.normal(size=(batch, 30, 5)).astype(np.float32))
    grad = device.send(rng.normal(size=(batch, 40, 31, 5)).astype(np.float32))
    got, expected = (
        interpolate_vjp(attributes, attribute_triangles, raster, grad) for raster in (shared, repeated)
    )
    for name in ("attributes", "barycentric"):
        one, other = device.fetch(getattr(got, name)), device.fetch(getattr(expected, name))
        assert np.abs(other).max() > 0.1
        np.testing.assert_array_equal(one, other)


def test_vjp_of_an_empty_mesh_and_of_nothing_is_zero(device):
    clip, _, _ = _scene(1)
    empty = device.send(np.zeros((0, 3), np.int32))
    raster = rasterize(device.send(clip), empty, 5, 6)
    grad = device.send(np.ones((1, 5, 6, 3), np.float32))
    gradients = interpolate_vjp(device.send(np.ones((1, 30, 3), np.float32)), empty, raster, grad)
    assert not device.fetch(gradients.attributes).any()
    assert not device.fetch(gradients.barycentric).any()
    nothing = rasterize(device.send(clip[:0]), empty, 5, 6)
    gradients = interpolate_vjp(device.send(np.ones((0, 30, 3), np.float32)), empty, nothing, grad[:0])
    assert device.fetch(gradients.attributes).shape == (0, 30, 3)


def test_vjp_boundary_says_what_is_wrong():
    clip, triangles, _ = _scene()
    raster = rasterize(clip, triangles, 8, 8)
    attributes = np.zeros((1, 30, 2), np.float32)
    with pytest.raises(
        ValueError, match=r"interpolate_vjp: grad must be float32 \[2, H, W, C\].*\[2, 8, 8, 3\]"
    ):
        interpolate_vjp(attributes, triangles, raster, np.zeros((2, 8, 8, 3), np.float32))
    with pytest.raises(ValueError, match="interpolate_vjp: triangles must hold indices 0 to 4"):
        interpolate_vjp(attributes[:, :5], triangles, raster, np.zeros((2, 8, 8, 2), np.float32))
