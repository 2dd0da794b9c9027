"""Triangle meshes as surfaces: normals, closest points, the membrane that fills what lies between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import cKDTree

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Triangles with the nearest centres among which the closest point is looked for.
_NEAREST: Final = 24
#: A point lies on the border where the vertices inside have no larger share of it.
_ON_BORDER: Final = 1e-6


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a mesh: ``corners`` int64 [N, 3] vertices, ``weights`` float64 [N, 3] barycentric."""

    corners: IntArray
    weights: FloatArray

    def of(self, vertices: npt.NDArray[np.floating]) -> FloatArray:
        """The points float64 [N, C] on ``vertices`` [V, C], or what else the vertices have."""
        points: FloatArray = np.einsum("nk,nkc->nc", self.weights, vertices[self.corners])
        return points

    @property
    def nearest(self) -> IntArray:
        """The vertex int64 [N] with the largest share of each point."""
        vertices: IntArray = self.corners[np.arange(len(self.corners)), self.weights.argmax(axis=1)]
        return vertices

    def taken(self, rows: npt.NDArray[np.generic]) -> SurfacePoints:
        """Some of the points."""
        return SurfacePoints(self.corners[rows], self.weights[rows])

    def matrix(self, columns: IntArray, count: int) -> sparse.csr_array:
        """The map [N, count] from vertices to points, vertex v being column ``columns[v]``."""
        rows = np.repeat(np.arange(len(self.corners)), 3)
        place = columns[self.corners.ravel()]
        return sparse.csr_array((self.weights.ravel(), (rows, place)), shape=(len(self.corners), count))


def vertex_points(vertices: IntArray) -> SurfacePoints:
    """Vertices int64 [N] as points."""
    return SurfacePoints(np.tile(vertices[:, None], 3), np.tile([1.0, 0.0, 0.0], (len(vertices), 1)))


class Surface:
    """A triangle mesh to which closest points are looked for.

    Args:
        vertices: float64 [V, 3].
        triangles: int64 [F, 3].
        ends_at_border: whether a point whose closest one lies on an open border has none, as it lies beyond
            what is there: a mask's edge.
        lips: int8 [V], 1 on the upper lip, -1 on the lower one, 0 elsewhere; a point of one lip has no
            closest one on the other. None: nothing is known.
    """

    def __init__(
        self,
        vertices: FloatArray,
        triangles: IntArray,
        ends_at_border: bool = False,
        lips: npt.NDArray[np.int8] | None = None,
    ) -> None:
        self.vertices = vertices
        self._triangles = triangles
        self._corners = vertices[triangles]
        normals = triangle_normals(vertices, triangles)
        self._normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
        self._tree = cKDTree(self._corners.mean(axis=1))
        lip_of_corners = np.zeros((len(triangles), 3), np.int8) if lips is None else lips[triangles]
        self._lip = np.where(np.ptp(lip_of_corners, axis=1) < 2, lip_of_corners.sum(axis=1), 0).clip(-1, 1)
        self._border = np.zeros(len(vertices), bool)
        if ends_at_border:
            self._border[border_edges(triangles)] = True

    def closest(
        self,
        points: FloatArray,
        normals: FloatArray,
        least_cosine: float,
        lips: npt.NDArray[np.int8] | None = None,
    ) -> tuple[SurfacePoints, FloatArray, FloatArray]:
        """The closest points to ``points`` [N, 3] whose normals agree with ``normals`` [N, 3] to a cosine,
        and which are not on the other lip than ``lips`` [N] says.

        Returns them, their distances [N] (infinite where there is none near, and beyond the border) and
        normals [N, 3].
        """
        near = self._tree.query(points, k=_NEAREST)[1]
        weights, distance = _closest_in_triangles(points, self._corners[near])
        agree = np.einsum("nkc,nc->nk", self._normals[near], normals) > least_cosine
        if lips is not None:
            agree &= self._lip[near] * lips[:, None] >= 0
        distance = np.where(agree, distance, np.inf)
        best = distance.argmin(axis=1)
        rows = np.arange(len(points))
        chosen = near[rows, best]
        found = SurfacePoints(self._triangles[chosen], weights[rows, best])
        inside = (found.weights * ~self._border[found.corners]).sum(axis=1)
        least = np.where(inside > _ON_BORDER, distance[rows, best], np.inf)
        return found, least, self._normals[chosen]


def _closest_in_triangles(points: FloatArray, corners: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights [N, K, 3] and distance [N, K] of the closest point in each of K triangles [N, K, 3, 3] a
    point."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    point = points[:, None]
    ab, ac, ap = b - a, c - a, point - a
    aa, bb, cross = (ab * ab).sum(-1), (ac * ac).sum(-1), (ab * ac).sum(-1)
    along, up = (ab * ap).sum(-1), (ac * ap).sum(-1)
    scale = np.maximum(aa * bb - cross**2, 1e-30)
    v, w = (bb * along - cross * up) / scale, (aa * up - cross * along) / scale
    candidates = [np.stack([1 - v - w, v, w], axis=-1)]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        start, side = corners[..., first, :], corners[..., second, :] - corners[..., first, :]
        share = ((point - start) * side).sum(-1) / np.maximum((side * side).sum(-1), 1e-30)
        on_side = np.zeros((*share.shape, 3))
        on_side[..., second] = np.clip(share, 0, 1)
        on_side[..., first] = 1 - on_side[..., second]
        candidates.append(on_side)
    weights = np.stack(candidates, axis=-2)
    distance = np.linalg.norm(np.einsum("nkeb,nkbc->nkec", weights, corners) - point[:, :, None], axis=-1)
    distance[..., 0] = np.where((weights[..., 0, :] >= 0).all(-1), distance[..., 0], np.inf)
    best = distance.argmin(axis=-1)[..., None]
    return np.take_along_axis(weights, best[..., None], -2)[..., 0, :], np.take_along_axis(
        distance, best, -1
    )[..., 0]


def border_edges(triangles: IntArray) -> IntArray:
    """The edges int64 [E, 2] that one triangle alone has."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    unique, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    alone: IntArray = unique[count == 1]
    return alone


def triangle_normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Normals float64 [F, 3], of twice the triangles' areas."""
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    normals: FloatArray = np.cross(b - a, c - a)
    return normals


def unit_vertex_normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """Unit normals float64 [V, 3]; zero where no triangle is."""
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], triangle_normals(vertices, triangles))
    unit: FloatArray = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
    return unit


def sphere(points: FloatArray) -> tuple[FloatArray, float]:
    """Centre [3] and radius of the sphere through ``points`` [N, 3] in the least-squares sense."""
    system = np.concatenate([2 * points, np.ones((len(points), 1))], axis=1)
    solution = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
    return solution[:3], float(np.sqrt(solution[3] + solution[:3] @ solution[:3]))
