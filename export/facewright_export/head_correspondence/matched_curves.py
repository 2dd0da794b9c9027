"""Lids and lips of the open head and of a source as curves that belong together.

As seen from the front; where a source's are not seen, eyes being of one piece with the skin or lips open,
both heads' curves are drawn through their landmarks.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.interpolate import CubicSpline
from scipy.sparse.csgraph import connected_components

from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence import landmarks
from facewright_export.head_correspondence.landmarks import open_landmarks
from facewright_export.head_correspondence.open_skin import OpenSkin, open_face
from facewright_export.head_correspondence.seen_curves import (
    LID_POINTS,
    LID_SHARE,
    LIP_POINTS,
    SeenFace,
    lid_lines,
    seen_lids,
    seen_lip_share,
    seen_lips,
)
from facewright_export.head_correspondence.source_head import SourceHead
from facewright_export.head_correspondence.surface import Surface, SurfacePoints

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: An eyeball's diameter, and how far behind the middle of the lids' landmarks its own may lie, metres.
_EYEBALL: Final = (0.015, 0.04)
_EYE_REACH: Final = 0.025
#: Columns of the picture in which an eye must be seen open, and how much of the lips' line.
_LEAST_SEEN: Final = 150
_LEAST_SHARE: Final = 0.5


def matched_curves(
    head: HeadModel, skin: OpenSkin, source: SourceHead, posed: FloatArray
) -> tuple[SurfacePoints, FloatArray]:
    """Points of the open head's outer skin on lids and lips, and their places float64 [L, 3] on the source.

    Args:
        head: the open head.
        skin: its outer skin.
        source: the other head.
        posed: float64 [N, 3], its vertices posed as the open head, metres.
    """
    mean = head.vertices_mean.astype(np.float64)
    own_face, own_landmarks = open_face(head, mean), open_landmarks(head)
    own_places = own_landmarks.of(mean)
    places, face = source.landmarks.of(posed), source_face(source, posed)
    outer = Surface(mean, skin.triangles)
    corners = np.array(landmarks.MOUTH_CORNERS)
    pairs = [(own_landmarks.taken(corners), places[corners])]
    lids = [line for eye in face.eyes for line in lid_lines(face, eye)]
    if lids and all(len(line.corners) > _LEAST_SEEN for line in lids):
        pairs += zip(seen_lids(own_face), [line.of(posed) for line in seen_lids(face)], strict=True)
    else:
        for eye in landmarks.EYES:
            pairs += _drawn(outer, own_places[eye], places[eye], LID_POINTS)
    # near the corners the line of one of them may not be seen
    first, last = np.array([seen_lip_share(own_face), seen_lip_share(face)]).T
    share = float(first.max()), float(last.min())
    if share[1] - share[0] > _LEAST_SHARE:
        own_lips, lips = seen_lips(own_face, share), seen_lips(face, share)
        pairs += zip(own_lips, [line.of(posed) for line in lips], strict=True)
    else:
        inner = landmarks.INNER_LIPS
        pairs += _drawn(outer, own_places[inner], places[inner], LIP_POINTS)
    points = SurfacePoints(
        np.concatenate([own.corners for own, _ in pairs]), np.concatenate([own.weights for own, _ in pairs])
    )
    # a line may be seen on the lining just behind the outer skin
    on_skin = np.flatnonzero((skin.columns[points.corners] >= 0).all(axis=1))
    return points.taken(on_skin), np.concatenate([other for _, other in pairs])[on_skin]


def source_face(source: SourceHead, posed: FloatArray) -> SeenFace:
    """A source with its vertices ``posed`` [N, 3], as its lids and lips are looked for."""
    eyes = eyeballs(posed, source.triangles, source.landmarks)
    places, nearest = source.landmarks.of(posed), source.landmarks.nearest
    return SeenFace(
        posed,
        without(source.triangles, eyes),
        eyes,
        places[list(landmarks.MOUTH_CORNERS)],
        (nearest[landmarks.LOWER_LIP], nearest[landmarks.UPPER_LIP]),
    )


def without(triangles: IntArray, pieces: tuple[IntArray, ...]) -> IntArray:
    """``triangles`` [F, 3] but those of the vertices of ``pieces``."""
    if not pieces:
        return triangles
    return triangles[~np.isin(triangles[:, 0], np.unique(np.concatenate(pieces)))]


def eyeballs(vertices: FloatArray, triangles: IntArray, points: SurfacePoints) -> tuple[IntArray, ...]:
    """Triangles of the left and the right eyeball; () where they are no pieces of their own."""
    count = len(vertices)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = sparse.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    piece = connected_components(graph, directed=False)[1]
    found = []
    for eye in landmarks.EYES:
        middle = points.of(vertices)[eye].mean(axis=0)
        near = [
            number
            for number in np.unique(piece[triangles[:, 0]])
            if _EYEBALL[0] < np.ptp(vertices[piece == number], axis=0).max() < _EYEBALL[1]
            and np.linalg.norm(vertices[piece == number].mean(axis=0) - middle) < _EYE_REACH
        ]
        if not near:
            return ()
        found.append(triangles[np.isin(piece[triangles[:, 0]], near)])
    return tuple(found)


def _sides(loop: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The upper and the lower side of a loop of landmarks, from the right of the head to its left."""
    half = len(loop) // 2
    upper, lower = loop[: half + 1], np.concatenate([loop[half:], loop[:1]])[::-1]
    return upper, lower


def _drawn(
    outer: Surface, own: FloatArray, other: FloatArray, count: int
) -> list[tuple[SurfacePoints, FloatArray]]:
    """Both sides of a loop of landmarks, on the open head and on the source."""
    pairs = []
    for mine, its in zip(_sides(own), _sides(other), strict=True):
        on_own = _through(mine, count)
        found = outer.closest(on_own, np.zeros_like(on_own), -1.0)[0]
        pairs.append((found, _through(its, count)))
    return pairs


def _through(line: FloatArray, count: int) -> FloatArray:
    """``count`` points in even steps on a smooth curve through ``line`` [L, 3]."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    points: FloatArray = CubicSpline(along / along[-1], line)(np.linspace(*LID_SHARE, count))
    return points
