"""Lower levels of detail by half-edge collapse: fewer triangles over the same UV vertices.

A collapse moves a vertex onto a neighbour, so what is left is a subset of the vertices with their texture
coordinates, morph targets and skin weights. The cost is the quadric error of Garland and Heckbert ("Surface
simplification using quadric error metrics", 1997) summed over the neutral head and several expressions, so
that vertices stay where the face moves. Seams collapse only along themselves and on both sides at once,
borders only along themselves.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: A triangle's normal may not turn by a larger angle than this cosine in one collapse, in any pose.
LEAST_NORMAL_COSINE: Final = 0.3
#: Weight of the planes that hold an open border in place, relative to the triangles.
BORDER_WEIGHT: Final = 4.0
#: Share of the squared edge length in the cost, which keeps triangles compact where the surface is flat.
LENGTH_WEIGHT: Final = 2e-3


@dataclass(frozen=True)
class LodSource:
    """The full mesh. ``poses`` float64 [P, V, 3], the neutral head first; ``importance`` float64 [V] scales
    the cost.

    ``uv`` float64 [T, 2], ``uv_vertex`` int64 [T], ``uv_triangles`` int64 [F, 3], ``part`` uint8 [F].
    """

    poses: FloatArray
    importance: FloatArray
    uv: FloatArray
    uv_vertex: IntArray
    uv_triangles: IntArray
    part: npt.NDArray[np.uint8]


def simplify(source: LodSource, triangle_counts: list[int]) -> list[tuple[IntArray, npt.NDArray[np.uint8]]]:
    """Meshes with at most the given numbers of triangles, each made from the one before: UV triangles and
    parts.

    Raises ValueError if a count cannot be reached without a flip or a broken seam.
    """
    mesh = _CollapsingMesh(source)
    levels = []
    for count in triangle_counts:
        if not mesh.collapse_to(count):
            raise ValueError(
                f"{mesh.triangle_count} triangles are left, wanted {count}: no collapse is possible"
            )
        levels.append(mesh.level())
    return levels


class _CollapsingMesh:
    def __init__(self, source: LodSource) -> None:
        self._poses = source.poses
        self._uv = source.uv
        self._uv_vertex = source.uv_vertex
        self._importance = source.importance
        self._part = source.part
        self._triangles: dict[int, tuple[int, int, int]] = {
            row: (t[0], t[1], t[2]) for row, t in enumerate(source.uv_triangles.tolist())
        }
        self._around: list[set[int]] = [set() for _ in range(source.poses.shape[1])]
        for row, triangle in self._triangles.items():
            for corner in triangle:
                self._around[self._uv_vertex[corner]].add(row)
        self._quadrics = self._face_quadrics(source)
        self._version = [0] * source.poses.shape[1]
        self._tried: dict[int, set[int]] = {}
        self._heap: list[tuple[float, int, int, int]] = []
        for vertex in range(source.poses.shape[1]):
            self._push(vertex)

    @property
    def triangle_count(self) -> int:
        return len(self._triangles)

    def level(self) -> tuple[IntArray, npt.NDArray[np.uint8]]:
        rows = sorted(self._triangles)
        return np.array([self._triangles[row] for row in rows], np.int64), self._part[rows]

    def collapse_to(self, count: int) -> bool:
        while len(self._triangles) > count and self._heap:
            _, vertex, target, version = heapq.heappop(self._heap)
            if version != self._version[vertex]:
                continue
            if not self._is_valid(vertex, target):
                # try the next best neighbour
                self._push(vertex, {target}, keep_version=True)
                continue
            self._collapse(vertex, target)
        return len(self._triangles) <= count

    def _face_quadrics(self, source: LodSource) -> FloatArray:
        """Quadrics [V, P, 10] of the planes around each vertex, weighted by area and importance."""
        poses, vertex_count = source.poses.shape[:2]
        quadrics = np.zeros((vertex_count, poses, 10))
        triangles = self._uv_vertex[source.uv_triangles]
        importance = source.importance[triangles].max(axis=1)
        edges: dict[tuple[int, int], list[int]] = {}
        for row, triangle in enumerate(triangles.tolist()):
            for i in range(3):
                a, b = triangle[i], triangle[(i + 1) % 3]
                edges.setdefault((min(a, b), max(a, b)), []).append(row)
        for pose in range(poses):
            points = source.poses[pose]
            a, b, c = points[triangles].transpose(1, 0, 2)
            normal = np.cross(b - a, c - a)
            area = np.linalg.norm(normal, axis=1) / 2
            unit = normal / np.maximum(2 * area, 1e-18)[:, None]
            planes = _plane_quadric(unit, a) * (area * importance)[:, None]
            for corner in range(3):
                np.add.at(quadrics[:, pose], triangles[:, corner], planes)
            for (u, v), rows in edges.items():
                if len(rows) == 1:
                    along = points[v] - points[u]
                    across = np.cross(along, unit[rows[0]])
                    length = float(np.linalg.norm(along))
                    plane = _plane_quadric((across / max(length, 1e-12))[None], points[u][None])[0]
                    weight = BORDER_WEIGHT * length**2 * importance[rows[0]]
                    quadrics[[u, v], pose] += plane * weight
        return quadrics

    def _neighbours(self, vertex: int) -> set[int]:
        found = {int(self._uv_vertex[c]) for row in self._around[vertex] for c in self._triangles[row]}
        found.discard(vertex)
        return found

    def _push(self, vertex: int, tried: set[int] | None = None, keep_version: bool = False) -> None:
        """Queue the cheapest collapse of a vertex that has not been tried."""
        if not keep_version:
            self._version[vertex] += 1
            self._tried[vertex] = set()
        self._tried[vertex] |= tried or set()
        candidates = sorted(self._neighbours(vertex) - self._tried[vertex])
        if not candidates:
            return
        points = self._poses[:, candidates]  # [P, N, 3]
        cost = np.zeros(len(candidates))
        quadric = self._quadrics[vertex]
        for pose in range(len(self._poses)):
            cost += _evaluate(quadric[pose], points[pose])
        length = ((points[0] - self._poses[0, vertex]) ** 2).sum(axis=1)
        cost += LENGTH_WEIGHT * length * length.mean() * self._importance[vertex]
        best = int(cost.argmin())
        heapq.heappush(self._heap, (float(cost[best]), vertex, candidates[best], self._version[vertex]))

    def _uv_targets(self, vertex: int, target: int) -> dict[int, int] | None:
        """UV vertex of the target for each UV vertex of the collapsing one, if the seams allow it."""
        targets: dict[int, int] = {}
        copies = set()
        for row in self._around[vertex]:
            own = next(c for c in self._triangles[row] if self._uv_vertex[c] == vertex)
            copies.add(own)
            for corner in self._triangles[row]:
                if self._uv_vertex[corner] == target and targets.setdefault(own, corner) != corner:
                    return None
        return targets if len(targets) == len(copies) else None

    def _is_valid(self, vertex: int, target: int) -> bool:
        targets = self._uv_targets(vertex, target)
        if targets is None:
            return False
        shared = self._around[vertex] & self._around[target]
        common = self._neighbours(vertex) & self._neighbours(target)
        if len(common) != len(shared):
            return False  # the collapse would pinch the surface
        if len(shared) == 1 and len(self._around[vertex]) <= 1:
            return False
        # a vertex of an open border leaves it only along the border
        if self._on_border(vertex) and len(shared) != 1:
            return False
        if len({int(self._part[row]) for row in self._around[vertex]}) != 1:
            return False
        kept = sorted(self._around[vertex] - shared)
        if not kept:
            return False
        old = np.array([self._triangles[row] for row in kept])
        new = old.copy()
        for own, other in targets.items():
            new[old == own] = other
        if _uv_areas(self._uv[new]).min() <= 1e-9:
            return False
        before = self._poses[:, self._uv_vertex[old]]
        after = self._poses[:, self._uv_vertex[new]]
        was = np.cross(before[:, :, 1] - before[:, :, 0], before[:, :, 2] - before[:, :, 0])
        becomes = np.cross(after[:, :, 1] - after[:, :, 0], after[:, :, 2] - after[:, :, 0])
        size = np.linalg.norm(was, axis=2) * np.linalg.norm(becomes, axis=2)
        return bool(((was * becomes).sum(axis=2) > LEAST_NORMAL_COSINE * size).all())

    def _on_border(self, vertex: int) -> bool:
        counts: dict[int, int] = {}
        for row in self._around[vertex]:
            for corner in self._triangles[row]:
                other = int(self._uv_vertex[corner])
                counts[other] = counts.get(other, 0) + 1
        return any(count == 1 for other, count in counts.items() if other != vertex)

    def _collapse(self, vertex: int, target: int) -> None:
        targets = self._uv_targets(vertex, target)
        assert targets is not None
        touched = self._neighbours(vertex)
        for row in sorted(self._around[vertex]):
            triangle = self._triangles[row]
            corners = [int(self._uv_vertex[c]) for c in triangle]
            if target in corners:
                for corner in corners:
                    self._around[corner].discard(row)
                del self._triangles[row]
                continue
            a, b, c = (targets.get(corner, corner) for corner in triangle)
            self._triangles[row] = (a, b, c)
            self._around[target].add(row)
        self._around[vertex] = set()
        self._version[vertex] += 1
        self._quadrics[target] += self._quadrics[vertex]
        for neighbour in sorted(touched):
            self._push(neighbour)


def _plane_quadric(normal: FloatArray, point: FloatArray) -> FloatArray:
    """Upper triangle [N, 10] of ``p pᵀ`` for planes ``p = (n, −n·x)``."""
    plane = np.concatenate([normal, -(normal * point).sum(axis=1, keepdims=True)], axis=1)
    rows, columns = np.triu_indices(4)
    quadric: FloatArray = plane[:, rows] * plane[:, columns]
    return quadric


def _evaluate(quadric: FloatArray, points: FloatArray) -> FloatArray:
    """Squared distance sums [N] of ``points`` [N, 3] from the planes of ``quadric`` [10]."""
    x, y, z = points.T
    error: FloatArray = (
        quadric[0] * x * x
        + 2 * quadric[1] * x * y
        + 2 * quadric[2] * x * z
        + 2 * quadric[3] * x
        + quadric[4] * y * y
        + 2 * quadric[5] * y * z
        + 2 * quadric[6] * y
        + quadric[7] * z * z
        + 2 * quadric[8] * z
        + quadric[9]
    )
    return error


def _uv_areas(corners: FloatArray) -> FloatArray:
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas: FloatArray = -(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    return areas
