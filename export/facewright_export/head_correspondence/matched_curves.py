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
from facewright_export.head_correspondence.surface import Surface, SurfacePoints, sphere

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: An eyeball's diameter, and how far behind the middle of the lids' landmarks its own may lie, metres.
_EYEBALL: Final = (0.015, 0.04)
_EYE_REACH: Final = 0.025
#: An eyeball's mean distance from a sphere, as a share of its radius: a cornea is no part of it.
_ROUND: Final = 0.06
#: Columns of the picture in which an eye must be seen open, and how much of the lips' line.
_LEAST_SEEN: Final = 150
_LEAST_SHARE: Final = 0.5
#: Lips meet for certain from here to there on the way from corner to corner: on where they end no two heads'
#: landmarks agree.
_CERTAIN: Final = (0.1, 0.9)


def matched_curves(
    head: HeadModel, skin: OpenSkin, source: SourceHead, posed: FloatArray
) -> tuple[SurfacePoints, FloatArray, FloatArray]:
    """Points of the open head's outer skin on lids and lips, their places float64 [L, 3] on the source, and
    the unit directions [L, 3] of the curves there.

    Args:
        head: the open head.
        skin: its outer skin.
        source: the other head.
        posed: float64 [N, 3], its vertices posed as the open head, metres.
    """
    mean = head.vertices_mean.astype(np.float64)
    own_face, own_places = open_face(head, mean), open_landmarks(head).of(mean)
    places, face = source.landmarks.of(posed), source_face(source, posed)
    outer = Surface(mean, skin.triangles)
    pairs: list[tuple[SurfacePoints, FloatArray]] = []
    lids = [line for eye in face.eyes for line in lid_lines(face, eye)]
    if lids and all(len(line.corners) > _LEAST_SEEN for line in lids):
        pairs += zip(seen_lids(own_face), [line.of(posed) for line in seen_lids(face)], strict=True)
    else:
        for eye in landmarks.EYES:
            pairs += _drawn(outer, own_places[eye], places[eye], LID_POINTS)
    first, last = np.array([_CERTAIN, seen_lip_share(own_face), seen_lip_share(face)]).T
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
    along = np.concatenate([np.gradient(other, axis=0) for _, other in pairs])
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-12)
    # a line may be seen on the lining just behind the outer skin
    on_skin = np.flatnonzero((skin.columns[points.corners] >= 0).all(axis=1))
    return points.taken(on_skin), np.concatenate([other for _, other in pairs])[on_skin], along[on_skin]


def source_face(source: SourceHead, posed: FloatArray) -> SeenFace:
    """A source with its vertices ``posed`` [N, 3], as its lids and lips are looked for: the piece that has
    the landmarks, and the eyeballs. What else a mesh may hold, such as lashes, is left out.
    """
    triangles, count = source.triangles, len(posed)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = sparse.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    piece = connected_components(graph, directed=False)[1]
    places, nearest = source.landmarks.of(posed), source.landmarks.nearest
    skin = np.bincount(piece[nearest]).argmax()
    eyes = [
        _eyeball(posed, piece, places[eye].mean(axis=0), np.setdiff1d(piece[triangles], skin))
        for eye in landmarks.EYES
    ]
    return SeenFace(
        posed,
        triangles[piece[triangles[:, 0]] == skin],
        tuple(triangles[piece[triangles[:, 0]] == eye] for eye in eyes if eye is not None)
        if None not in eyes
        else (),
        places[list(landmarks.MOUTH_CORNERS)],
        (nearest[landmarks.LOWER_LIP], nearest[landmarks.UPPER_LIP]),
        landmarks.OUTLINE_REACH,
    )


def _eyeball(posed: FloatArray, piece: IntArray, middle: FloatArray, pieces: IntArray) -> int | None:
    """The piece that is round, as large as an eyeball, and behind the lids whose landmarks have ``middle``
    [3]; None where there is none.
    """
    best, most = None, 0
    for number in pieces:
        own = posed[piece == number]
        if not _EYEBALL[0] < np.ptp(own, axis=0).max() < _EYEBALL[1]:
            continue
        centre, radius = sphere(own)
        uneven = np.abs(np.linalg.norm(own - centre, axis=1) - radius).mean() / radius
        if uneven < _ROUND and np.linalg.norm(centre - middle) < _EYE_REACH and len(own) > most:
            best, most = int(number), len(own)
    return best


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
