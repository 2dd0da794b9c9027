"""Images through affine maps and homographies."""

from __future__ import annotations

import numpy as np

from facewright_kernels.boundary import Boundary, ByteArray, Float64Array, FloatArray, array_module
from facewright_kernels.kernel_source import KernelSource
from facewright_kernels.texture_sample import byte_decoding

_SOURCE = KernelSource("image_warp")


def image_warp(
    image: ByteArray | FloatArray,
    output_to_image: FloatArray,
    height: int,
    width: int,
    *,
    srgb: bool = False,
) -> FloatArray:
    """Resample an image: each output pixel is the mean over its footprint.

    The footprint is sampled bilinearly on a grid of as many points along each side as the side is long in
    image pixels, at most 16 × 16; enlarging takes one point, plain bilinear. Outside the image its border
    is repeated.

    Args:
        image: u8 or f32 ``[B, H, W, C]``.
        output_to_image: f32 ``[B, 3, 3]``, homogeneous output pixels (first centre 0.5, 0.5) to image pixels.
        height, width: of the output.
        srgb: a u8 image is sRGB: decode it to linear light before averaging; else bytes are scaled to 0–1.

    Returns:
        f32 ``[B, height, width, C]``.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, ``srgb`` with a float image, an empty image.
    """
    check = Boundary("image_warp")
    image = check.array("image", image, ("uint8", "float32"), "B H W C")
    output_to_image = check.array("output_to_image", output_to_image, "float32", "B 3 3")
    check.number("height", height, 1, 1 << 15)
    check.number("width", width, 1, 1 << 15)
    check.number("smaller side of image", min(check.size("H"), check.size("W")), 1, 1 << 20)
    is_bytes = image.dtype == np.uint8
    if srgb and not is_bytes:
        raise ValueError("image_warp: srgb needs a uint8 image; float images are linear already")
    xp = array_module(image)
    out: FloatArray = xp.empty((check.size("B"), height, width, check.size("C")), np.float32)
    _SOURCE.launch(
        "warp_bytes" if is_bytes else "warp_floats",
        check.size("B") * height * width,
        image,
        *((xp.asarray(byte_decoding(srgb)),) if is_bytes else ()),
        output_to_image,
        out,
        *image.shape,
        height,
        width,
    )
    return out


def image_warp_reference(
    image: Float64Array, output_to_image: Float64Array, height: int, width: int, grid: int
) -> Float64Array:
    """One float64 image ``[H, W, C]`` with ``grid`` × ``grid`` bilinear samples per output pixel
    (supersampling).
    """
    at = (np.arange(grid) + 0.5) / grid
    x = (np.arange(width)[:, None] + at).ravel()
    y = (np.arange(height)[:, None] + at).ravel()
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), -1) @ output_to_image.T
    points = points[..., :2] / points[..., 2:] - 0.5
    cx = np.clip(points[..., 0], 0, image.shape[1] - 1)
    cy = np.clip(points[..., 1], 0, image.shape[0] - 1)
    x0, y0 = np.floor(cx).astype(int), np.floor(cy).astype(int)
    x1, y1 = np.minimum(x0 + 1, image.shape[1] - 1), np.minimum(y0 + 1, image.shape[0] - 1)
    fx, fy = (cx - x0)[..., None], (cy - y0)[..., None]
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
    value = top * (1 - fy) + bottom * fy
    return np.asarray(value.reshape(height, grid, width, grid, -1).mean((1, 3)), np.float64)
