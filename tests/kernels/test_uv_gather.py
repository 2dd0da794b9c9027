"""UV maps at the vertices, and the gradient back to the map."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facewright_kernels import make_texel_readers, texture_sample, uv_gather, uv_gather_vjp
from facewright_kernels.uv_gather import uv_gather_reference, uv_gather_vjp_reference


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("size", "channels"), [(16, 6), (9, 3), (1, 1)])
def test_matches_reference(device, batch, size, channels):
    rng = np.random.default_rng(0)
    uv_map = rng.normal(size=(batch, size, size, channels)).astype(np.float32)
    uv = rng.uniform(-0.2, 1.2, (50, 2)).astype(np.float32)
    got = device.fetch(uv_gather(device.send(uv_map), device.send(uv)))
    assert got.shape == (batch, 50, channels)
    for k in range(batch):
        expected = uv_gather_reference(uv_map[k].astype(np.float64), uv.astype(np.float64))
        np.testing.assert_allclose(got[k], expected, atol=1e-5)


def test_it_is_the_texture_lookup_of_every_other_kernel(device):
    rng = np.random.default_rng(1)
    uv_map = device.send(rng.normal(size=(2, 12, 12, 3)).astype(np.float32))
    uv = rng.uniform(-0.5, 1.5, (40, 2)).astype(np.float32)
    looked_up = texture_sample(uv_map, device.send(np.repeat(uv[None], 2, 0)))
    got = uv_gather(uv_map, device.send(uv))
    np.testing.assert_allclose(device.fetch(got), device.fetch(looked_up), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("prepared", [False, True])
def test_gradient_matches_reference(device, batch, prepared):
    rng = np.random.default_rng(2)
    uv_map = device.send(np.zeros((batch, 10, 10, 4), np.float32))
    uv = rng.uniform(-0.2, 1.2, (300, 2)).astype(np.float32)
    grad = rng.normal(size=(batch, 300, 4)).astype(np.float32)
    readers = make_texel_readers(device.send(uv), 10) if prepared else None
    got = device.fetch(uv_gather_vjp(uv_map, device.send(uv), device.send(grad), readers))
    for k in range(batch):
        expected = uv_gather_vjp_reference(10, uv.astype(np.float64), grad[k].astype(np.float64))
        np.testing.assert_allclose(got[k], expected, atol=3e-5)


def test_reference_gradient_is_the_transpose():
    """⟨J m, g⟩ = ⟨m, Jᵀ g⟩: reading is linear in the map, so this is its finite difference."""
    rng = np.random.default_rng(3)
    uv, uv_map, grad = rng.uniform(-0.1, 1.1, (31, 2)), rng.normal(size=(7, 7, 2)), rng.normal(size=(31, 2))
    forward = (uv_gather_reference(uv_map, uv) * grad).sum()
    assert (uv_map * uv_gather_vjp_reference(7, uv, grad)).sum() == pytest.approx(forward, rel=1e-12)


def test_not_finite_uv_gives_nan_and_reads_nothing(device):
    uv_map = device.send(np.ones((1, 4, 4, 2), np.float32))
    uv = device.send(np.float32([[np.nan, 0.5], [0.5, np.inf], [0.125, 0.125], [1e7, 0]]))
    got = device.fetch(uv_gather(uv_map, uv))[0]
    assert np.isnan(got[[0, 1, 3]]).all()
    assert (got[2] == 1).all()
    grad = device.fetch(uv_gather_vjp(uv_map, uv, device.send(np.ones((1, 4, 2), np.float32))))
    assert grad.sum() == 2
    assert (grad[0, 0, 0] == 1).all()


def test_nan_gradient_stays_at_its_texels(device):
    uv_map = device.send(np.ones((2, 4, 4, 1), np.float32))
    uv = device.send(np.float32([[0.125, 0.125], [0.75, 0.75]]))
    grad = np.ones((2, 2, 1), np.float32)
    grad[1, 1] = np.nan
    got = device.fetch(uv_gather_vjp(uv_map, uv, device.send(grad)))[..., 0]
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1, 2:, 2:]).all()
    assert np.isfinite(got[1, :2]).all()


def test_no_vertices_read_nothing(device):
    uv_map = device.send(np.ones((2, 4, 4, 3), np.float32))
    uv = device.send(np.zeros((0, 2), np.float32))
    assert uv_gather(uv_map, uv).shape == (2, 0, 3)
    grad = uv_gather_vjp(uv_map, uv, device.send(np.zeros((2, 0, 3), np.float32)))
    assert (device.fetch(grad) == 0).all()


def test_boundary_says_what_is_wrong():
    uv_map, uv = np.zeros((1, 4, 4, 3), np.float32), np.zeros((5, 2), np.float32)
    with pytest.raises(
        ValueError, match=r"uv_map must be float32 \[B, S, S, C\], got float32 \[1, 4, 5, 3\]"
    ):
        uv_gather(np.zeros((1, 4, 5, 3), np.float32), uv)
    with pytest.raises(ValueError, match="uv_map must have at least one texel"):
        uv_gather(uv_map[:, :0, :0], uv)
    with pytest.raises(ValueError, match=r"grad must be float32 \[B, V, C\].*got float32 \[1, 5, 2\]"):
        uv_gather_vjp(uv_map, uv, np.zeros((1, 5, 2), np.float32))
    with pytest.raises(ValueError, match=r"texel_readers.offsets must be int32 \[17\]"):
        uv_gather_vjp(uv_map, uv, np.zeros((1, 5, 3), np.float32), make_texel_readers(uv, 8))
    readers = make_texel_readers(uv, 4)
    for name, replaced, complaint in (
        ("offsets", readers.offsets[::-1].copy(), "must not fall"),
        ("offsets", readers.offsets + 1, "must hold indices 0 to 20, holds 21"),
        ("vertices", readers.vertices + 1, "must hold indices 0 to 4, holds 5"),
    ):
        with pytest.raises(ValueError, match=rf"texel_readers\.{name} {complaint}"):
            uv_gather_vjp(
                uv_map, uv, np.zeros((1, 5, 3), np.float32), dataclasses.replace(readers, **{name: replaced})
            )
    with pytest.raises(ValueError, match="size must be 1 to 16384, got 0"):
        make_texel_readers(uv, 0)
