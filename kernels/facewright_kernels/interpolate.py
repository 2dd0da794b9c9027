"""Vertex attributes interpolated at the pixels of a raster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.rasterize import Raster
from facewright_kernels.vertex_sums import (
    make_vertex_sums,
    read_vertex_sums,
    run_pieces,
    run_segment,
    vertex_sums_reference,
)

_SOURCE = KernelSource("interpolate")


@dataclass(frozen=True)
class InterpolateGradients:
    """Gradients of a loss with respect to what :func:`interpolate` reads.

    Attributes:
        attributes: f32, shaped like the attributes (shared ones: summed over the images).
        barycentric: f32 ``[B, H, W, 2]``, of the weights of corners 0 and 1 (corner 2 has the rest); 0 where
            the raster is empty.
    """

    attributes: FloatArray
    barycentric: FloatArray


def interpolate(attributes: FloatArray, triangles: IntArray, raster: Raster) -> FloatArray:
    """Barycentric interpolation of vertex attributes.

    ``triangles`` need not be the list that was rasterised, only have a corresponding row for each of its
    triangles: UV coordinates are interpolated with the UV triangles and the raster of the position triangles.

    Args:
        attributes: f32 ``[B, V, C]``, or ``[1, V, C]`` shared by all images.
        triangles: i32 ``[F, 3]``, indices of attribute vertices.
        raster: of :func:`facewright_kernels.rasterize`, with batch B, or 1 shared by all attributes.

    Returns:
        f32 ``[B, H, W, C]``; 0 where the raster is empty.

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("interpolate")
    attributes, triangles, triangle_id, barycentric = _checked(check, attributes, triangles, raster)
    channels, batch = check.size("C"), check.size("B") if check.size("N") == 1 else check.size("N")
    out: FloatArray = array_module(attributes).empty((batch, *triangle_id.shape[1:], channels), np.float32)
    pixels = batch * triangle_id.shape[1] * triangle_id.shape[2]
    _SOURCE.launch(
        "interpolate_pixels",
        pixels,
        attributes,
        triangles,
        triangle_id,
        barycentric,
        out,
        pixels,
        triangle_id.shape[1] * triangle_id.shape[2],
        int(attributes.shape[0] == 1),
        int(triangle_id.shape[0] == 1),
        check.size("V"),
        check.size("F"),
        channels,
    )
    return out


def interpolate_vjp(
    attributes: FloatArray, triangles: IntArray, raster: Raster, grad: FloatArray
) -> InterpolateGradients:
    """Vector-Jacobian product of :func:`interpolate`.

    The same result every time, whatever the order of threads (fixed-point sums).

    Args:
        attributes, triangles, raster: as in the forward call.
        grad: f32 ``[B, H, W, C]``, gradient of a loss with respect to the interpolated attributes, B images
            also where they share the raster. What it holds at empty pixels does not matter; where it is not
            finite, all channels of the pixel's vertices get NaN.

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("interpolate_vjp")
    attributes, triangles, triangle_id, barycentric = _checked(check, attributes, triangles, raster)
    batch = check.size("B") if check.size("N") == 1 else check.size("N")
    grad = check.array("grad", grad, "float32", f"{batch} H W C")
    xp = array_module(attributes)
    height, width = triangle_id.shape[1:]
    rows, segment = triangle_id.shape[0] * height, run_segment(triangle_id, width)
    pieces = run_pieces(rows, width, segment)
    copies, shared = batch // max(check.size("B"), 1), int(attributes.shape[0] == 1)
    # An image's sums must not depend on its batch, unless they are sums over the batch.
    sums = make_vertex_sums(xp, attributes.shape, (batch if shared else 1) * height * width)
    shape = (rows, height, width, segment, copies, shared, check.size("V"), check.size("F"), check.size("C"))
    grad_barycentric: FloatArray = xp.empty((batch, height, width, 2), np.float32)
    _SOURCE.launch("interpolate_vjp_measure", pieces, grad, triangles, triangle_id, sums.magnitudes, *shape)
    _SOURCE.launch(
        "interpolate_vjp_add",
        pieces,
        attributes,
        triangles,
        triangle_id,
        barycentric,
        grad,
        sums.magnitudes,
        sums.sums,
        grad_barycentric,
        *shape,
        sums.headroom,
    )
    return InterpolateGradients(read_vertex_sums(sums), grad_barycentric)


def _checked(
    check: Boundary, attributes: FloatArray, triangles: IntArray, raster: Raster
) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
    attributes = check.array("attributes", attributes, "float32", "N V C")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    triangle_id = check.array("raster.triangle_id", raster.triangle_id, "int32", "B H W")
    barycentric = check.array("raster.barycentric", raster.barycentric, "float32", "B H W 2")
    if check.size("N") not in (1, check.size("B")) and check.size("B") != 1:
        raise ValueError(
            f"{check.function}: attributes must have batch 1 or {check.size('B')} like the raster, "
            f"got {check.size('N')}"
        )
    check.indices("triangles", triangles, check.size("V"))
    return attributes, triangles, triangle_id, barycentric


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


def interpolate_vjp_reference(
    attributes: Float64Array,
    triangles: IntArray,
    triangle_id: IntArray,
    barycentric: Float64Array,
    grad: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """One image in float64: ``∂/∂a_k = Σ b_k g`` over the pixels of each vertex, and
    ``∂/∂b_k = g · (a_k − a_2)``: gradients ``[V, C]`` and ``[H, W, 2]``.
    """
    seen = triangle_id >= 0
    corners = triangles[triangle_id[seen]]  # [n, 3]
    b0, b1 = barycentric[seen].T
    weight = np.stack([b0, b1, 1 - b0 - b1], -1)
    terms = weight[:, :, None] * grad[seen][:, None, :]
    at_vertices = vertex_sums_reference(
        terms.reshape(-1, terms.shape[2]), corners.ravel(), attributes.shape[0]
    )
    values = attributes[corners]  # [n, 3, C]
    at_pixels = np.zeros((*triangle_id.shape, 2))
    at_pixels[seen] = np.einsum("nkc,nc->nk", values[:, :2] - values[:, 2:], grad[seen])
    return at_vertices, at_pixels
