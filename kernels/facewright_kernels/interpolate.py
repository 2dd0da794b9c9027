"""Vertex attributes interpolated at the pixels of a raster."""

from __future__ import annotations

import numpy as np

from facewright_kernels.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels.kernel_source import KernelSource
from facewright_kernels.rasterize import Raster

_SOURCE = KernelSource("interpolate")


def interpolate(attributes: FloatArray, triangles: IntArray, raster: Raster) -> FloatArray:
    """Barycentric interpolation of vertex attributes.

    ``triangles`` need not be the list that was rasterised, only have a corresponding row for each of its
    triangles: UV coordinates are interpolated with the UV triangles and the raster of the position triangles.

    Args:
        attributes: f32 ``[B, V, C]``, or ``[1, V, C]`` shared by all images.
        triangles: i32 ``[F, 3]``, indices of attribute vertices.
        raster: of :func:`facewright_kernels.rasterize`.

    Returns:
        f32 ``[B, H, W, C]``; 0 where the raster is empty.

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("interpolate")
    attributes = check.array("attributes", attributes, "float32", "N V C")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    triangle_id = check.array("raster.triangle_id", raster.triangle_id, "int32", "B H W")
    barycentric = check.array("raster.barycentric", raster.barycentric, "float32", "B H W 2")
    if check.size("N") not in (1, check.size("B")):
        raise ValueError(
            f"interpolate: attributes must have batch 1 or {check.size('B')} like the raster, "
            f"got {check.size('N')}"
        )
    check.indices("triangles", triangles, check.size("V"))
    channels = check.size("C")
    out: FloatArray = array_module(attributes).empty((*triangle_id.shape, channels), np.float32)
    _SOURCE.launch(
        "interpolate_pixels",
        triangle_id.size,
        attributes,
        triangles,
        triangle_id,
        barycentric,
        out,
        triangle_id.size,
        triangle_id.shape[1] * triangle_id.shape[2],
        int(attributes.shape[0] == 1),
        check.size("V"),
        check.size("F"),
        channels,
    )
    return out


def interpolate_reference(
    attributes: Float64Array, triangles: IntArray, triangle_id: IntArray, barycentric: Float64Array
) -> Float64Array:
    """One image in float64: ``Σ_k b_k a_k``, ``b_2 = 1 − b_0 − b_1`` (any textbook; nvdiffrast's
    documentation).
    """
    b0, b1 = barycentric[..., 0], barycentric[..., 1]
    weight = np.stack([b0, b1, 1 - b0 - b1], -1)
    out = np.einsum("hwk,hwkc->hwc", weight, attributes[triangles[np.maximum(triangle_id, 0)]])
    out[triangle_id < 0] = 0
    return np.asarray(out, np.float64)
