"""Cut the head off the MakeHuman body at the neck and put its parts together.

The cut is a slanted plane, placed on the mean body. Triangles that cross it are clipped, so the border is a
smooth closed curve; each border vertex is a fixed blend of two vertices of the body, so that every target
carries over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from facewright_export.open_head.eyeballs import Eyeball, helper_directions, sphere_mesh
from facewright_export.open_head.makehuman_data import BaseMesh, MakeHumanData

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The head keeps the points of head space with ``y + NECK_SLOPE · z > NECK_OFFSET`` (metres): from the pit of
#: the neck in front to the base of the skull's muscles behind, above the shoulders.
NECK_SLOPE: Final = 0.43
NECK_OFFSET: Final = -0.1943
#: Vertices this close to the plane count as lying on it, which avoids sliver triangles.
SNAP_DISTANCE: Final = 0.0016

#: Part name → OBJ group of the base mesh.
PART_GROUPS: Final[dict[str, str]] = {
    "skin": "body",
    "eye_left": "helper-l-eye",
    "eye_right": "helper-r-eye",
    "teeth_upper": "helper-upper-teeth",
    "teeth_lower": "helper-lower-teeth",
    "tongue": "helper-tongue",
}


@dataclass(frozen=True)
class HeadTopology:
    """Which blends of body vertices are the head's vertices, and how triangles join them.

    ``from_body`` [V, 19158]: vertices of the skin, teeth and tongue = ``from_body @ body vertices``, rows
    with one or two non-zeros that sum to 1; rows of the eyeballs average the helper eyeball, see ``carry``.
    ``triangles`` int64 [F, 3], counter-clockwise from outside; ``triangle_part`` uint8 [F] indexes
    ``PART_GROUPS``. ``mirror`` int64 [V]; ``border`` int64 [N] the vertices of the neck's open border,
    sorted; ``eyeballs`` left, right.
    """

    from_body: csr_array
    triangles: IntArray
    triangle_part: npt.NDArray[np.uint8]
    mirror: IntArray
    border: IntArray
    eyeballs: tuple[Eyeball, Eyeball]

    def carry(self, body_field: FloatArray) -> FloatArray:
        """Positions or displacements [V, 3] of the head from those of the body's vertices [19158, 3]."""
        field: FloatArray = np.asarray(self.from_body @ body_field)
        for eyeball in self.eyeballs:
            field[eyeball.vertices] = eyeball.carry(body_field)
        return field

    def part_vertices(self, part: int) -> IntArray:
        """Sorted vertices int64 [N] of the part with index ``part``."""
        vertices: IntArray = np.unique(self.triangles[self.triangle_part == part])
        return vertices


def eye_midpoint(makehuman: MakeHumanData, vertices: FloatArray) -> FloatArray:
    """The origin of head space: the mean of both eyeballs' joint cubes in ``vertices`` [19158, 3]; float64
    [3].
    """
    cubes = [vertices[makehuman.vertex_group(f"joint-{side}-eye")].mean(axis=0) for side in ("l", "r")]
    midpoint: FloatArray = (cubes[0] + cubes[1]) / 2
    return midpoint


def cut_head(base: BaseMesh, body: FloatArray) -> HeadTopology:
    """Cut the head off ``body`` [19158, 3], which is in head space and mirror-symmetric.

    Raises ValueError when the plane does not leave one closed border, which means that the body is not in
    head space.
    """
    distance = body[:, 1] + NECK_SLOPE * body[:, 2] - NECK_OFFSET
    distance = np.where(np.abs(distance) < SNAP_DISTANCE, 0.0, distance)
    skin_quads = base.quads[base.quad_group == PART_GROUPS["skin"]]
    skin = _split_quads(skin_quads, body)
    skin = skin[_reaches_face(skin, distance, body)]
    clipped, edges = _clip(skin, distance)

    # vertices: body vertices in their own order, then border vertices in the order of their edges, then
    # eyeballs
    teeth_and_tongue = [
        _split_quads(base.quads[base.quad_group == group], body) for group in list(PART_GROUPS.values())[3:]
    ]
    used = np.unique(np.concatenate([clipped, *teeth_and_tongue]))
    sphere = sphere_mesh()
    parts = [np.searchsorted(used, clipped)]
    eyeballs = []
    for number, group in enumerate(list(PART_GROUPS.values())[1:3]):
        first = len(used) + number * len(sphere.directions)
        helper = np.unique(base.quads[base.quad_group == group])
        vertices = first + np.arange(len(sphere.directions))
        eyeballs.append(Eyeball(helper, helper_directions(body, helper), vertices, sphere.directions))
        parts.append(first + sphere.triangles)
    parts += [np.searchsorted(used, triangles) for triangles in teeth_and_tongue]

    rows: list[int] = []
    columns: list[int] = []
    weights: list[float] = []
    for row, vertex in enumerate(used.tolist()):
        if vertex < len(body):
            blend = {vertex: 1.0}
        else:
            inside, outside = edges[vertex - len(body)]
            share = distance[inside] / (distance[inside] - distance[outside])
            blend = {inside: 1.0 - share, outside: share}
        rows += [row] * len(blend)
        columns += blend.keys()
        weights += blend.values()
    for eyeball in eyeballs:
        for vertex in eyeball.vertices.tolist():
            rows += [vertex] * len(eyeball.helper)
            columns += eyeball.helper.tolist()
            weights += [1.0 / len(eyeball.helper)] * len(eyeball.helper)
    count = len(used) + 2 * len(sphere.directions)
    left, right = eyeballs
    mirror = np.concatenate(
        [_mirror(used, edges, base.mirror), right.vertices[sphere.mirror], left.vertices[sphere.mirror]]
    )
    if np.any(mirror[mirror] != np.arange(count)):
        raise ValueError("the cut head is not mirror-symmetric: was it cut from a symmetric body?")
    return HeadTopology(
        from_body=csr_array((weights, (rows, columns)), shape=(count, len(body))),
        triangles=np.concatenate(parts),
        triangle_part=np.repeat(np.arange(len(parts), dtype=np.uint8), [len(part) for part in parts]),
        mirror=mirror,
        border=open_border(parts[0]),
        eyeballs=(left, right),
    )


