"""Colours for the texels between charts, so that filtering and mip levels do not bleed background in."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from facewright_kernels.boundary import Boundary, ByteArray, FloatArray, IntArray, array_module
from facewright_kernels.kernel_source import KernelSource

_SOURCE = KernelSource("fill_gutters")
_Texture = TypeVar("_Texture", FloatArray, ByteArray)


def make_gutter_map(inside: npt.NDArray[np.bool_]) -> IntArray:
    """Nearest texel of a chart for every texel; made once per UV layout and size. NumPy.

    Args:
        inside: bool ``[H, W]``, texels that have a colour; at least one.

    Returns:
        i32 ``[H, W]``, flat index (row · W + column); a texel inside is its own nearest.

    Raises:
        ValueError: wrong shape or dtype, nothing inside.
    """
    check = Boundary("make_gutter_map")
    inside = check.array("inside", inside, "bool", "H W")
    if not inside.any():
        raise ValueError("make_gutter_map: no texel is inside")
    row, column = scipy.ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return np.ascontiguousarray(row * inside.shape[1] + column, np.int32)


def fill_gutters(texture: _Texture, gutter_map: IntArray) -> _Texture:
    """Every texel outside the charts gets the colour of the nearest one inside.

    Args:
        texture: f32 or u8 ``[B, H, W, C]``.
        gutter_map: i32 ``[H, W]`` of :func:`make_gutter_map`.

    Returns:
        a new texture of the same kind.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("fill_gutters")
    texture = check.array("texture", texture, ("float32", "uint8"), "B H W C")
    gutter_map = check.array("gutter_map", gutter_map, "int32", "H W")
    check.indices("gutter_map", gutter_map, gutter_map.size)
    out: _Texture = array_module(texture).empty(texture.shape, texture.dtype)
    kernel = "gather_bytes" if texture.dtype == np.uint8 else "gather_floats"
    texels = check.size("B") * gutter_map.size
    _SOURCE.launch(kernel, texels, texture, gutter_map, out, texels, gutter_map.size, check.size("C"))
    return out


def fill_gutters_reference(texture: FloatArray, inside: npt.NDArray[np.bool_]) -> FloatArray:
    """One texture by trying every texel inside (brute-force nearest neighbour; ties: any of the nearest)."""
    rows, columns = np.nonzero(inside)
    y, x = np.mgrid[: inside.shape[0], : inside.shape[1]]
    squared = (y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2
    nearest = squared.argmin(-1)
    filled: FloatArray = texture[rows[nearest], columns[nearest]]
    return filled
