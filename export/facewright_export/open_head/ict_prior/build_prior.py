"""Register the open head to ICT-FaceKit's mean and carry its modes over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.fit.camera import similarity
from facewright_export.head_correspondence.registration import Matches, Template, register
from facewright_export.head_correspondence.seen_curves import (
    SeenFace,
    mouth_rim,
    rim_lips,
    seen_lids,
    seen_lips,
)
from facewright_export.head_correspondence.surface import (
    Surface,
    SurfacePoints,
    unit_vertex_normals,
    vertex_points,
)
from facewright_export.head_correspondence.tearing import torn_vertices
from facewright_export.open_head.expressions import EXPRESSION_NAMES
from facewright_export.open_head.ict_prior.carrying import (
    SHIFTS,
    Carrier,
    RigidMotion,
    membrane_fill,
    place_eyeballs,
    place_teeth,
)
from facewright_export.open_head.ict_prior.closing import closed_lids, closed_lips
from facewright_export.open_head.ict_prior.correspondences import LANDMARKS, MOUTH_CORNERS, RIGID_LANDMARKS
from facewright_export.open_head.ict_prior.face_kit import EYEBALLS, SKIN, SKIN_AND_CAVITIES, FaceKit
from facewright_export.open_head.ict_prior.prior import ShapePrior
from facewright_export.open_head.makehuman_head import MakeHumanHead
from facewright_export.open_head.mouth_parts import tongue_shift
from facewright_export.open_head.regions import REGION_NAMES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: How far the ears, whose folds differ, follow the kit's.
EAR_TRUST: Final = 0.3
#: Skin that an expression moves by less than the first stays still, beyond the second it moves all the way,
#: metres.
STILL: Final = (0.0001, 0.0002)
#: A vertex is carried where the kit's surface is this near, in metres, and its normal within this cosine.
CARRIED_WITHIN: Final = 0.0004
CARRIED_COSINE: Final = 0.3


@dataclass(frozen=True)
class Registration:
    """``vertices`` float64 [V, 3]: the open head with its outer skin on the kit's mean, the rest posed only;
    ``outer`` int64 [N] vertices of the outer skin; ``distance`` float64 [N] metres from the kit's surface
    (infinite where nothing there faces the same way); ``points`` their places on it.
    """

    vertices: FloatArray
    outer: IntArray
    distance: FloatArray
    points: SurfacePoints


def register_head(head: MakeHumanHead, kit: FaceKit) -> Registration:
    """Register the open head's outer skin to the kit's mean."""
    topology = head.topology
    posed = _posed(head, kit)
    own_face = open_face(head, posed)
    outer_triangles = outer_skin(head)
    outer = np.unique(outer_triangles)
    columns = np.full(len(head.vertices), -1)
    columns[outer] = np.arange(len(outer))

    to_vertex = _vertices_of_base(head)
    own_landmarks = np.array([to_vertex[base] for _, base in LANDMARKS])
    kit_landmarks = np.array([vertex for vertex, _ in LANDMARKS])
    kit_eyes = [kit.triangles_of(eyeball) for eyeball in EYEBALLS]
    kit_skin, kit_ends = kit.triangles_of(SKIN), [vertex for vertex, _ in MOUTH_CORNERS]
    kit_corners = kit.mean[kit_ends]
    kit_face = SeenFace(
        kit.mean,
        kit.triangles_of(SKIN_AND_CAVITIES),
        (kit_eyes[0], kit_eyes[1]),
        kit_corners,
        rim_lips(kit.mean, kit_skin, kit_corners),
    )
    maps, places = [], []
    for own, other in zip(
        _curves(own_face, outer_triangles, [to_vertex[base] for _, base in MOUTH_CORNERS]),
        _curves(kit_face, kit_skin, kit_ends),
        strict=True,
    ):
        # a line may be seen on the lining just behind the outer skin
        on_outer = np.flatnonzero((columns[own.corners] >= 0).all(axis=1))
        maps.append(own.taken(on_outer))
        places.append(other.of(kit.mean)[on_outer])
    lines = SurfacePoints(
        np.concatenate([line.corners for line in maps]), np.concatenate([line.weights for line in maps])
    )
    ears = head.regions[REGION_NAMES.index("ears")][outer]
    template = Template(
        posed[outer],
        columns[outer_triangles],
        columns[topology.mirror[outer]],
        np.where(ears > 0.3, EAR_TRUST, 1.0),
    )
    surface = Surface(kit.mean, kit.triangles_of(SKIN))
    vertices = posed.copy()
    vertices[outer] = register(
        template,
        surface,
        Matches(lines.matrix(columns, len(outer)), np.concatenate(places)),
        Matches(vertex_points(own_landmarks).matrix(columns, len(outer)), kit.mean[kit_landmarks]),
    )
    normals = unit_vertex_normals(vertices[outer], template.triangles)
    points, distance, _ = surface.closest(vertices[outer], normals, CARRIED_COSINE)
    return Registration(vertices, outer, distance, points)


def _pose(head: MakeHumanHead, kit: FaceKit) -> tuple[float, FloatArray, FloatArray]:
    """Scale, rotation and shift from MakeHuman's mean to the kit's, by brows, nose and eyes."""
    to_vertex = _vertices_of_base(head)
    own = head.vertices[[to_vertex[base] for _, base in LANDMARKS[:RIGID_LANDMARKS]]]
    return similarity(own, kit.mean[[vertex for vertex, _ in LANDMARKS[:RIGID_LANDMARKS]]])


def _posed(head: MakeHumanHead, kit: FaceKit) -> FloatArray:
    scale, rotation, shift = _pose(head, kit)
    posed: FloatArray = scale * head.vertices @ rotation.T + shift
    return posed


def _vertices_of_base(head: MakeHumanHead) -> dict[int, int]:
    """MakeHuman's base vertex → the open head's vertex, for those that the cut left as they are."""
    blend = head.topology.from_body.tocsr()
    single = np.flatnonzero(np.diff(blend.indptr) == 1)
    return {int(blend.indices[blend.indptr[row]]): int(row) for row in single}


def outer_skin(head: MakeHumanHead) -> IntArray:
    """The open head's triangles [N, 3] of the skin without the cavities."""
    skin = head.topology.triangles[head.topology.triangle_part == 0]
    outer: IntArray = skin[~(head.in_mouth | head.in_socket)[skin].any(axis=1)]
    return outer


