"""Texture lookups against the textbook filter, and their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import (
    texture_sample,
    texture_sample_vjp,
)
from facewright_kernels._runtime.kernel_source import set_cpu_threads
from facewright_kernels.texture_sample import (
    texture_sample_reference,
    texture_sample_vjp_reference,
)


def _texture(rng: np.random.Generator, shape=(2, 12, 20, 3)) -> np.ndarray:
    return rng.random(shape).astype(np.float32)


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("kind", ["float", "bytes", "srgb"])
def test_matches_reference(device, wrap, kind):
    rng = np.random.default_rng(1)
    texture = _texture(rng)
    linear = texture.astype(np.float64)
    if kind != "float":
        texture = (texture * 255).round().astype(np.uint8)
        code = texture / 255
        linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
        linear = linear if kind == "srgb" else code
    uv = rng.uniform(-1.5, 2.5, (2, 9, 50, 2)).astype(np.float32)
    got = device.fetch(texture_sample(device.send(texture), device.send(uv), wrap=wrap, srgb=kind == "srgb"))
    assert got.shape == (2, 9, 50, 3)
    for k in range(2):
        expected = texture_sample_reference(linear[k], uv[k].reshape(-1, 2).astype(np.float64), wrap=wrap)
        np.testing.assert_allclose(got[k].reshape(-1, 3), expected, atol=5e-6)


def test_texel_centres_are_at_one_half(device):
    texture = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    uv = np.array([[[0.5 / 3, 0.25], [2.5 / 3, 0.75], [1 / 3, 0.25]]], np.float32)
    got = device.fetch(texture_sample(device.send(texture), device.send(uv)))[0, :, 0]
    np.testing.assert_allclose(got, [0, 5, 0.5], atol=1e-6)


def test_shared_texture_serves_the_batch(device):
    rng = np.random.default_rng(2)
    texture, uv = _texture(rng, (1, 8, 8, 2)), rng.random((3, 5, 2)).astype(np.float32)
    got = device.fetch(texture_sample(device.send(texture), device.send(uv)))
    repeated = device.fetch(texture_sample(device.send(np.repeat(texture, 3, 0)), device.send(uv)))
    np.testing.assert_array_equal(got, repeated)


def test_not_finite_coordinates_give_nan(device):
    texture = np.ones((1, 4, 4, 2), np.float32)
    uv = np.array([[[np.nan, 0.5], [0.5, np.inf], [0.5, 0.5]]], np.float32)
    got = device.fetch(texture_sample(device.send(texture), device.send(uv)))[0]
    assert np.isnan(got[:2]).all()
    assert (got[2] == 1).all()


def test_boundary_says_what_is_wrong():
    texture, uv = np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 5, 2), np.float32)
    with pytest.raises(ValueError, match="srgb needs a uint8 texture"):
        texture_sample(texture, uv, srgb=True)
    with pytest.raises(ValueError, match="batch 1 or 2 like uv, got 3"):
        texture_sample(np.zeros((3, 4, 4, 3), np.float32), uv)
    with pytest.raises(ValueError, match=r"uv must be float32 \[B, \.\.\., 2\].*got float32 \[2, 5, 3\]"):
        texture_sample(texture, np.zeros((2, 5, 3), np.float32))
    with pytest.raises(ValueError, match="texture must have at least one texel"):
        texture_sample(np.zeros((1, 0, 4, 3), np.float32), uv)


def _bfloat16(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper 16 bits of float32 numbers, and the numbers that they stand for."""
    bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return (bits >> 16).astype(np.uint16), bits.view(np.float32)


@pytest.mark.parametrize("wrap", [False, True])
def test_bfloat16_textures_are_read_as_the_floats_they_shorten(device, wrap):
    rng = np.random.default_rng(9)
    stored, texture = _bfloat16(rng.normal(size=(2, 7, 5, 3)))
    uv, grad = (rng.random((2, 40, 2)) * 2 - 0.5).astype(np.float32), _texture(rng, (2, 40, 3))
    sent = [device.send(a) for a in (texture, stored, uv, grad)]
    as_float = texture_sample(sent[0], sent[2], wrap=wrap)
    as_bfloat16 = texture_sample(sent[1], sent[2], wrap=wrap, texel_format="bfloat16")
    np.testing.assert_array_equal(device.fetch(as_bfloat16), device.fetch(as_float))
    of_float = texture_sample_vjp(sent[0], sent[2], sent[3], wrap=wrap)
    of_bfloat16 = texture_sample_vjp(*sent[1:], wrap=wrap, texel_format="bfloat16")
    np.testing.assert_array_equal(device.fetch(of_bfloat16.texture), device.fetch(of_float.texture))
    np.testing.assert_array_equal(device.fetch(of_bfloat16.uv), device.fetch(of_float.uv))


def test_the_texel_format_must_be_that_of_the_texture():
    texture, uv = np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 5, 2), np.float32)
    with pytest.raises(ValueError, match=r"texture must be float32 or float16 or uint8 .*got uint16"):
        texture_sample(texture.astype(np.uint16), uv)
    with pytest.raises(ValueError, match="None for others, got 'bfloat16' for float32"):
        texture_sample(texture, uv, texel_format="bfloat16")
    with pytest.raises(ValueError, match=r"must be 'bfloat16' for a uint16 texture .*got 'float16'"):
        texture_sample_vjp(
            texture.astype(np.uint16), uv, np.zeros((1, 5, 3), np.float32), texel_format="float16"
        )


