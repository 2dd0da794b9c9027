"""Where the landmark network's 478 points lie on the head: the surface points of least robust reprojection
error.

The network's canonical mesh is not available, so the embedding is measured: each landmark is placed where,
over many renders, the network's point and the projected surface point differ least (Geman–McClure error),
counting only renders that see the surface there. Left–right partners are placed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import LANDMARKS_COUNT
from facewright_export.open_head.landmark_observations import LandmarkObservations

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: Errors well above this count little, in metres.
ROBUST_SCALE: Final = 0.004
#: Surface that faces the camera less than this (cosine) does not see.
SEEN_COSINE: Final = 0.15
#: A surface point is a candidate if at least this share of the renders sees it.
LEAST_SEEN: Final = 0.2
#: The neighbourhood of a landmark is looked for in every n-th render; this many vertices go on to all
#: renders.
COARSE_STEP: Final = 16
COARSE_KEPT: Final = 80
#: Subdivisions of a triangle's side when the best place within it is looked for.
SUBDIVISIONS: Final = 6
#: How far inside the mouth's rim the inner lips' landmarks may lie, in metres.
INNER_LIP_DEPTH: Final = 0.006


@dataclass(frozen=True)
class LandmarkEmbedding:
    """``triangles`` int64 [478], ``barycentrics`` float64 [478, 3], ``sigma`` float64 [478] metres.

    ``partner`` int64 [478]: the landmark on the other side of the face.
    """

    triangles: IntArray
    barycentrics: FloatArray
    sigma: FloatArray
    partner: IntArray


def embed_landmarks(head: HeadModel, observed: LandmarkObservations) -> LandmarkEmbedding:
    """Place every landmark; deterministic for the same observations."""
    skin, eyes = _candidates(head)
    error = _Error(head, observed)
    allowed = [skin if landmark < MESH_COUNT else eyes for landmark in range(LANDMARKS_COUNT)]
    partner = _partners(observed)
    triangles = np.zeros(LANDMARKS_COUNT, np.int64)
    barycentrics = np.zeros((LANDMARKS_COUNT, 3))
    sigma = np.zeros(LANDMARKS_COUNT)
    vertex_triangles = _triangles_around(head.triangles, head.vertex_count)
    for landmark in range(LANDMARKS_COUNT):
        other = int(partner[landmark])
        if other < landmark:
            continue
        vertex = error.best_vertex([landmark, other], allowed[landmark])
        rows = _near_triangles(head, vertex, vertex_triangles, allowed[landmark])
        place = error.best_place(landmark, other, rows)
        triangles[landmark], barycentrics[landmark], sigma[landmark] = place
        if other != landmark:
            triangles[other], barycentrics[other] = _mirrored(
                head, triangles[landmark], barycentrics[landmark]
            )
            sigma[other] = sigma[landmark]
    return LandmarkEmbedding(triangles, barycentrics, sigma, partner)


class _Error:
    """Robust reprojection errors of surface points, for a landmark and its partner at the mirrored point."""

    def __init__(self, head: HeadModel, observed: LandmarkObservations) -> None:
        self._head = head
        self._observed = observed
        self._seen = observed.facing > SEEN_COSINE

    def _squared(self, landmark: int, points: FloatArray, renders: slice = slice(None)) -> FloatArray:
        """Squared errors [S, N] in metres of projected ``points`` [S, N, 2] of some renders."""
        apart = points - self._observed.landmarks[renders, landmark, None]
        squared: FloatArray = (apart**2).sum(axis=2) * self._observed.metres_per_pixel[renders, None] ** 2
        return squared

    def best_vertex(self, landmarks: list[int], allowed: BoolArray) -> int:
        """The vertex of least error for ``landmarks[0]``, the other of the pair being at its mirror image."""
        mirror = self._head.mirror_vertex
        enough = self._seen.mean(axis=0) > LEAST_SEEN
        candidates = np.flatnonzero(allowed & enough & enough[mirror])
        if len(landmarks) == 2 and landmarks[0] == landmarks[1]:
            candidates = candidates[mirror[candidates] == candidates]
        # a few renders choose the neighbourhood, all of them the vertex
        for renders, kept in ((slice(None, None, COARSE_STEP), COARSE_KEPT), (slice(None), 1)):
            cost = np.zeros(len(candidates))
            for number, landmark in enumerate(landmarks):
                vertices = candidates if number == 0 else mirror[candidates]
                squared = self._squared(landmark, self._observed.vertices[renders][:, vertices], renders)
                seen = self._seen[renders][:, vertices]
                cost += (seen * squared / (squared + ROBUST_SCALE**2)).sum(axis=0) / np.maximum(
                    seen.sum(axis=0), 1
                )
            candidates = candidates[np.argsort(cost, kind="stable")[:kept]]
        return int(candidates[0])

    def best_place(self, landmark: int, partner: int, rows: IntArray) -> tuple[int, FloatArray, float]:
        """Triangle, barycentric weights [3] and σ (metres, along an axis) of the best place on ``rows``."""
        grid = _barycentric_grid()
        best: tuple[float, int, FloatArray, float] = (np.inf, 0, grid[0], 0.0)
        for row in rows:
            corners = self._head.triangles[row]
            places = grid
            if landmark == partner:
                # on the midline: only weights on its own mirror images
                places = grid[(grid[:, self._head.mirror_vertex[corners] != corners] == 0).all(axis=1)]
            if not len(places):
                continue
            cost, middle = np.zeros(len(places)), []
            for name, vertices in ((landmark, corners), (partner, self._head.mirror_vertex[corners])):
                projected = np.einsum("nk,skc->snc", places, self._observed.vertices[:, vertices])
                seen = self._seen[:, vertices].all(axis=1)
                if seen.mean() < LEAST_SEEN / 2:
                    cost += np.inf
                    continue
                squared = self._squared(name, projected)[seen]
                cost += (squared / (squared + ROBUST_SCALE**2)).mean(axis=0)
                middle.append(np.sqrt(np.median(squared, axis=0)))
            first = int(cost.argmin())
            if cost[first] < best[0] - 1e-12:
                # the median of a Rayleigh distribution is 1.1774 σ
                spread = float(np.mean([m[first] for m in middle])) / 1.1774
                best = (float(cost[first]), int(row), places[first], spread)
        return best[1], best[2], best[3]


def _candidates(head: HeadModel) -> tuple[BoolArray, BoolArray]:
    """Vertices that landmarks may lie on: outer skin with the inner rim of the lips; and the eyeballs."""
    on_skin = np.zeros(head.vertex_count, bool)
    on_skin[head.triangles[head.triangle_part == 0]] = True
    inside = head.region("mouth_inside") > 0.5
    rim = np.flatnonzero(on_skin & ~inside & (head.region("lips") > 0.5))
    distance = cKDTree(head.vertices_mean[rim]).query(head.vertices_mean)[0]
    on_skin &= ~inside | (distance < INNER_LIP_DEPTH)
    # inside the eye sockets no region of the outer skin has any weight
    outer = [str(name) for name in head.region_names if name not in ("mouth_inside", "eyeballs")]
    on_skin &= (np.max([head.region(name) for name in outer], axis=0) > 0) | (inside & on_skin)
    return on_skin, head.region("eyeballs") > 0.5


def _partners(observed: LandmarkObservations) -> IntArray:
    """Left–right partners [478]: the pairing for which mirrored images give mirrored landmarks best.

    Raises ValueError if the pairing is not its own inverse.
    """
    partner = np.zeros(LANDMARKS_COUNT, np.int64)
    for group in (slice(0, MESH_COUNT), slice(MESH_COUNT, LANDMARKS_COUNT)):
        here, there = observed.landmarks[:, group], observed.mirrored[:, group]
        apart = np.zeros((here.shape[1], here.shape[1]))
        for seen, seen_mirrored in zip(here, there, strict=True):
            apart += ((seen[:, None] - seen_mirrored[None]) ** 2).sum(axis=2)
        partner[group] = linear_sum_assignment(apart + apart.T)[1] + group.start
    wrong = np.flatnonzero(partner[partner] != np.arange(LANDMARKS_COUNT))
    if len(wrong):
        raise ValueError(f"landmarks {wrong.tolist()} have no partner")
    return partner


def _barycentric_grid() -> FloatArray:
    steps = [
        (i, j, SUBDIVISIONS - i - j) for i in range(SUBDIVISIONS + 1) for j in range(SUBDIVISIONS + 1 - i)
    ]
    return np.array(steps, np.float64) / SUBDIVISIONS


def _triangles_around(triangles: npt.NDArray[np.int32], vertex_count: int) -> list[list[int]]:
    around: list[list[int]] = [[] for _ in range(vertex_count)]
    for row, triangle in enumerate(triangles.tolist()):
        for vertex in triangle:
            around[vertex].append(row)
    return around


def _near_triangles(head: HeadModel, vertex: int, around: list[list[int]], allowed: BoolArray) -> IntArray:
    """Triangles of the two rings around a vertex whose corners are all allowed."""
    ring = {v for row in around[vertex] for v in head.triangles[row].tolist()}
    rows = sorted({row for v in ring for row in around[v]})
    return np.array([row for row in rows if allowed[head.triangles[row]].all()], np.int64)


def _mirrored(head: HeadModel, triangle: int, barycentrics: FloatArray) -> tuple[int, FloatArray]:
    """The same place on the other side of the face."""
    wanted = head.mirror_vertex[head.triangles[triangle]]
    rows = np.flatnonzero((np.sort(head.triangles, axis=1) == np.sort(wanted)).all(axis=1))
    if len(rows):
        corners = head.triangles[rows[0]]
        order = [int(np.flatnonzero(wanted == corner)[0]) for corner in corners]
        return int(rows[0]), barycentrics[order]
    # a quad split along its other diagonal over there: the nearest place on the triangles around
    point = barycentrics @ head.vertices_mean[wanted]
    grid = _barycentric_grid()
    near = np.flatnonzero(np.isin(head.triangles, wanted).sum(axis=1) >= 2)
    places = np.einsum("nk,fkc->fnc", grid, head.vertices_mean[head.triangles[near]])
    row, column = np.unravel_index(np.linalg.norm(places - point, axis=2).argmin(), places.shape[:2])
    return int(near[row]), grid[column]