def open_border(triangles: IntArray) -> IntArray:
    """Vertices on edges that only one triangle has; int64 [N], sorted."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1
    )
    unique, count = np.unique(edges, axis=0, return_counts=True)
    border: IntArray = np.unique(unique[count == 1])
    return border


def _split_quads(quads: IntArray, vertices: FloatArray) -> IntArray:
    """Two triangles for each quad, along the shorter diagonal of the mean head; int64 [2Q, 3]."""
    a, b, c, d = vertices[quads].transpose(1, 0, 2)
    # a small margin so that mirrored quads, whose corners are listed in another order, decide alike
    first = np.linalg.norm(a - c, axis=1) < np.linalg.norm(b - d, axis=1) - 1e-6
    same = ~first & (np.linalg.norm(a - c, axis=1) < np.linalg.norm(b - d, axis=1) + 1e-6)
    # ties: cut through the corner nearest to the midline, which mirrors to itself
    nearest = np.abs(vertices[quads][:, :, 0]).argmin(axis=1)
    first |= same & (nearest % 2 == 0)
    along_ac = np.stack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]], axis=1)
    along_bd = np.stack([quads[:, [0, 1, 3]], quads[:, [1, 2, 3]]], axis=1)
    split: IntArray = np.where(first[:, None, None], along_ac, along_bd).reshape(-1, 3)
    return split


def _reaches_face(triangles: IntArray, distance: FloatArray, body: FloatArray) -> npt.NDArray[np.bool_]:
    """Triangles that the part of the body above the plane joins to the tip of the nose; bool [F]."""
    above = (distance[triangles] > 0).any(axis=1)
    edges = np.concatenate([triangles[above][:, [0, 1]], triangles[above][:, [1, 2]]])
    # joined only through vertices above the plane: hands or shoulders that rise above it are other components
    edges = edges[(distance[edges] > 0).all(axis=1)]
    graph = csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(body), len(body)))
    _, component = connected_components(graph, directed=False)
    on_head = np.unique(triangles[above])
    nose = on_head[body[on_head, 2].argmax()]
    reached = (component == component[nose]) & (distance > 0)
    mask: npt.NDArray[np.bool_] = reached[triangles].any(axis=1)
    return mask


def _clip(triangles: IntArray, distance: FloatArray) -> tuple[IntArray, list[tuple[int, int]]]:
    """Clip triangles to ``distance >= 0``; new vertices are numbered from ``len(distance)`` on.

    Returns the triangles and the (inside, outside) edge of each new vertex.
    """
    edges: dict[tuple[int, int], int] = {}

    def crossing(inside: int, outside: int) -> int:
        return len(distance) + edges.setdefault((inside, outside), len(edges))

    kept: list[list[int]] = []
    for triangle in triangles.tolist():
        polygon: list[int] = []
        for i in range(3):
            current, following = triangle[i], triangle[(i + 1) % 3]
            if distance[current] >= 0:
                polygon.append(current)
            if distance[current] > 0 > distance[following]:
                polygon.append(crossing(current, following))
            elif distance[current] < 0 < distance[following]:
                polygon.append(crossing(following, current))
        if len(polygon) == 4:
            kept += [[polygon[0], polygon[1], polygon[2]], [polygon[0], polygon[2], polygon[3]]]
        elif len(polygon) == 3 and max(distance[v] if v < len(distance) else 0.0 for v in polygon) > 0:
            kept.append(polygon)
    return np.array(kept, np.int64), list(edges)


def _mirror(used: IntArray, edges: list[tuple[int, int]], body_mirror: IntArray) -> IntArray:
    edge_number = {edge: number for number, edge in enumerate(edges)}
    count = len(body_mirror)
    partners: list[int] = []
    for vertex in used.tolist():
        if vertex < count:
            partners.append(int(body_mirror[vertex]))
            continue
        inside, outside = edges[vertex - count]
        partner = edge_number.get((int(body_mirror[inside]), int(body_mirror[outside])))
        if partner is None:
            # the diagonal of a quad on the midline: its mirror image is not an edge of the mesh
            partner = vertex - count
        partners.append(count + partner)
    mirror: IntArray = np.searchsorted(used, np.array(partners))
    return mirror
