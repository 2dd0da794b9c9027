"""The open head with other vertices: a head whose true correspondence with the open one is known.

Its vertices are points of the open head's surface, so that every form and every expression of the open head
is one of the remeshed head, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.surface import (
    Surface,
    SurfacePoints,
    unit_vertex_normals,
    vertex_points,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_LEAST_COSINE: Final = 0.3
#: What lies farther back is no part of a mask, metres.
_BEHIND: Final = -0.07


@dataclass(frozen=True)
class RemeshedHead:
    """``points``: N points of the open head; ``triangles`` int64 [F, 3] among them, counter-clockwise from
    outside.
    """

    points: SurfacePoints
    triangles: IntArray

    def of(self, vertices: npt.NDArray[np.floating]) -> FloatArray:
        """The remeshed head's vertices float64 [N, 3] on the open head's [V, 3], or their displacements."""
        return self.points.of(vertices)

    def nearest_to(self, vertices: npt.NDArray[np.floating], places: FloatArray) -> IntArray:
        """The vertices int64 [P] nearest to ``places`` [P, 3], the open head's being ``vertices`` [V, 3]."""
        nearest: IntArray = cKDTree(self.of(vertices)).query(places)[1]
        return nearest


def remeshed_head(head: HeadModel, count: int, mask: bool = False, seed: int = 0) -> RemeshedHead:
    """The open head's skin and eyeballs with ``count`` vertices.

    The first lower level of detail, edges split at random places until there are as many vertices.

    Args:
        head: the open head.
        count: N.
        mask: only the face, without eyeballs: what the Basel face model has.
        seed: of the places.
    """
    triangles = head.uv_vertex[head.lod1_uv_triangles].astype(np.int64)
    skin = triangles[head.lod1_part == list(head.part_names).index("skin")]
    eyes = head.triangles[
        np.concatenate([head.part_triangles("eye_left"), head.part_triangles("eye_right")])
    ].astype(np.int64)
    if mask:
        beside = np.max([head.region(name) for name in ("ears", "scalp", "neck", "mouth_inside")], axis=0)
        in_face = (beside < 0.5) & (head.vertices_mean[:, 2] > _BEHIND)
        skin, eyes = skin[in_face[skin].all(axis=1)], eyes[:0]
    of_eyes, eyes_among = np.unique(eyes, return_inverse=True)
    points, split = _split(head, skin, count - len(of_eyes), np.random.default_rng(seed))
    own = vertex_points(of_eyes)
    return RemeshedHead(
        SurfacePoints(
            np.concatenate([points.corners, own.corners]), np.concatenate([points.weights, own.weights])
        ),
        np.concatenate([split, eyes_among.reshape(-1, 3) + len(points.corners)]),
    )


def _split(
    head: HeadModel, triangles: IntArray, count: int, random: np.random.Generator
) -> tuple[SurfacePoints, IntArray]:
    """Split longest edges until there are ``count`` points. Edges that are the longest of all their triangles
    are split at once.
    """
    mean = head.vertices_mean.astype(np.float64)
    skin = head.triangles[head.part_triangles("skin")].astype(np.int64)
    surface, normals = Surface(mean, skin), unit_vertex_normals(mean, skin)
    kept, among = np.unique(triangles, return_inverse=True)
    points, triangles = vertex_points(kept), among.reshape(-1, 3)
    while len(points.corners) < count:
        places = points.of(mean)
        edges = np.stack(
            [triangles, np.roll(triangles, -1, axis=1)], axis=2
        )  # [F, 3, 2], side k from corner k
        length = np.linalg.norm(places[edges[:, :, 0]] - places[edges[:, :, 1]], axis=2)
        pairs, number = np.unique(np.sort(edges.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
        number = number.reshape(-1, 3)
        longest = length.argmax(axis=1)
        chosen = np.bincount(number[np.arange(len(triangles)), longest], minlength=len(pairs))
        terminal = np.flatnonzero(chosen == np.bincount(number.ravel(), minlength=len(pairs)))
        size = np.linalg.norm(places[pairs[terminal, 0]] - places[pairs[terminal, 1]], axis=1)
        terminal = terminal[np.argsort(-size, kind="stable")[: count - len(points.corners)]]
        share = random.uniform(0.4, 0.6, (len(terminal), 1))
        ends = pairs[terminal]
        middle = share * places[ends[:, 0]] + (1 - share) * places[ends[:, 1]]
        facing = points.of(normals)[ends].mean(axis=1)
        found = surface.closest(middle, facing, _LEAST_COSINE)[0]
        fresh = np.full(len(pairs), -1)
        fresh[terminal] = len(points.corners) + np.arange(len(terminal))
        points = SurfacePoints(
            np.concatenate([points.corners, found.corners]), np.concatenate([points.weights, found.weights])
        )
        new = fresh[number[np.arange(len(triangles)), longest]]
        cut = np.flatnonzero(new >= 0)
        a, b, c = (triangles[cut, (longest[cut] + k) % 3] for k in range(3))
        halves = [np.stack([a, new[cut], c], 1), np.stack([new[cut], b, c], 1)]
        triangles = np.concatenate([np.delete(triangles, cut, axis=0), *halves])
    return points, triangles
