"""Triangle rasterisation with exact coverage: which triangle a pixel centre sees, and where in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.vertex_sums import (
    make_vertex_sums,
    read_vertex_sums,
    run_pieces,
    run_segment,
    vertex_sums_reference,
)

_SOURCE = KernelSource("rasterize")
MAXIMUM_SIDE = 16384


@dataclass(frozen=True)
class Raster:
    """What every pixel centre sees.

    Attributes:
        triangle_id: i32 ``[B, H, W]``, row of ``triangles``; −1 where there is nothing.
        barycentric: f32 ``[B, H, W, 2]``, perspective-correct weights of the triangle's corners 0 and 1
            (corner 2 has the rest); within 0–1; 0 where there is nothing.
        depth: f32 ``[B, H, W]``, z/w in −1…1; 1 where there is nothing.
    """

    triangle_id: IntArray
    barycentric: FloatArray
    depth: FloatArray


def rasterize(
    clip_positions: FloatArray,
    triangles: IntArray,
    height: int,
    width: int,
    *,
    cull_back_faces: bool = False,
) -> Raster:
    """Rasterise meshes of one topology into images.

    Pixel centres lie at +0.5; NDC y = −1 is the top row (CONVENTIONS.md, clip). Nearest z/w wins, equal
    depths go to the lower triangle number, so a result never depends on the order of threads. Adjacent
    triangles cover each pixel centre of a shared edge exactly once (vertices snapped to 1/256 pixel,
    top-left rule). Triangles are clipped at the near and far planes (−w ≤ z ≤ w); those with a non-finite
    corner or without area are not drawn.

    Args:
        clip_positions: f32 ``[B, V, 4]``, x, y, z, w.
        triangles: i32 ``[F, 3]``, counter-clockwise seen from the front. F may be 0.
        height, width: of the images, 1 to 16384 pixels.
        cull_back_faces: leave out triangles seen from behind (clockwise on screen).

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("rasterize")
    check.number("height", height, 1, MAXIMUM_SIDE)
    check.number("width", width, 1, MAXIMUM_SIDE)
    clip_positions = check.array("clip_positions", clip_positions, "float32", "B V 4")
    keys, spare = draw_keys(check, clip_positions, triangles, height, width, cull_back_faces)
    triangle_id, depth = spare[0], spare[1].view(np.float32)
    _SOURCE.launch(
        "resolve_pixels",
        keys.size,
        clip_positions,
        array_module(triangles).ascontiguousarray(triangles),
        keys,
        triangle_id,
        depth,
        check.size("B"),
        check.size("V"),
        height,
        width,
    )
    barycentric = keys.view(np.float32).reshape(*keys.shape, 2)
    return Raster(triangle_id, barycentric, depth)


def draw_keys(
    check: Boundary,
    clip_positions: FloatArray,
    triangles: IntArray,
    height: int,
    width: int,
    cull_back_faces: bool,
) -> tuple[npt.NDArray[np.uint64], IntArray]:
    """The z-buffer itself, u64 ``[B, H, W]``: order-preserving bits of z/w above the triangle number, or
    all ones. Also i32 ``[2, B, H, W]``, not initialised, from the same allocation.
    """
    clip_positions = check.array("clip_positions", clip_positions, "float32", "B V 4")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    batch, vertices, faces = check.size("B"), check.size("V"), check.size("F")
    check.indices("triangles", triangles, vertices)
    pixels = batch * height * width
    # One allocation for keys and results gets huge pages where several would not: pages that are new to a
    # process cost more than drawing. The CPU kernel handles pixels eight at a time, also past the end of
    # the last row.
    memory = array_module(clip_positions).empty(2 * pixels + 8, np.uint64)
    keys: npt.NDArray[np.uint64] = memory[:pixels].reshape(batch, height, width)
    spare: IntArray = memory[pixels : 2 * pixels].view(np.int32).reshape(2, batch, height, width)
    _SOURCE.launch("clear_keys", keys.size, keys, keys.size)
    _SOURCE.launch(
        "rasterize_triangles",
        batch * faces,
        clip_positions,
        triangles,
        keys,
        batch,
        vertices,
        faces,
        height,
        width,
        int(cull_back_faces),
    )
    return keys, spare