def test_half_textures_are_read_as_they_are(device):
    """All finite halves, subnormal ones among them; infinity does not become a number."""
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    half = half[np.isfinite(half)]
    texture = half[None, None, :, None]
    centres = np.stack([(np.arange(half.size) + 0.5) / half.size, np.full(half.size, 0.5)], -1)
    uv = centres[None].astype(np.float32)
    got = device.fetch(texture_sample(device.send(texture), device.send(uv)))
    wanted = device.fetch(texture_sample(device.send(texture.astype(np.float32)), device.send(uv)))
    np.testing.assert_array_equal(got, wanted)
    single = device.send(np.full((1, 1, 1, 1), np.inf, np.float16))
    assert not np.isfinite(device.fetch(texture_sample(single, device.send(uv[:, :1])))).any()


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("kind", ["float", "half", "shared"])
def test_gradients_match_reference(device, wrap, kind):
    rng = np.random.default_rng(6)
    texture = _texture(rng, (1 if kind == "shared" else 2, 9, 14, 3))
    if kind == "half":
        texture = texture.astype(np.float16)
    uv = rng.uniform(-1.5, 2.5, (2, 6, 50, 2)).astype(np.float32)
    grad = (rng.normal(size=(2, 6, 50, 3)) * 10.0 ** rng.integers(-4, 3, (2, 6, 50, 3))).astype(np.float32)
    got = texture_sample_vjp(device.send(texture), device.send(uv), device.send(grad), wrap=wrap)
    of_texture, of_uv = device.fetch(got.texture), device.fetch(got.uv)
    assert of_texture.dtype == np.float32
    assert of_texture.shape == texture.shape
    wanted = np.zeros(texture.shape)
    for k in range(2):
        at = 0 if kind == "shared" else k
        one, wanted_uv = texture_sample_vjp_reference(
            texture[at].astype(np.float64),
            uv[k].reshape(-1, 2).astype(np.float64),
            grad[k].reshape(-1, 3).astype(np.float64),
            wrap=wrap,
        )
        wanted[at] += one
        np.testing.assert_allclose(of_uv[k].reshape(-1, 2), wanted_uv, rtol=1e-4, atol=2e-2)
    np.testing.assert_allclose(of_texture, wanted, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("wrap", [False, True])
def test_reference_gradients_are_finite_differences(wrap):
    rng = np.random.default_rng(7)
    texture, uv, grad = rng.normal(size=(4, 5, 2)), rng.uniform(-0.4, 1.4, (12, 2)), rng.normal(size=(12, 2))
    of_texture, of_uv = texture_sample_vjp_reference(texture, uv, grad, wrap=wrap)

    def value(texture, uv):
        return (texture_sample_reference(texture, uv, wrap=wrap) * grad).sum()

    step = 1e-7
    for given, wanted, name in ((texture, of_texture, "texture"), (uv, of_uv, "uv")):
        for at in np.ndindex(given.shape):
            change = np.zeros_like(given)
            change[at] = step
            above = value(texture + change, uv) if name == "texture" else value(texture, uv + change)
            below = value(texture - change, uv) if name == "texture" else value(texture, uv - change)
            assert (above - below) / (2 * step) == pytest.approx(wanted[at], abs=1e-6)


def test_texture_gradient_depends_neither_on_threads_nor_on_order(device):
    rng = np.random.default_rng(9)
    texture = device.send(_texture(rng, (1, 6, 6, 3)))
    uv = rng.random((1, 4000, 2)).astype(np.float32)
    grad = (rng.normal(size=(1, 4000, 3)) * 10.0 ** rng.integers(-5, 5, (1, 4000, 3))).astype(np.float32)
    once = device.fetch(texture_sample_vjp(texture, device.send(uv), device.send(grad)).texture)
    order = rng.permutation(4000)
    set_cpu_threads(3)
    try:
        again = texture_sample_vjp(texture, device.send(uv[:, order]), device.send(grad[:, order])).texture
    finally:
        set_cpu_threads(1)
    np.testing.assert_array_equal(once, device.fetch(again))


def test_gradients_outside_and_of_not_finite_coordinates(device):
    texture = device.send(np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1))
    uv = np.float32([[[np.nan, 0.5], [0.5, np.inf], [-0.5, 0.4], [1.5, 0.4], [0.4, -3], [0.4, 3]]])
    grad = device.send(np.ones((1, 6, 1), np.float32))
    got = texture_sample_vjp(texture, device.send(uv), grad)
    of_uv = device.fetch(got.uv)[0]
    assert np.isnan(of_uv[:2]).all()
    assert (of_uv[2:4, 0] == 0).all()
    assert (of_uv[4:, 1] == 0).all()
    assert (of_uv[2:4, 1] > 0).all()
    assert (of_uv[4:, 0] > 0).all()
    assert device.fetch(got.texture).sum() == pytest.approx(4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_shows_in_its_own_texture_only(device, bad):
    rng = np.random.default_rng(10)
    texture, uv = (
        device.send(_texture(rng, (2, 4, 4, 2))),
        device.send(rng.random((2, 9, 2)).astype(np.float32)),
    )
    grad = np.ones((2, 9, 2), np.float32)
    grad[1, 3, 0] = bad
    got = device.fetch(texture_sample_vjp(texture, uv, device.send(grad)).texture)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()
    none = device.send(np.zeros((2, 0, 2), np.float32))
    assert (device.fetch(texture_sample_vjp(texture, none, none).texture) == 0).all()


def test_gradient_boundary_says_what_is_wrong():
    texture, uv = np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 5, 2), np.float32)
    with pytest.raises(ValueError, match="texture must be float32 or float16"):
        texture_sample_vjp(texture.astype(np.uint8), uv, np.zeros((2, 5, 3), np.float32))
    with pytest.raises(ValueError, match=r"grad must be float32 \[2, 5, 3\]"):
        texture_sample_vjp(texture, uv, uv)
