"""How far a pixel is from a silhouette: photos mix foreground and background there."""

from __future__ import annotations

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.vertex_sums import run_pieces

_SOURCE = KernelSource("silhouette_weight")


def silhouette_weight(depth_map: FloatArray, *, jump: float = 0.01, radius: int = 4) -> FloatArray:
    """Weight that rises from 0 on silhouettes to 1 at ``radius`` pixels from them (smoothstep of the
    distance).

    A silhouette is a pixel without surface, or one whose depth differs from a neighbour's by more than
    ``jump``: both sides of a depth discontinuity are silhouettes.

    Args:
        depth_map: f32 ``[B, H, W]``, metres, +infinity where empty (:func:`facewright_kernels.depth_map`).
        jump: metres between neighbouring pixels, > 0.
        radius: pixels of the map, 1 to 64.

    Returns:
        f32 ``[B, H, W]``, 0–1.

    Raises:
        ValueError: wrong shape or dtype, jump or radius out of range.
    """
    check = Boundary("silhouette_weight")
    depth_map = check.array("depth_map", depth_map, "float32", "B H W")
    check.number("jump", jump, 1e-9, 1e9)
    check.number("radius", radius, 1, 64)
    xp = array_module(depth_map)
    marks = xp.empty(depth_map.shape, np.uint8)
    squared = xp.empty(depth_map.shape, np.float32)
    weight: FloatArray = xp.empty(depth_map.shape, np.float32)
    shape = depth_map.shape
    segment = _segment(depth_map)
    pieces = run_pieces(shape[0] * shape[1], shape[2], segment)
    _SOURCE.launch("mark_silhouettes", pieces, depth_map, marks, *shape, jump, segment)
    _SOURCE.launch("row_distance", pieces, marks, squared, *shape, radius, segment)
    _SOURCE.launch("silhouette_weight", pieces, squared, weight, *shape, radius, segment)
    return weight


def _segment(depth_map: FloatArray) -> int:
    """Columns that an index walks."""
    return max(int(depth_map.shape[2]), 1) if isinstance(depth_map, np.ndarray) else 1


def silhouette_weight_reference(depth_map: Float64Array, jump: float, radius: int) -> Float64Array:
    """One map in float64: distance to the nearest marked pixel, by trying them all."""
    padded = np.pad(depth_map, 1, mode="edge")
    with np.errstate(invalid="ignore"):
        steps = [
            np.abs(padded[1:-1, :-2] - depth_map),
            np.abs(padded[1:-1, 2:] - depth_map),
            np.abs(padded[:-2, 1:-1] - depth_map),
            np.abs(padded[2:, 1:-1] - depth_map),
        ]
        marked = ~np.isfinite(depth_map) | ~(np.max(steps, 0) <= jump)
    rows, columns = np.nonzero(marked)
    y, x = np.mgrid[: depth_map.shape[0], : depth_map.shape[1]]
    distance = np.full(depth_map.shape, float(radius))
    for row, column in zip(rows, columns, strict=True):
        distance = np.minimum(distance, np.hypot(y - row, x - column))
    t = distance / radius
    return np.asarray(t * t * (3 - 2 * t), np.float64)
