"""Warping images against supersampled references."""

from __future__ import annotations

import numpy as np
import pytest
from facewright_kernels import image_warp
from facewright_kernels.image_warp import image_warp_reference


def _image(seed: int = 0, shape=(2, 30, 44, 3)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


_ENLARGE = np.float32([[0.5, 0.1, 3], [-0.1, 0.6, 4], [0, 0, 1]])
_TILT = np.float32([[0.7, 0.1, 2], [0.05, 0.7, 3], [0.002, -0.003, 1]])


@pytest.mark.parametrize("matrix", [_ENLARGE, _TILT], ids=["affine", "homography"])
@pytest.mark.parametrize("kind", ["float", "bytes", "srgb"])
def test_enlarging_is_bilinear(device, matrix, kind):
    image = _image()
    linear = image.astype(np.float64)
    if kind != "float":
        image = (image * 255).round().astype(np.uint8)
        code = image / 255
        decoded = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
        linear = decoded if kind == "srgb" else code
    maps = np.stack([matrix, matrix])
    got = device.fetch(image_warp(device.send(image), device.send(maps), 25, 35, srgb=kind == "srgb"))
    for k in range(2):
        expected = image_warp_reference(linear[k], matrix.astype(np.float64), 25, 35, 1)
        np.testing.assert_allclose(got[k], expected, atol=2e-5)


@pytest.mark.parametrize("factor", [2, 5])
def test_shrinking_by_a_whole_number_is_the_box_mean(device, factor):
    image = _image(1, (1, 4 * factor, 6 * factor, 2))
    matrix = np.diag([factor, factor, 1]).astype(np.float32)[None]
    got = device.fetch(image_warp(device.send(image), device.send(matrix), 4, 6))
    expected = image.reshape(1, 4, factor, 6, factor, 2).mean((2, 4))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_shrinking_approaches_the_area_mean(device):
    image = _image(2, (1, 60, 60, 1))
    angle = 0.3
    c, s = 3.3 * np.cos(angle), 3.3 * np.sin(angle)
    matrix = np.array([[c, -s, 12], [s, c, 1], [0, 0, 1]])
    got = device.fetch(image_warp(device.send(image), device.send(matrix.astype(np.float32)[None]), 12, 12))
    expected = image_warp_reference(image[0].astype(np.float64), matrix, 12, 12, 16)
    plain = image_warp_reference(image[0].astype(np.float64), matrix, 12, 12, 1)
    assert np.abs(got[0] - expected).max() < 0.06
    assert np.abs(got[0] - expected).mean() < 0.1 * np.abs(plain - expected).mean()


def test_identity_keeps_every_pixel_and_the_border_goes_on(device):
    image = _image(3, (1, 8, 9, 3))
    shifted = np.float32([[[1, 0, -2], [0, 1, 0], [0, 0, 1]]])
    same = device.fetch(image_warp(device.send(image), device.send(np.eye(3, dtype=np.float32)[None]), 8, 9))
    np.testing.assert_allclose(same, image, atol=1e-6)
    moved = device.fetch(image_warp(device.send(image), device.send(shifted), 8, 11))
    np.testing.assert_allclose(moved[:, :, 2:], image, atol=1e-6)
    np.testing.assert_allclose(moved[:, :, :2], image[:, :, :1].repeat(2, 2), atol=1e-6)


def test_boundary_says_what_is_wrong():
    eye = np.eye(3, dtype=np.float32)[None]
    with pytest.raises(ValueError, match="srgb needs a uint8 image"):
        image_warp(_image()[:1], eye, 4, 4, srgb=True)
    with pytest.raises(ValueError, match=r"output_to_image must be float32 \[B, 3, 3\] with B = 2"):
        image_warp(_image(), eye, 4, 4)
    with pytest.raises(ValueError, match="smaller side of image must be"):
        image_warp(np.zeros((1, 0, 4, 3), np.float32), eye, 4, 4)
