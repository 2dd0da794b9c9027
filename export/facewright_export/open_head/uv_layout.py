"""One UV layout for all parts, with most of the texels on the face.

The skin is a disk once it is cut along the back midline. It is mapped into a superellipse by Tutte's
embedding with Floater's mean value weights ("Mean value coordinates", 2003): all weights are positive and the
border is convex, so no triangle flips. The weights are then divided by the local stretch relative to a wanted
texel density and the embedding is solved again (Yoshizawa, Belyaev, Seidel: "A fast and simple
stretch-minimizing mesh parameterization", 2004), which moves area to the face and keeps the weights positive.
The corners that the superellipse leaves free hold the eyeballs, teeth and tongue (``uv_islands``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu

from facewright_export.open_head.neck_cut import HeadTopology
from facewright_export.open_head.regions import REGION_NAMES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The skin's border: |x|^p + |y|^p = 1 scaled to the unit square less the gutter.
SUPERELLIPSE_POWER: Final = 3.0
#: Free space around and between islands, as a share of the texture's side: 4 texels at 1024.
GUTTER: Final = 4.5 / 1024
#: Share of each side's border that the cut takes, from the crown down; the neck's border takes the rest.
CUT_SHARE: Final = 0.74
RELAXATION_STEPS: Final = 6
RELAXATION_POWER: Final = 0.5
#: Wanted texels per area, relative to the unlisted skin.
DENSITY: Final[dict[str, float]] = {
    "face": 4.0,
    "eyelids": 6.0,
    "lips": 5.0,
    "nose": 4.0,
    "scalp": 0.8,
    "neck": 0.8,
}
CAVITY_DENSITY: Final = 0.25


@dataclass(frozen=True)
class CutSkin:
    """The skin opened along the back midline.

    ``vertex`` int64 [T] the vertex of each UV vertex, ``triangles`` int64 [F, 3] of UV vertices, ``mirror``
    int64 [T], ``border`` int64 [B] the border's UV vertices in order, from the crown down the subject's left
    side; ``border_angle`` float64 [B] their place on the border, 0–1 clockwise from the top.
    """

    vertex: IntArray
    triangles: IntArray
    mirror: IntArray
    border: IntArray
    border_angle: FloatArray


def texel_density(regions: FloatArray, cavity: npt.NDArray[np.bool_]) -> FloatArray:
    """Wanted texels per area [V] from region weights [15, V] and the vertices in mouth and eye sockets."""
    density = np.ones(regions.shape[1])
    for name, value in DENSITY.items():
        weight = regions[REGION_NAMES.index(name)]
        density = density * (1 - weight) + value * weight
    density[cavity] = CAVITY_DENSITY
    return density


def lay_out_skin(topology: HeadTopology, mean: FloatArray, density: FloatArray) -> tuple[CutSkin, FloatArray]:
    """Map the skin into the superellipse; returns the cut skin and its UV coordinates [T, 2].

    Raises ValueError if a triangle is flipped.
    """
    skin = cut_back_midline(topology, mean)
    points = mean[skin.vertex]
    border_uv = 0.5 + superellipse(skin.border_angle, SUPERELLIPSE_POWER) * (0.5 - GUTTER)
    weights = mean_value_weights(points, skin.triangles)
    area = _areas(points, skin.triangles)
    wanted = area * density[skin.vertex][skin.triangles].mean(axis=1)
    wanted /= wanted.sum()
    uv = tutte(weights, skin.border, border_uv)
    for _ in range(RELAXATION_STEPS):
        uv_area = signed_uv_areas(uv, skin.triangles)
        vertex_wanted = np.bincount(skin.triangles.ravel(), np.repeat(wanted, 3), len(points))
        vertex_area = np.bincount(skin.triangles.ravel(), np.repeat(uv_area / uv_area.sum(), 3), len(points))
        stretch = (vertex_wanted / vertex_area) ** (RELAXATION_POWER / 2)
        weights = csc_array(weights.multiply(1.0 / stretch[None, :]))
        uv = tutte(weights, skin.border, border_uv)
    uv = (uv + uv[skin.mirror] * [-1, 1] + [1, 0]) / 2
    if signed_uv_areas(uv, skin.triangles).min() <= 0:
        raise ValueError("a triangle of the skin's UV layout is flipped")
    return skin, uv


def cut_back_midline(topology: HeadTopology, mean: FloatArray) -> CutSkin:
    """Open the skin along the midline from the neck's border behind up to the crown."""
    triangles = topology.triangles[topology.triangle_part == 0]
    count = int(triangles.max()) + 1
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    midline = topology.mirror[:count] == np.arange(count)
    along = edges[midline[edges].all(axis=1)]
    neighbours: dict[int, list[int]] = {}
    for a, b in along.tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    on_border = topology.border[midline[topology.border]]
    path = [int(on_border[mean[on_border, 2].argmin()])]
    while mean[path[-1], 1] < mean[list(neighbours), 1].max() - 1e-9:
        # the midline runs upwards behind: the highest neighbour that is not where it came from
        ahead = [vertex for vertex in neighbours[path[-1]] if vertex not in path[-2:]]
        path.append(max(ahead, key=lambda vertex: float(mean[vertex, 1])))

    # the subject's right side (x < 0) gets its own copies of the path, up to the crown where both sides meet
    used = np.unique(triangles)
    compact = np.full(count, -1)
    compact[used] = np.arange(len(used))
    doubled = np.array(path[:-1], np.int64)
    copy_of = compact.copy()
    copy_of[doubled] = len(used) + np.arange(len(doubled))
    right = mean[triangles].mean(axis=1)[:, 0] < 0
    cut = np.where(right[:, None], copy_of[triangles], compact[triangles])
    vertex = np.concatenate([used, doubled])
    mirror = np.concatenate([compact[topology.mirror[used]], compact[doubled]])
    mirror[compact[doubled]] = copy_of[doubled]

    crown, foot = int(compact[path[-1]]), int(compact[path[0]])
    border = border_loop(cut)
    start = border.index(crown)
    border = border[start:] + border[:start]
    if border.index(foot) > border.index(int(mirror[foot])):
        border = [border[0], *border[:0:-1]]  # down the subject's left side
    order = np.array(border)
    points = mean[vertex[order]]
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at_foot, at_front = border.index(foot), int(points[:, 2].argmax())
    # both halves of the border alike: the cut, then the neck's border up to the middle of its front
    half = np.interp(length, [0.0, length[at_foot], length[at_front]], [0.0, CUT_SHARE, 1.0]) / 2
    angle = np.where(np.arange(len(order)) <= at_front, half, 0.0)
    place = np.zeros(len(vertex))
    place[order[: at_front + 1]] = half[: at_front + 1]
    angle[at_front + 1 :] = 1 - place[mirror[order[at_front + 1 :]]]
    return CutSkin(vertex, cut, mirror, order, angle)


