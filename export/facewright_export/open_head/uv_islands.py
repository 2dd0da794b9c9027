"""UV islands of the eyeballs, teeth and tongue in the corners that the skin leaves free, and the whole
layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.eyeballs import LIMBUS_RING, RING_ANGLES
from facewright_export.open_head.neck_cut import HeadTopology
from facewright_export.open_head.uv_layout import (
    GUTTER,
    SUPERELLIPSE_POWER,
    border_loop,
    lay_out_skin,
    mean_value_weights,
    signed_uv_areas,
    superellipse,
    tutte,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Share of an eyeball island's radius at the pole, at the limbus, where lids never open further, and at the
#: rear edge.
EYE_RADII: Final = ((0.0, 0.0), (RING_ANGLES[LIMBUS_RING], 0.42), (62.0, 0.88), (RING_ANGLES[-1], 1.0))
#: The front teeth are this many times denser than the molars.
FRONT_TEETH_DENSITY: Final = 4.0
#: Triangles of the tongue whose normal rises more than this are its upper island.
TONGUE_TOP: Final = 0.2


@dataclass(frozen=True)
class UvLayout:
    """``uv`` float64 [T, 2] in glTF's frame, ``uv_vertex`` int64 [T], ``uv_triangles`` int64 [F, 3]."""

    uv: FloatArray
    uv_vertex: IntArray
    uv_triangles: IntArray


@dataclass(frozen=True)
class _Island:
    """``rows`` int64 [N] of the head's triangles, ``vertex`` int64 [M], ``triangles`` int64 [N, 3], ``uv``
    [M, 2].
    """

    rows: IntArray
    vertex: IntArray
    triangles: IntArray
    uv: FloatArray


def lay_out_head(topology: HeadTopology, mean: FloatArray, density: FloatArray) -> UvLayout:
    """Lay out all parts of the head in the unit square; ``density`` [V] is the wanted texels per area of the
    skin.

    Raises ValueError if a triangle is flipped.
    """
    skin, skin_uv = lay_out_skin(topology, mean, density)
    islands = [_Island(np.flatnonzero(topology.triangle_part == 0), skin.vertex, skin.triangles, skin_uv)]
    corner = 0.5 - 0.5 * 2 ** (-1 / SUPERELLIPSE_POWER)  # the free square in each corner
    radius = (corner * np.sqrt(2) - 1.5 * GUTTER) / (1 + np.sqrt(2)) - GUTTER / 2
    for eyeball, part, u in zip(
        topology.eyeballs, (1, 2), (1 - radius - GUTTER, radius + GUTTER), strict=True
    ):
        angle = np.degrees(np.arccos(np.clip(eyeball.directions[:, 2], -1, 1)))
        across = eyeball.directions[:, :2]
        unit = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        reach = np.interp(angle, *np.array(EYE_RADII).T)
        uv = np.array([u, radius + GUTTER]) + unit * [1, -1] * (radius * reach)[:, None]
        rows = np.flatnonzero(topology.triangle_part == part)
        islands.append(_Island(rows, eyeball.vertices, topology.triangles[rows] - eyeball.vertices[0], uv))
    half, full = (corner - 2.5 * GUTTER) / 2, corner - 2 * GUTTER
    left, right, low = GUTTER, 1 - GUTTER - full, 1 - GUTTER - full
    islands.append(_teeth(topology, mean, 3, (left, low, full, half - GUTTER / 4)))
    islands.append(_teeth(topology, mean, 4, (left, 1 - GUTTER - half + GUTTER / 4, full, half - GUTTER / 4)))
    islands += _tongue(
        topology, mean, (right, low, half - GUTTER / 4, full), (1 - GUTTER - half + GUTTER / 4, low)
    )
    return _joined(topology, islands)