def open_face(head: MakeHumanHead, vertices: FloatArray) -> SeenFace:
    """The open head with ``vertices`` [V, 3], as its lids and lips are looked for."""
    triangles, part = head.topology.triangles, head.topology.triangle_part
    to_vertex = _vertices_of_base(head)
    corners = vertices[[to_vertex[base] for _, base in MOUTH_CORNERS]]
    eyes = triangles[part == 1], triangles[part == 2]
    lips = rim_lips(vertices, outer_skin(head), corners)
    return SeenFace(vertices, triangles[part == 0], eyes, corners, lips)


def _curves(face: SeenFace, outer: IntArray, ends: list[int]) -> list[SurfacePoints]:
    """Lids, the mouth's corners ``ends`` and the last of the outer skin behind them, lips."""
    rim = mouth_rim(face.vertices, outer, face.corners)
    behind = [rim[face.vertices[rim, 0].argmin()], rim[0]]
    return [*seen_lids(face), vertex_points(np.array([*ends, *behind])), *seen_lips(face)]


def carrier(head: MakeHumanHead, kit: FaceKit, registration: Registration) -> Carrier:
    """What carries the kit's shapes: the mean head completed, and the vertices that have a place on the
    kit."""
    near = registration.distance < CARRIED_WITHIN
    near &= _consistent(head, kit, registration)
    # a vertex and its mirror image are carried alike
    row = np.full(len(head.vertices), -1)
    row[registration.outer] = np.arange(len(registration.outer))
    near &= near[row[head.topology.mirror[registration.outer]]]
    carried = registration.outer[near]

    mean = registration.vertices
    posed = _posed(head, kit)
    skin = head.topology.triangles[head.topology.triangle_part == 0]
    skin_vertices = np.unique(skin)
    moved = mean - posed
    mean = mean.copy()
    mean[skin_vertices] = (posed + membrane_fill(posed, skin, registration.outer)(moved))[skin_vertices]
    mean = place_teeth(head, place_eyeballs(head, mean, kit.mean), kit.mean)
    mean += closed_lips(open_face(head, mean))
    mean = (mean + mean[head.topology.mirror] * [-1, 1, 1]) / 2
    return Carrier(head, mean, kit.mean, carried, registration.points.taken(near))