def resolve_depth_map(keys: npt.NDArray[np.uint64], spare: IntArray, near: float, far: float) -> FloatArray:
    """Camera depth f32 ``[B, H, W]`` of a z-buffer drawn in perspective; +infinity where it is empty."""
    depths: FloatArray = spare[0].view(np.float32)
    _SOURCE.launch("resolve_depth_map", keys.size, keys, depths, keys.size, near, far)
    return depths


def rasterize_vjp(
    clip_positions: FloatArray,
    triangles: IntArray,
    raster: Raster,
    grad_barycentric: FloatArray,
    grad_depth: FloatArray | None = None,
) -> FloatArray:
    """Vector-Jacobian product of :func:`rasterize`: of barycentrics and depth, with the visible triangle of
    each pixel held constant (what changes where triangles begin and end comes from
    :func:`facewright_kernels.antialias_vjp`).

    The same result every time, whatever the order of threads (fixed-point sums). Barycentrics are
    differentiated as if they were not held within 0–1.

    Args:
        clip_positions, triangles: as in the forward call.
        raster: its result.
        grad_barycentric: f32 ``[B, H, W, 2]``, gradient of a loss with respect to ``raster.barycentric``.
        grad_depth: f32 ``[B, H, W]``, with respect to ``raster.depth``; None where the loss does not see it.
            What either holds at empty pixels does not matter; where they are not finite, the pixel's vertices
            get NaN.

    Returns:
        f32 ``[B, V, 4]``, gradient with respect to ``clip_positions``; of a triangle without area 0.

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("rasterize_vjp")
    clip_positions = check.array("clip_positions", clip_positions, "float32", "B V 4")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    check.indices("triangles", triangles, check.size("V"))
    triangle_id = check.array("raster.triangle_id", raster.triangle_id, "int32", "B H W")
    grad_barycentric = check.array("grad_barycentric", grad_barycentric, "float32", "B H W 2")
    if grad_depth is not None:
        grad_depth = check.array("grad_depth", grad_depth, "float32", "B H W")
    batch, height, width = triangle_id.shape
    segment = run_segment(triangle_id, width)
    sums = make_vertex_sums(array_module(triangle_id), clip_positions.shape, height * width)
    for target in (None, sums.sums):
        _SOURCE.launch(
            "rasterize_vjp_pixels",
            run_pieces(batch * height, width, segment),
            clip_positions,
            triangles,
            triangle_id,
            grad_barycentric,
            grad_depth,
            sums.magnitudes,
            target,
            batch * height,
            height,
            width,
            segment,
            check.size("V"),
            check.size("F"),
            sums.headroom,
        )
    return read_vertex_sums(sums)


def rasterize_reference(
    clip_positions: Float64Array, triangles: IntArray, height: int, width: int
) -> tuple[IntArray, Float64Array, Float64Array]:
    """One image in float64, a triangle at a time: ``triangle_id [H, W]``, ``barycentric [H, W, 2]``,
    ``depth [H, W]``.

    Perspective-correct barycentrics are the ratios of 2D homogeneous edge functions (Olano and Greer 1997,
    "Triangle scan conversion using 2D homogeneous coordinates", eq. 6); they are positive inside, also
    across the near plane.
    No snapping, no tie rule: it differs from the kernel on pixel centres within 1/256 pixel of an edge.
    """
    ndc_x = (np.arange(width) + 0.5) * 2 / width - 1
    ndc_y = (np.arange(height) + 0.5) * 2 / height - 1
    triangle_id = np.full((height, width), -1, np.int32)
    barycentric = np.zeros((height, width, 2))
    depth = np.full((height, width), np.inf)
    for index, corners in enumerate(triangles):
        corner = np.asarray(clip_positions[corners], np.float64)  # [3, 4]
        if not np.isfinite(corner).all():
            continue
        x = corner[:, 0, None, None] - ndc_x[None, None, :] * corner[:, 3, None, None]
        y = corner[:, 1, None, None] - ndc_y[None, :, None] * corner[:, 3, None, None]
        area = np.stack([x[(k + 1) % 3] * y[(k + 2) % 3] - y[(k + 1) % 3] * x[(k + 2) % 3] for k in range(3)])
        total = area.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = area / total
            w = np.tensordot(corner[:, 3], weight, (0, 0))
            z = np.tensordot(corner[:, 2], weight, (0, 0)) / w
            seen = (total != 0) & (weight >= 0).all(0) & (w > 0) & (np.abs(z) <= 1) & (z < depth)
        triangle_id[seen] = index
        barycentric[seen] = np.moveaxis(weight[:2], 0, -1)[seen]
        depth[seen] = z[seen]
    depth[triangle_id < 0] = 1.0
    return triangle_id, barycentric, depth


def barycentric_depth_reference(
    clip_positions: Float64Array, triangles: IntArray, triangle_id: IntArray
) -> tuple[Float64Array, Float64Array]:
    """One image in float64 with the visible triangles given: ``barycentric [H, W, 2]`` and ``depth [H, W]``,
    the smooth functions of the clip positions that :func:`rasterize_vjp` differentiates (Olano and Greer
    1997, eq. 6).
    """
    height, width = triangle_id.shape
    seen = triangle_id >= 0
    corner, x, y = _seen_corners(clip_positions, triangles, triangle_id)
    area = np.stack([x[:, (k + 1) % 3] * y[:, k - 1] - y[:, (k + 1) % 3] * x[:, k - 1] for k in range(3)], 1)
    weight = area / area.sum(1, keepdims=True)
    barycentric, depth = np.zeros((height, width, 2)), np.ones((height, width))
    barycentric[seen] = weight[:, :2]
    depth[seen] = (weight * corner[:, :, 2]).sum(1) / (weight * corner[:, :, 3]).sum(1)
    return barycentric, depth


def rasterize_vjp_reference(
    clip_positions: Float64Array,
    triangles: IntArray,
    triangle_id: IntArray,
    grad_barycentric: Float64Array,
    grad_depth: Float64Array,
) -> Float64Array:
    """One image in float64: ``[V, 4]``, the chain rule through :func:`barycentric_depth_reference` step by
    step. With ``x' = x − X w`` and ``y' = y − Y w`` at the pixel centre (X, Y), ``a₀ = x'₁ y'₂ − y'₁ x'₂``
    and so on around, ``b = a / Σa``: ``∂L/∂a_k = (g_k − Σ g_j b_j) / Σa``.
    """
    seen = triangle_id >= 0
    height, width = triangle_id.shape
    corner, x, y = _seen_corners(clip_positions, triangles, triangle_id)
    area = np.stack([x[:, (k + 1) % 3] * y[:, k - 1] - y[:, (k + 1) % 3] * x[:, k - 1] for k in range(3)], 1)
    total = area.sum(1, keepdims=True)
    b = area / total
    w = (b * corner[:, :, 3]).sum(1, keepdims=True)
    depth = (b * corner[:, :, 2]).sum(1, keepdims=True) / w
    g_depth = grad_depth[seen][:, None]
    g = np.concatenate([grad_barycentric[seen], np.zeros((len(x), 1))], 1)
    g = g + g_depth * (corner[:, :, 2] - depth * corner[:, :, 3]) / w
    to_area = (g - (g * b).sum(1, keepdims=True)) / total
    terms = np.zeros((len(x), 3, 4))
    for k in range(3):
        m, n = (k + 1) % 3, (k + 2) % 3
        terms[:, k, 0] = y[:, m] * to_area[:, n] - y[:, n] * to_area[:, m]
        terms[:, k, 1] = x[:, n] * to_area[:, m] - x[:, m] * to_area[:, n]
    row, column = np.nonzero(seen)
    ndc_x, ndc_y = (column + 0.5) * 2 / width - 1, (row + 0.5) * 2 / height - 1
    terms[:, :, 2] = g_depth * b / w
    terms[:, :, 3] = (
        -terms[:, :, 0] * ndc_x[:, None] - terms[:, :, 1] * ndc_y[:, None] - depth * terms[:, :, 2]
    )
    vertex = triangles[triangle_id[seen]].ravel()
    return vertex_sums_reference(terms.reshape(-1, 4), vertex, len(clip_positions))


def _seen_corners(
    clip_positions: Float64Array, triangles: IntArray, triangle_id: IntArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Of every pixel that is not empty: its triangle's corners ``[n, 3, 4]`` and their x and y relative to
    the pixel centre, times w, ``[n, 3]``.
    """
    height, width = triangle_id.shape
    row, column = np.nonzero(triangle_id >= 0)
    corner = np.asarray(clip_positions[triangles[triangle_id[row, column]]], np.float64)
    x = corner[:, :, 0] - ((column + 0.5) * 2 / width - 1)[:, None] * corner[:, :, 3]
    y = corner[:, :, 1] - ((row + 0.5) * 2 / height - 1)[:, None] * corner[:, :, 3]
    return corner, x, y