def _joined(topology: HeadTopology, islands: list[_Island]) -> UvLayout:
    uv_triangles = np.empty_like(topology.triangles)
    start = 0
    for island in islands:
        uv_triangles[island.rows] = start + island.triangles
        start += len(island.vertex)
    uv = np.concatenate([island.uv for island in islands])
    uv_vertex = np.concatenate([island.vertex for island in islands])
    if not np.array_equal(uv_vertex[uv_triangles], topology.triangles):
        raise ValueError("UV triangles and triangles disagree")
    smallest = signed_uv_areas(uv, uv_triangles).min()
    if smallest <= 0 or uv.min() < 0 or uv.max() > 1:
        raise ValueError(
            f"the UV layout has a flipped triangle or leaves the unit square (area {smallest:.3g})"
        )
    return UvLayout(uv, uv_vertex, uv_triangles)


def _teeth(
    topology: HeadTopology, mean: FloatArray, part: int, place: tuple[float, float, float, float]
) -> _Island:
    """A row of teeth unrolled along the arch: u to the subject's left, the outer gum above (upper) or below
    (lower).
    """
    rows = np.flatnonzero(topology.triangle_part == part)
    vertex, triangles = _compact(topology.triangles[rows])
    points = mean[vertex]
    loop = np.array(border_loop(triangles))[::-1]  # clockwise as seen from outside
    border = points[loop]
    ends = border[:, 2] < border[:, 2].min() + 0.006
    upper = part == 3
    outer_height = border[:, 1] if upper else -border[:, 1]

    def end(side: int, score: FloatArray) -> int:
        return int(np.where(ends & (border[:, 0] * side > 0), score, -np.inf).argmax())

    outer_left, outer_right = end(1, outer_height), end(-1, outer_height)
    inner_left, inner_right = end(1, -np.abs(border[:, 0])), end(-1, -np.abs(border[:, 0]))
    # clockwise from the top left corner of the island
    corners = [outer_right, outer_left, inner_left, inner_right]
    if not upper:
        corners = [inner_right, inner_left, outer_left, outer_right]
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    uv = np.zeros((len(loop), 2))
    for side in range(4):
        first, last = corners[side], corners[(side + 1) % 4]
        stretch = np.arange(first, first + (last - first) % len(loop) + 1) % len(loop)
        middle = (border[stretch[1:]] + border[stretch[:-1]]) / 2
        step = np.linalg.norm(np.diff(border[stretch], axis=0), axis=1)
        step = step * np.where(np.abs(middle[:, 0]) < 0.022, FRONT_TEETH_DENSITY, 1.0)
        share = np.concatenate([[0.0], np.cumsum(step) / step.sum()])[:, None]
        uv[stretch] = square[side] * (1 - share) + square[(side + 1) % 4] * share
    uv = np.array(place[:2]) + uv * place[2:]
    return _Island(rows, vertex, triangles, tutte(mean_value_weights(points, triangles), loop, uv))


def _tongue(
    topology: HeadTopology,
    mean: FloatArray,
    top: tuple[float, float, float, float],
    bottom: tuple[float, float],
) -> list[_Island]:
    """The tongue's upper and lower side as two islands of the same size, the tip below."""
    rows = np.flatnonzero(topology.triangle_part == 5)
    a, b, c = mean[topology.triangles[rows]].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    rises = normal[:, 1] > TONGUE_TOP * np.linalg.norm(normal, axis=1)
    size = np.array(top[2:])
    islands = []
    for side, corner in ((rises, top[:2]), (~rises, bottom)):
        vertex, triangles = _compact(topology.triangles[rows[side]])
        points = mean[vertex]
        loop = np.array(border_loop(triangles))[::-1]
        # the root of the tongue, at the midline, is the top of the island
        start = int(np.lexsort((np.round(points[loop, 2], 6), np.round(np.abs(points[loop, 0]), 6)))[0])
        loop = np.roll(loop, -start)
        closed = points[np.append(loop, loop[0])]
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
        border_uv = np.array(corner) + size * (0.5 + 0.5 * superellipse(length[:-1] / length[-1], 4.0))
        uv = tutte(mean_value_weights(points, triangles), loop, border_uv)
        islands.append(_Island(rows[side], vertex, triangles, uv))
    return islands


def _compact(triangles: IntArray) -> tuple[IntArray, IntArray]:
    vertex = np.unique(triangles)
    return vertex, np.searchsorted(vertex, triangles)
