"""Texture lookups against the textbook filter, and mip pyramids."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import build_mip_pyramid, texture_sample, texture_sample_mipmap
from facewright_kernels.texture_sample import byte_decoding, texture_sample_reference


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


@pytest.mark.parametrize(("shape", "levels"), [((2, 16, 8, 3), 5), ((1, 12, 20, 2), 3), ((1, 7, 8, 1), 1)])
def test_pyramid_levels_are_box_means(device, shape, levels):
    texture = _texture(np.random.default_rng(3), shape)
    pyramid = build_mip_pyramid(device.send(texture))
    assert pyramid.levels == levels
    flat = device.fetch(pyramid.texels)
    expected, at = texture.astype(np.float64), 0
    for _ in range(levels):
        batch, height, width, channels = expected.shape
        got = flat[:, at : at + height * width].reshape(expected.shape)
        np.testing.assert_allclose(got, expected, atol=1e-6)
        at += height * width
        step_y, step_x = min(height, 2), min(width, 2)
        expected = expected[:, : height // step_y * step_y, : width // step_x * step_x]
        expected = expected.reshape(batch, height // step_y, step_y, width // step_x, step_x, channels).mean(
            (2, 4)
        )
    assert at == flat.shape[1]


def test_trilinear_blends_two_levels(device):
    rng = np.random.default_rng(4)
    texture, uv = _texture(rng, (1, 16, 16, 2)), rng.random((1, 40, 2)).astype(np.float32)
    pyramid = build_mip_pyramid(device.send(texture))
    half = texture.astype(np.float64).reshape(8, 2, 8, 2, 2).mean((1, 3))
    fine = texture_sample_reference(texture[0].astype(np.float64), uv[0].astype(np.float64))
    coarse = texture_sample_reference(half, uv[0].astype(np.float64))
    for level, expected in ((0.0, fine), (0.25, 0.75 * fine + 0.25 * coarse), (1.0, coarse), (-3.0, fine)):
        levels = device.send(np.full((1, 40), level, np.float32))
        got = device.fetch(texture_sample_mipmap(pyramid, device.send(uv), level=levels))
        np.testing.assert_allclose(got[0], expected, atol=5e-6)
    top = device.send(np.full((1, 40), 99, np.float32))
    got = device.fetch(texture_sample_mipmap(pyramid, device.send(uv), level=top))[0]
    np.testing.assert_allclose(got, np.broadcast_to(texture.mean((1, 2)), got.shape), atol=1e-5)


def test_level_follows_the_longer_axis_of_the_footprint(device):
    rng = np.random.default_rng(5)
    texture, uv = _texture(rng, (1, 16, 32, 1)), rng.random((1, 3, 2)).astype(np.float32)
    pyramid = build_mip_pyramid(device.send(texture))
    derivatives = np.zeros((1, 3, 2, 2), np.float32)
    derivatives[0, 0] = [[4 / 32, 0], [0, 1 / 16]]  # 4 texels along x, 1 along y: level 2
    derivatives[0, 1] = [[0, 0.3 / 32], [0.3 / 16, 0]]  # magnified: level 0
    derivatives[0, 2] = [[0, 3 / 32], [0, 4 / 16]]  # 5 texels along y: log2 5
    got = device.fetch(
        texture_sample_mipmap(pyramid, device.send(uv), uv_derivatives=device.send(derivatives))
    )
    level = device.send(np.array([[2, 0, np.log2(5)]], np.float32))
    expected = device.fetch(texture_sample_mipmap(pyramid, device.send(uv), level=level))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_byte_decoding_is_the_standard_curve():
    np.testing.assert_allclose(
        byte_decoding(True)[[0, 10, 11, 188, 255]], [0, 0.00303527, 0.00334654, 0.50288645, 1], rtol=1e-5
    )


def test_boundary_says_what_is_wrong():
    texture, uv = np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 5, 2), np.float32)
    with pytest.raises(ValueError, match="srgb needs a uint8 texture"):
        texture_sample(texture, uv, srgb=True)
    with pytest.raises(ValueError, match="batch 1 or 2 like uv, got 3"):
        texture_sample(np.zeros((3, 4, 4, 3), np.float32), uv)
    with pytest.raises(ValueError, match=r"uv must be float32 \[B, \.\.\., 2\].*got float32 \[2, 5, 3\]"):
        texture_sample(texture, np.zeros((2, 5, 3), np.float32))
    with pytest.raises(ValueError, match="exactly one of level and uv_derivatives"):
        texture_sample_mipmap(build_mip_pyramid(texture), uv)
    with pytest.raises(ValueError, match="texture must have at least one texel"):
        texture_sample(np.zeros((1, 0, 4, 3), np.float32), uv)
