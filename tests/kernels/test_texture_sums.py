"""Fixed-point sums for whole textures: exact where floats are not, the same in every order."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import texture_sample_vjp
from facewright_kernels.texture_sums import make_texture_sums, read_texture_sums, texture_sums_reference


def _added(device, value: np.ndarray, terms: np.ndarray, side: int) -> np.ndarray:
    """Terms ``[B, n]`` added to the texels ``value [B, n]`` of B textures by looking up their centres."""
    uv = np.stack([(value % side + 0.5) / side, (value // side + 0.5) / side], -1).astype(np.float32)
    texture = device.send(np.zeros((len(value), side, side, 1), np.float32))
    return device.fetch(texture_sample_vjp(texture, device.send(uv), device.send(terms[..., None])).texture)


@pytest.mark.parametrize("batch", [1, 3])
def test_sums_match_reference(device, batch):
    """Sides that are powers of two, so centres are exact and each term goes to one texel."""
    rng = np.random.default_rng(0)
    value = rng.integers(0, 64, (batch, 3000))
    terms = (rng.normal(size=(batch, 3000)) * 10.0 ** rng.integers(-3, 4, (batch, 3000))).astype(np.float32)
    got = _added(device, value, terms, 8)
    for k in range(batch):
        expected = texture_sums_reference(terms[k].astype(np.float64), value[k], 64)
        np.testing.assert_allclose(got[k].ravel(), expected, rtol=2e-7, atol=1e-7)


def test_terms_that_cancel_leave_nothing(device):
    """In float32, 10⁶ + 10⁻² − 10⁶ is 0 or 0.0078125, depending on the order."""
    terms = np.float32([[1e6, 0.01, -1e6, 3e5, 0.02, -3e5]])
    for order in ([0, 1, 2, 3, 4, 5], [0, 2, 1, 5, 4, 3], [4, 1, 0, 3, 2, 5]):
        got = _added(device, np.zeros((1, 6), int), terms[:, order], 2)
        assert got[0, 0, 0, 0] == pytest.approx(0.03, rel=1e-6)


def test_the_largest_terms_do_not_overflow(device):
    terms = np.full((1, 4096), 3e38 / 4096, np.float32)
    assert _added(device, np.zeros((1, 4096), int), terms, 1)[0, 0, 0, 0] == pytest.approx(3e38, rel=1e-6)
    tiny = np.full((1, 4096), 1e-44, np.float32)
    denormal_sum = 0 if device.is_gpu else 4096e-44  # launch_target.h
    got = _added(device, np.zeros((1, 4096), int), tiny, 1)[0, 0, 0, 0]
    assert got == pytest.approx(denormal_sum, rel=0.05, abs=0)


def test_the_unit_follows_the_largest_gradient_of_each_texture(device):
    grad = np.random.default_rng(1).normal(size=(3, 1000, 2)).astype(np.float32)
    grad[1, 17] = [1e20, -3e20]
    target = make_texture_sums((3, 4), device.send(grad))
    largest = device.fetch(target.magnitudes).view(np.float32)
    np.testing.assert_array_equal(largest, np.abs(grad).max((1, 2)))


def test_a_gradient_that_is_not_finite_shows_in_its_own_texture(device):
    grad = device.send(np.float32([[[1.0], [-4.0], [3.0]], [[2.0], [3.0], [np.inf]]]))
    target = make_texture_sums((2, 4), grad)
    largest = device.fetch(target.magnitudes).view(np.float32)
    assert largest.tolist() == [4, np.inf]
    read = device.fetch(read_texture_sums(target))
    assert (read[0] == 0).all()
    assert np.isnan(read[1]).all()


def test_nothing_added_is_zero(device):
    target = make_texture_sums((2, 3, 3, 1), device.send(np.zeros((2, 0, 1), np.float32)))
    assert (device.fetch(read_texture_sums(target)) == 0).all()
    assert read_texture_sums(
        make_texture_sums((0, 4), device.send(np.zeros((0, 5, 1), np.float32)))
    ).shape == (0, 4)