def carried_expressions(head: MakeHumanHead, kit: FaceKit, carrier: Carrier) -> FloatArray:
    """The 52 expressions float64 [52, V, 3] on the carrier's mean: the kit's, and MakeHuman's ``tongueOut``
    and turns of the eyeballs.

    Left and right are made mirror images of each other, which the kit's nearly are.
    """
    scale, rotation, _ = _pose(head, kit)
    shapes = []
    for row, name in enumerate(EXPRESSION_NAMES):
        names = _kit_names(name, kit)
        if names:
            shape = np.sum([kit.expressions[own] for own in names], axis=0)
            turns = [
                RigidMotion.of(head.vertices[ball], (head.vertices + head.expressions[row])[ball], False)
                for ball in (eyeball.vertices for eyeball in head.topology.eyeballs)
            ]
            shapes.append(carrier.expression(shape, (turns[0].rotation, turns[1].rotation)))
        elif name == "tongueOut":
            lift = tongue_shift(head.topology, carrier.mean, SHIFTS["tongue"])
            shapes.append(scale * head.expressions[row] @ rotation.T - lift)
        else:
            raise ValueError(f"the kit has no expression for {name}")
    mirrored = [np.array(shapes[EXPRESSION_NAMES.index(_mirrored(name))]) for name in EXPRESSION_NAMES]
    flipped = np.stack(mirrored)[:, head.topology.mirror] * [-1, 1, 1]
    symmetric: FloatArray = (np.stack(shapes) + flipped) / 2
    # what nobody sees would make every avatar's file a third larger
    skin = head.topology.part_vertices(0)
    moved = np.linalg.norm(symmetric[:, skin], axis=2, keepdims=True)
    symmetric[:, skin] *= np.clip((moved - STILL[0]) / (STILL[1] - STILL[0]), 0, 1)
    # one eye's lids are closed, the other's are their mirror image
    left, right = (EXPRESSION_NAMES.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight"))
    face = open_face(head, carrier.mean)
    symmetric[left] = closed_lids(face, face.eyes[0], symmetric[left])
    symmetric[right] = symmetric[left][head.topology.mirror] * [-1, 1, 1]
    return symmetric


def _kit_names(name: str, kit: FaceKit) -> list[str]:
    """The kit's expressions whose sum is ARKit's ``name``."""
    own = name
    if not name.startswith(("jaw", "mouthLeft", "mouthRight")):
        own = name.replace("Left", "_L").replace("Right", "_R")
    return [n for n in (own, f"{own}_L", f"{own}_R") if n in kit.expressions]


def _mirrored(name: str) -> str:
    return name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")


def _consistent(head: MakeHumanHead, kit: FaceKit, registration: Registration) -> BoolArray:
    """Which of the registration's outer vertices [N] move as their neighbours do under the kit's shapes.

    Where two lips touch, the closest point may lie on the wrong one.
    """
    shapes = np.concatenate([kit.identity, np.stack(list(kit.expressions.values()))])
    row = np.full(len(head.vertices), -1)
    row[registration.outer] = np.arange(len(registration.outer))
    skin = row[head.topology.triangles]
    skin = skin[(skin >= 0).all(axis=1)]
    placed = registration.vertices[registration.outer]
    return ~torn_vertices(placed, skin, registration.points, shapes)


def build_prior(head: MakeHumanHead, kit: FaceKit, sources: dict[str, str]) -> ShapePrior:
    """The kit's shapes on the open head; ``sources`` are sha256 of what ``head`` comes from."""
    registration = register_head(head, kit)
    carries = carrier(head, kit, registration)
    identity = np.stack([carries.identity(mode) for mode in kit.identity])
    expressions = carried_expressions(head, kit, carries)
    face = head.regions[REGION_NAMES.index("face")][registration.outer] > 0.5
    metadata = {
        "source": "ICT-FaceKit (Li et al. 2020), carried onto the open head by "
        "facewright_export.open_head.ict_prior",
        "licence": "MIT",
        "copyright": "Copyright (c) 2020 USC Institute for Creative Technologies",
        "face_kit_sha256": kit.sha256,
        **sources,
        "distance_mm": {
            name: [round(float(q) * 1e3, 4) for q in np.percentile(registration.distance[rows], [50, 95, 99])]
            for name, rows in (("skin", np.ones(len(face), bool)), ("face", face))
        },
        "skin_vertices": len(registration.outer),
        "skin_vertices_filled": len(registration.outer) - carries.carried_count,
    }
    return ShapePrior(carries.mean, identity, expressions, metadata)