def signed_uv_areas(uv: FloatArray, triangles: IntArray) -> FloatArray:
    """Areas [F] of UV triangles, positive where the texture is not mirrored (v points down)."""
    a, b, c = uv[triangles].transpose(1, 0, 2)
    u, v = b - a, c - a
    areas: FloatArray = -(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    return areas


def border_loop(triangles: IntArray) -> list[int]:
    """The single border of a mesh as an ordered loop of vertices."""
    directed = {(a, b) for t in triangles.tolist() for a, b in ((t[0], t[1]), (t[1], t[2]), (t[2], t[0]))}
    following = {a: b for a, b in directed if (b, a) not in directed}
    first = min(following)
    loop = [first]
    while following[loop[-1]] != first:
        loop.append(following[loop[-1]])
    if len(loop) != len(following):
        raise ValueError("the cut skin has more than one border")
    return loop


def superellipse(angle: FloatArray, power: float) -> FloatArray:
    """Points [N, 2] of |x|^p + |y|^p = 1 at shares ``angle`` [N] of its length, clockwise from the top (y
    down).
    """
    t = np.linspace(0, 2 * np.pi, 4001)
    curve = np.stack([np.sin(t), -np.cos(t)], axis=1)
    curve = np.sign(curve) * np.abs(curve) ** (2 / power)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    share = length / length[-1]
    points: FloatArray = np.stack([np.interp(angle, share, curve[:, i]) for i in range(2)], axis=1)
    return points


def mean_value_weights(points: FloatArray, triangles: IntArray) -> csc_array:
    """Floater's mean value weights [T, T] of a mesh ``points`` [T, 3], ``triangles`` [F, 3]; rows are not
    scaled.
    """
    rows: list[IntArray] = []
    columns: list[IntArray] = []
    values: list[FloatArray] = []
    for corner in range(3):
        i, j, k = (triangles[:, (corner + offset) % 3] for offset in range(3))
        to_j, to_k = points[j] - points[i], points[k] - points[i]
        length_j, length_k = np.linalg.norm(to_j, axis=1), np.linalg.norm(to_k, axis=1)
        cosine = np.clip((to_j * to_k).sum(axis=1) / (length_j * length_k), -1, 1)
        half_tangent = np.sqrt((1 - cosine) / (1 + cosine))  # tan of half of the angle at i
        rows += [i, i]
        columns += [j, k]
        values += [half_tangent / length_j, half_tangent / length_k]
    size = len(points)
    index = (np.concatenate(rows), np.concatenate(columns))
    return csc_array((np.concatenate(values), index), shape=(size, size))


def tutte(weights: csc_array, border: IntArray, border_uv: FloatArray) -> FloatArray:
    """UV [T, 2] with every inner vertex at the ``weights`` [T, T] mean of its neighbours and ``border`` [B]
    held.
    """
    count = weights.shape[0]
    inside = np.setdiff1d(np.arange(count), border)
    row_sum = np.asarray(weights.sum(axis=1)).ravel()
    rows = csc_array(weights.multiply(1.0 / row_sum[:, None]))[inside]
    identity = csc_array((np.ones(len(inside)), (np.arange(len(inside)),) * 2))
    uv = np.zeros((count, 2))
    uv[border] = border_uv
    uv[inside] = splu(csc_array(identity - rows[:, inside])).solve(np.asarray(rows[:, border] @ border_uv))
    return uv


def _areas(points: FloatArray, triangles: IntArray) -> FloatArray:
    a, b, c = points[triangles].transpose(1, 0, 2)
    areas: FloatArray = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas
