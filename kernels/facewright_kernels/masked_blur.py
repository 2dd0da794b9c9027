"""Gaussian blur that ignores what a mask leaves out."""

from __future__ import annotations

import math

import numpy as np

from facewright_kernels.boundary import Boundary, Float64Array, FloatArray, array_module
from facewright_kernels.kernel_source import KernelSource

_SOURCE = KernelSource("masked_blur")


def masked_blur(image: FloatArray, mask: FloatArray, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Normalised convolution ``G∗(m f) / G∗m`` with a Gaussian cut off at 3 σ.

    Args:
        image: f32 ``[B, H, W, C]`` with C 1 to 3; values where the mask is 0 do not matter (NaN is fine).
        mask: f32 ``[B, H, W]``, weights ≥ 0.
        sigma: standard deviation, pixels, 0.1 to 100.

    Returns:
        the blurred image f32 ``[B, H, W, C]`` (0 where nothing is within reach), and ``G∗m`` f32 ``[B, H,
        W]``.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, sigma out of range.
    """
    check = Boundary("masked_blur")
    image = check.array("image", image, "float32", "B H W C")
    mask = check.array("mask", mask, "float32", "B H W")
    check.number("sigma", sigma, 0.1, 100)
    check.number("channels of image", check.size("C"), 1, 3)
    xp = array_module(image)
    radius = math.ceil(3 * sigma)
    taps = xp.asarray(gaussian_taps(sigma).astype(np.float32))
    shape = (check.size("B"), check.size("H"), check.size("W"))
    pixels = mask.size
    premultiplied = xp.empty((*shape, 4), np.float32)
    along_rows = xp.empty((*shape, 4), np.float32)
    blurred: FloatArray = xp.empty(image.shape, np.float32)
    coverage: FloatArray = xp.empty(shape, np.float32)
    _SOURCE.launch("premultiply", pixels, image, mask, premultiplied, pixels, check.size("C"))
    _SOURCE.launch("blur_rows", pixels, premultiplied, taps, along_rows, *shape, radius)
    _SOURCE.launch(
        "blur_columns", pixels, along_rows, taps, blurred, coverage, *shape, check.size("C"), radius
    )
    return blurred, coverage


def gaussian_taps(sigma: float) -> Float64Array:
    """Weights at distances 0, 1, … ⌈3 σ⌉, whose two-sided sum is 1."""
    half = np.exp(-0.5 * (np.arange(math.ceil(3 * sigma) + 1) / sigma) ** 2)
    return np.asarray(half / (2 * half.sum() - half[0]), np.float64)


def masked_blur_reference(image: Float64Array, mask: Float64Array, sigma: float) -> Float64Array:
    """One image in float64 (Knutsson and Westin 1993, "Normalized and differential convolution", eq. 5)."""
    half = gaussian_taps(sigma)
    taps = np.concatenate([half[:0:-1], half])

    def blur(plane: Float64Array) -> Float64Array:
        for axis in (0, 1):
            reach = len(half) - 1
            cut = slice(reach, reach + plane.shape[axis])
            plane = np.apply_along_axis(lambda line, cut=cut: np.convolve(line, taps)[cut], axis, plane)
        return plane

    weight = blur(mask)
    channels = [blur(np.where(mask != 0, image[..., c] * mask, 0)) for c in range(image.shape[-1])]
    safe = np.where(weight > 0, weight, 1)[..., None]
    return np.asarray(np.where(weight[..., None] > 0, np.stack(channels, -1) / safe, 0), np.float64)
