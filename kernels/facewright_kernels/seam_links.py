"""Texels that meet across the cuts of a UV layout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import Boundary, FloatArray, IntArray
from facewright_kernels.texel_map import TexelMap


def seam_links(uv: FloatArray, uv_triangles: IntArray, triangles: IntArray, texel_map: TexelMap) -> IntArray:
    """Pairs of texels on the two sides of every edge where the surface continues and the UV layout does not.

    Edges are walked in steps of half a texel of the longer side; on each side the texel half a texel inside
    the triangle is taken. Made once per layout and size; NumPy only.

    Args:
        uv: f32 ``[T, 2]``.
        uv_triangles, triangles: i32 ``[F, 3]``, UV and position vertices of the same corners.
        texel_map: of this layout; texels without a surface are not linked.

    Returns:
        i32 ``[L, 2]``, flat texel indices (row · S + column), each pair once, lower index first.

    Raises:
        ValueError: wrong shape or dtype, an index out of range.
    """
    check = Boundary("seam_links")
    uv = check.array("uv", uv, "float32", "T 2")
    uv_triangles = check.array("uv_triangles", uv_triangles, "int32", "F 3")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    triangle_id = check.array("texel_map.triangle_id", texel_map.triangle_id, "int32", "S S")
    check.indices("uv_triangles", uv_triangles, check.size("T"))
    first, second = _cut_edges(uv_triangles, triangles)
    if not len(first):
        return np.zeros((0, 2), np.int32)
    size = texel_map.size
    inside = triangle_id >= 0
    place = uv.astype(np.float64) * size
    steps = np.ceil(2 * np.maximum(_length(place, first), _length(place, second)).max(initial=0.5)).astype(
        int
    )
    pairs = []
    for k in range(steps):
        ends = [_texels(place, edge, (k + 0.5) / steps, inside) for edge in (first, second)]
        both = (ends[0] >= 0) & (ends[1] >= 0)
        pairs.append(np.stack([ends[0][both], ends[1][both]], 1))
    joined = np.sort(np.concatenate(pairs), axis=1)
    joined = joined[joined[:, 0] != joined[:, 1]]
    return np.ascontiguousarray(np.unique(joined, axis=0), np.int32)


def _cut_edges(
    uv_triangles: IntArray, triangles: IntArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The two UV images ``[E, 3]`` (start, end, opposite corner) of each surface edge that the layout
    cuts.
    """
    corners = np.arange(3)
    start, end = triangles[:, corners].ravel(), triangles[:, (corners + 1) % 3].ravel()
    image = np.stack(
        [uv_triangles, uv_triangles[:, (corners + 1) % 3], uv_triangles[:, (corners + 2) % 3]], -1
    ).reshape(-1, 3)
    turned = start > end
    image[turned] = image[turned][:, [1, 0, 2]]
    key = np.stack([np.minimum(start, end), np.maximum(start, end)], 1)
    order = np.lexsort((key[:, 1], key[:, 0]))
    key, image = key[order], image[order].astype(np.int64)
    same_edge = (key[1:] == key[:-1]).all(1)
    cut = same_edge & (image[1:, :2] != image[:-1, :2]).any(1)
    at = np.nonzero(cut)[0]
    return image[at], image[at + 1]


def _length(place: npt.NDArray[np.float64], edge: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.linalg.norm(place[edge[:, 1]] - place[edge[:, 0]], axis=1))


def _texels(
    place: npt.NDArray[np.float64],
    edge: npt.NDArray[np.int64],
    along: float,
    inside: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """Flat index of the texel beside each edge, −1 where there is none."""
    start, end, opposite = (place[edge[:, k]] for k in range(3))
    point = start + along * (end - start)
    direction = end - start
    inward = (opposite - start) - (
        ((opposite - start) * direction).sum(1) / np.maximum((direction**2).sum(1), 1e-12)
    )[:, None] * direction
    inward /= np.maximum(np.linalg.norm(inward, axis=1), 1e-12)[:, None]
    size = len(inside)
    found = np.full(len(edge), -1, np.int64)
    # The nearest texel centre may lie outside: then one a little further in.
    for depth in (0.5, 1.0, 1.5):
        cell = np.floor(point + depth * inward).astype(np.int64)
        valid = ((cell >= 0) & (cell < size)).all(1)
        cell = np.clip(cell, 0, size - 1)
        take = (found < 0) & valid & inside[cell[:, 1], cell[:, 0]]
        found[take] = cell[take, 1] * size + cell[take, 0]
    return found
