"""Lids and lips of a head as curves, which correspond between any two heads.

Lids and lips are compared as they are seen from the front: the line at which skin ends and eyeball begins,
and the line at which the lips meet. Edges of the meshes would not do: the rims of the two meshes' cavities
lie at different depths behind these lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from facewright_export.head_correspondence.surface import SurfacePoints
from facewright_kernels.rasterize import rasterize

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PICTURE: Final = 1500
_EYE_EXTENT: Final = 0.022  # metres: half of the picture's side
_MOUTH_EXTENT: Final = 0.04
#: The skin this near to what is known of a lip, along the surface, belongs to it.
LIP_REACH: Final = 0.012
#: Skin is of one lip for certain where the other is farther by this, along the surface.
_LIPS_APART: Final = 0.003
#: Points of a lid's line and of a lip's, and where the lid's begin and end (at the corners lids overlap).
LID_POINTS: Final = 25
LID_SHARE: Final = (0.02, 0.98)
LIP_POINTS: Final = 41
#: Lips are compared from here to there on the way from corner to corner.
LIP_SHARE: Final = (0.01, 0.99)


@dataclass(frozen=True)
class SeenFace:
    """A head as its lids and lips are looked for, near head space: metres, +Y up, +Z out of the face.

    Args:
        vertices: float64 [V, 3].
        skin: int64 [N, 3], triangles of the skin with its cavities.
        eyes: triangles of the left and the right eyeball; () where they are no parts of their own.
        corners: of the mouth, float64 [2, 3], right and left.
        lips: vertices of the lower and of the upper lip: what is nearer to one along the skin is of that lip.
        lip_reach: how far from them at most, metres.
    """

    vertices: FloatArray
    skin: IntArray
    eyes: tuple[IntArray, ...]
    corners: FloatArray
    lips: tuple[IntArray, IntArray]
    lip_reach: float = LIP_REACH


def seen_lids(face: SeenFace) -> list[SurfacePoints]:
    """Both lids of either eye, each as points in even steps from one corner to the other."""
    return [_resampled(face, lid, LID_POINTS, LID_SHARE) for eye in face.eyes for lid in lid_lines(face, eye)]


def seen_lips(face: SeenFace, share: tuple[float, float] = LIP_SHARE) -> list[SurfacePoints]:
    """Both lips, upper and lower, each as points in even steps.

    Args:
        face: the head.
        share: from where to where, as shares of the way from the right corner of the mouth to the left one.
    """
    right, left = face.corners[0, 0] + np.array(share) * (face.corners[1, 0] - face.corners[0, 0])
    curves = []
    for lip in lip_lines(face):
        across = lip.of(face.vertices)[:, 0]
        between = lip.taken(np.flatnonzero((across >= right) & (across <= left)))
        curves.append(_resampled(face, between, LIP_POINTS, (0.0, 1.0)))
    return curves


def seen_lip_share(face: SeenFace) -> tuple[float, float]:
    """From where to where the lips are seen to meet, as `seen_lips` takes it; (0, 0) where they are not."""
    across = lip_lines(face)[0].of(face.vertices)[:, 0]
    if not len(across):
        return 0.0, 0.0
    share = (across - face.corners[0, 0]) / (face.corners[1, 0] - face.corners[0, 0])
    return max(float(share.min()), LIP_SHARE[0]), min(float(share.max()), LIP_SHARE[1])


def border_loops(triangles: IntArray) -> list[IntArray]:
    """The closed borders of a mesh, each as its vertices in order."""
    edges = {(int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    left, loops = set(following), []
    while left:
        loop = [left.pop()]
        while following[loop[-1]] in left:
            loop.append(following[loop[-1]])
            left.discard(loop[-1])
        loops.append(np.array(loop, np.int64))
    return loops


def _front_view(
    vertices: FloatArray, triangles: IntArray, centre: FloatArray, extent: float
) -> tuple[IntArray, FloatArray]:
    """Triangle [H, W] (-1: none) and barycentric weights [H, W, 3] of what is seen from the front."""
    x, y, z = (vertices - centre).T
    clip = np.stack([x / extent, -y / extent, -2 * z, np.ones(len(x))], axis=1).astype(np.float32)
    raster = rasterize(clip[None], np.ascontiguousarray(triangles, np.int32), _PICTURE, _PICTURE)
    first = raster.barycentric[0].astype(np.float64)
    weights = np.concatenate([first, 1 - first.sum(axis=2, keepdims=True)], axis=2)
    return raster.triangle_id[0].astype(np.int64), weights


def lid_lines(face: SeenFace, eye: IntArray) -> tuple[SurfacePoints, SurfacePoints]:
    """The upper and the lower lid just above and below what is seen of the eyeball ``eye`` [N, 3], column by
    column; none where the lids are closed.
    """
    triangles = np.concatenate([face.skin, eye])
    centre = face.vertices[eye].mean(axis=(0, 1))
    seen, weights = _front_view(face.vertices, triangles, centre, _EYE_EXTENT)
    places: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for column in range(_PICTURE):
        rows = np.flatnonzero(seen[:, column] >= len(face.skin))
        if len(rows) == 0:
            continue
        above, below = int(rows.min()) - 1, int(rows.max()) + 1
        if all(0 <= seen[row, column] < len(face.skin) for row in (above, below)):
            places[0].append((above, column))
            places[1].append((below, column))
    upper, lower = (tuple(np.array(line, np.int64).reshape(-1, 2).T) for line in places)
    return (
        SurfacePoints(triangles[seen[upper]], weights[upper]),
        SurfacePoints(triangles[seen[lower]], weights[lower]),
    )


def mouth_rim(vertices: FloatArray, outer: IntArray, corners: FloatArray) -> IntArray:
    """The border of the outer skin ``outer`` [N, 3] around the mouth, vertices in order from its left end."""
    middle = corners.mean(axis=0)
    loops = border_loops(outer)
    rim = min(loops, key=lambda loop: float(np.linalg.norm(vertices[loop].mean(axis=0) - middle)))
    return np.roll(rim, -int(vertices[rim, 0].argmax()))


def rim_lips(vertices: FloatArray, outer: IntArray, corners: FloatArray) -> tuple[IntArray, IntArray]:
    """The lower and the upper half of `mouth_rim`."""
    rim = mouth_rim(vertices, outer, corners)
    split = int(vertices[rim, 0].argmin())
    halves = sorted((rim[1:split], rim[split + 1 :]), key=lambda half: vertices[half, 1].mean())
    return halves[0], halves[1]


def lip_sides(face: SeenFace) -> npt.NDArray[np.int8]:
    """int8 [V]: 1 on the upper lip, -1 on the lower one, 0 elsewhere and near the corners, where both are."""
    lower, upper = (_surface_distance(face, lip) for lip in face.lips)
    sides = np.zeros(len(face.vertices), np.int8)
    near = np.flatnonzero(np.minimum(lower, upper) < face.lip_reach)
    sides[near[lower[near] - upper[near] > _LIPS_APART]] = 1
    sides[near[upper[near] - lower[near] > _LIPS_APART]] = -1
    return sides


def lip_lines(face: SeenFace) -> tuple[SurfacePoints, SurfacePoints]:
    """Where the upper and the lower lip are last seen before they meet, column by column."""
    centre = face.corners.mean(axis=0)
    from_lower, from_upper = (_surface_distance(face, lip) for lip in face.lips)
    of_upper = from_upper < from_lower
    near = np.minimum(from_lower, from_upper) < face.lip_reach
    seen, weights = _front_view(face.vertices, face.skin, centre, _MOUTH_EXTENT)
    corners = face.skin[np.maximum(seen, 0)]
    lip = (seen >= 0) & near[corners].all(axis=2)
    upper_lip = of_upper[corners[..., 0]]
    places: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for column in range(_PICTURE):
        upper = np.flatnonzero(lip[:, column] & upper_lip[:, column])
        lower = np.flatnonzero(lip[:, column] & ~upper_lip[:, column])
        # a long way between the two is no pair of lips that meet
        if len(upper) and len(lower) and 0 < lower.min() - upper.max() <= 80:
            places[0].append((int(upper.max()), column))
            places[1].append((int(lower.min()), column))
    upper_line, lower_line = (tuple(np.array(line, np.int64).reshape(-1, 2).T) for line in places)
    return (
        SurfacePoints(corners[upper_line], weights[upper_line]),
        SurfacePoints(corners[lower_line], weights[lower_line]),
    )


def _surface_distance(face: SeenFace, sources: IntArray) -> FloatArray:
    """Distances [V] along edges of the skin from the nearest of ``sources``, metres."""
    edges = np.concatenate([face.skin[:, [0, 1]], face.skin[:, [1, 2]], face.skin[:, [2, 0]]])
    # an edge of two triangles would count twice in a sparse sum
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    length = np.linalg.norm(np.diff(face.vertices[edges], axis=1)[:, 0], axis=1) + 1e-9
    count = len(face.vertices)
    graph = csr_array((length, (edges[:, 0], edges[:, 1])), shape=(count, count))
    distance: FloatArray = dijkstra(graph, directed=False, indices=sources, min_only=True)
    return distance


def _resampled(face: SeenFace, line: SurfacePoints, count: int, share: tuple[float, float]) -> SurfacePoints:
    # pixels make a staircase of a line: its length is measured on a smooth one
    smooth = uniform_filter1d(line.of(face.vertices)[:, :2], 15, axis=0)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(smooth, axis=0), axis=1))])
    steps = np.linspace(*share, count) * length[-1]
    return line.taken(np.abs(length[None] - steps[:, None]).argmin(axis=1))
