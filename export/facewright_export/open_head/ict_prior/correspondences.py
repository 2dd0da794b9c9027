"""What is known to correspond between the open head and ICT-FaceKit's mean: landmarks, lids and lips.

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

from facewright_export.open_head.ict_prior.surface import SurfacePoints
from facewright_kernels.rasterize import rasterize

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Multi-PIE landmarks: (vertex of ICT-FaceKit by its README, vertex of MakeHuman's base mesh hm08). Where the
#: 478-point network sees them on MakeHuman's mean, to the nearest vertex; they only lead the first rounds.
#: Brows, nose, eyes, lips, chin.
LANDMARKS: Final = (
    *((268, 5261), (493, 232), (1914, 231), (2044, 223), (1401, 233)),
    *((3615, 7006), (4240, 6997), (4114, 7004), (2734, 7005), (2509, 11869)),
    *((978, 136), (4527, 134), (4942, 5063), (4857, 5134)),
    *((1140, 286), (2075, 308), (1147, 312), (4269, 7072), (3360, 7055)),
    *((1507, 22), (1542, 6762), (1537, 6763), (1528, 66), (1518, 1070), (1511, 1068)),
    *((3742, 6850), (3751, 13359), (3756, 13358), (3721, 6806), (3725, 7759), (3732, 7762)),
    *((5708, 3737), (5695, 5354), (2081, 456), (0, 455), (4275, 7215), (6200, 11956), (6213, 10405)),
    *((6346, 7239), (6461, 7241), (5518, 492), (5957, 486), (5841, 484), (966, 5296)),
)
#: How many of them are brows, nose and eyes, which hardly move with an expression.
RIGID_LANDMARKS: Final = 31
#: Corners of the mouth, subject's right and left, as (ICT-FaceKit, hm08) vertices.
MOUTH_CORNERS: Final = ((5708, 3737), (6213, 10405))

_PICTURE: Final = 1500
_EYE_EXTENT: Final = 0.022  # metres: half of the picture's side
_MOUTH_EXTENT: Final = 0.04
#: The skin this near to the mouth's rim, along the surface, belongs to a lip.
_LIP_REACH: Final = 0.012
#: Points of a lid's line and of a lip's, and where the lid's begin and end (at the corners lids overlap).
_LID_POINTS: Final = 25
_LID_SHARE: Final = (0.02, 0.98)
_LIP_POINTS: Final = 41
#: Lips are compared up to this share of the way to the corners.
_LIP_SHARE: Final = 0.98


@dataclass(frozen=True)
class SeenFace:
    """A head as its lids and lips are looked for: ``vertices`` float64 [V, 3]; ``skin`` int64 [N, 3]
    triangles of the skin with its cavities, ``outer`` int64 [M, 3] of those without; ``eyes`` of the left and
    the right eyeball; ``corners`` of the mouth, vertices, right and left.
    """

    vertices: FloatArray
    skin: IntArray
    outer: IntArray
    eyes: tuple[IntArray, IntArray]
    corners: tuple[int, int]


def seen_curves(face: SeenFace) -> list[SurfacePoints]:
    """Both lids of either eye, both lips, each as points in even steps from one corner to the other, and the
    corners of the mouth.
    """
    curves = []
    for eye in face.eyes:
        curves += [_resampled(face, lid, _LID_POINTS, _LID_SHARE) for lid in lid_lines(face, eye)]
    # the corners of the mouth themselves, and the last of the outer skin behind them
    rim = _mouth_rim(face)
    ends = [rim[face.vertices[rim, 0].argmin()], rim[face.vertices[rim, 0].argmax()]]
    curves.append(vertex_points(np.array([*face.corners, *ends])))
    right, left = sorted(face.vertices[list(face.corners), 0] * _LIP_SHARE)
    for lip in lip_lines(face):
        across = lip.of(face.vertices)[:, 0]
        between = lip.taken(np.flatnonzero((across >= right) & (across <= left)))
        curves.append(_resampled(face, between, _LIP_POINTS, (0.0, 1.0)))
    return curves


def vertex_points(vertices: IntArray) -> SurfacePoints:
    """Vertices int64 [N] as points."""
    return SurfacePoints(np.tile(vertices[:, None], 3), np.tile([1.0, 0.0, 0.0], (len(vertices), 1)))


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


def _mouth_rim(face: SeenFace) -> IntArray:
    """The border of the outer skin around the mouth, vertices in order."""
    middle = face.vertices[list(face.corners)].mean(axis=0)
    loops = border_loops(face.outer)
    return min(loops, key=lambda loop: float(np.linalg.norm(face.vertices[loop].mean(axis=0) - middle)))


def lip_lines(face: SeenFace) -> tuple[SurfacePoints, SurfacePoints]:
    """Where the upper and the lower lip are last seen before they meet, column by column."""
    rim = _mouth_rim(face)
    centre = face.vertices[list(face.corners)].mean(axis=0)
    across = face.vertices[rim, 0]
    turned = np.roll(rim, -int(across.argmax()))
    split = int(face.vertices[turned, 0].argmin())
    halves = sorted((turned[1:split], turned[split + 1 :]), key=lambda half: face.vertices[half, 1].mean())
    from_lower, from_upper = (_surface_distance(face, half) for half in halves)
    of_upper = from_upper < from_lower
    near = np.minimum(from_lower, from_upper) < _LIP_REACH
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
