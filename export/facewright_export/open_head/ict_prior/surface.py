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


@dataclass(frozen=True)
class SurfacePoints:
    """Points of a mesh: ``corners`` int64 [N, 3] vertices, ``weights`` float64 [N, 3] barycentric."""

    corners: IntArray
    weights: FloatArray

    def of(self, vertices: FloatArray) -> FloatArray:
        """The points float64 [N, 3] on ``vertices`` [V, 3], or their displacements."""
        points: FloatArray = np.einsum("nk,nkc->nc", self.weights, vertices[self.corners])
        return points

    def taken(self, rows: npt.NDArray[np.generic]) -> SurfacePoints:
        """Some of the points."""
        return SurfacePoints(self.corners[rows], self.weights[rows])

    def matrix(self, columns: IntArray, count: int) -> sparse.csr_array:
        """The map [N, count] from vertices to points, vertex v being column ``columns[v]``."""
        rows = np.repeat(np.arange(len(self.corners)), 3)
        place = columns[self.corners.ravel()]
        return sparse.csr_array((self.weights.ravel(), (rows, place)), shape=(len(self.corners), count))


class Surface:
    """A triangle mesh to which closest points are looked for."""

    def __init__(self, vertices: FloatArray, triangles: IntArray) -> None:
        self.vertices = vertices
        self._triangles = triangles
        self._corners = vertices[triangles]
        normals = triangle_normals(vertices, triangles)
        self._normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-15)
        self._tree = cKDTree(self._corners.mean(axis=1))

    def closest(
        self, points: FloatArray, normals: FloatArray, least_cosine: float
    ) -> tuple[SurfacePoints, FloatArray, FloatArray]:
        """The closest points to ``points`` [N, 3] whose normals agree with ``normals`` [N, 3] to a cosine.

        Returns them, their distances [N] (infinite where no normal near agrees) and normals [N, 3].
        """
        near = self._tree.query(points, k=_NEAREST)[1]
        weights, distance = _closest_in_triangles(points, self._corners[near])
        agree = np.einsum("nkc,nc->nk", self._normals[near], normals) > least_cosine
        distance = np.where(agree, distance, np.inf)
        best = distance.argmin(axis=1)
        rows = np.arange(len(points))
        chosen = near[rows, best]
        found = SurfacePoints(self._triangles[chosen], weights[rows, best])
        return found, distance[rows, best], self._normals[chosen]


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
