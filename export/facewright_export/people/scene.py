"""One mesh of a person: the head, hair, glasses, hat, shoulders and what covers the face.

Its topology is the same for everybody, so all of it is drawn by one call of the rasteriser.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.open_head.painted_heads import ambient_light, lid_edge
from facewright_export.people import worn
from facewright_export.people.hair import POINTS, STRIPS, strip_triangles
from facewright_export.people.lighting import lamp_visibility
from facewright_export.people.truth import Lamp
from facewright_export.people.wardrobe import Dressed
from facewright_kernels import make_edge_topology, make_vertex_triangles, vertex_normals

Floats = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]


class Material(IntEnum):
    """What a triangle is made of; the first are the head's parts."""

    SKIN = 0
    EYE_LEFT = 1
    EYE_RIGHT = 2
    TEETH_UPPER = 3
    TEETH_LOWER = 4
    TONGUE = 5
    HAIR = 6
    THING = 7


#: Attributes of a vertex, by column. Skin: where on the chart, lips, scalp, inside of the mouth, distance
#: from the lids' edge (metres), ambient visibility, place on the mean head. Hair has its tangent in the last
#: three, where a pixel lies across strands (radians of ``ACROSS``) and a factor of its colour (``SHADE``);
#: things have their colour, and ``BARE`` above 0 where they are bare skin.
NORMAL, CHART = slice(0, 3), slice(3, 5)
LIPS, SCALP, INSIDE, LID_EDGE, AMBIENT = range(5, 10)
MEAN = TANGENT = COLOUR = slice(10, 13)
BARE: Final = SCALP
ACROSS: Final = LIPS
SHADE: Final = LID_EDGE
COLUMNS: Final = 13
_TEETH_BACK: Final = np.float32(0.003)  # metres that teeth are drawn behind where they are
_SOCKET_RADIUS: Final = 0.017  # metres, of an eye's socket


@dataclass(frozen=True)
class PlacedScene:
    """A person's mesh.

    Attributes:
        places: float32 [W, 3], head space.
        attributes: float32 [W, COLUMNS].
        there: int64 [N], vertices of what is there; of a hair strip, one of the two at each point.
    """

    places: Floats
    attributes: Floats
    there: npt.NDArray[np.int64]


class SceneMesh:
    """The mesh of one head model's people.

    Args:
        head: the head model.
        chart: float32 [V, 2], of ``FaceChart.uv``.
    """

    def __init__(self, head: HeadModel, chart: Floats) -> None:
        parts = [
            (head.vertex_count, head.triangles),
            (STRIPS * POINTS * 2, strip_triangles()),
            *(
                (int(triangles.max()) + 1, triangles)
                for triangles in (
                    worn.GLASSES_TRIANGLES,
                    worn.HAT_TRIANGLES,
                    worn.BODY_TRIANGLES,
                    worn.OCCLUDER_TRIANGLES,
                )
            ),
        ]
        starts = np.cumsum([0, *(count for count, _ in parts)])
        self._slices = [slice(int(a), int(b)) for a, b in itertools.pairwise(starts)]
        self.triangles: IntArray = np.concatenate(
            [triangles + start for (_, triangles), start in zip(parts, starts[:-1], strict=True)]
        ).astype(np.int32)
        others = len(self.triangles) - len(head.triangles) - len(parts[1][1])
        self.material = np.concatenate(
            [
                head.triangle_part,
                np.full(len(parts[1][1]), Material.HAIR, np.uint8),
                np.full(others, Material.THING, np.uint8),
            ]
        )
        self.topology = make_edge_topology(self.triangles)
        self._vertex_triangles = make_vertex_triangles(self.triangles, int(starts[-1]))
        self._blank = np.zeros((int(starts[-1]), COLUMNS), np.float32)
        own = self._blank[: head.vertex_count]
        own[:, CHART] = chart
        for column, name in ((LIPS, "lips"), (SCALP, "scalp"), (INSIDE, "mouth_inside")):
            own[:, column] = head.region(name)
        own[:, LID_EDGE], own[:, AMBIENT] = lid_edge(head), _ambient(head)
        own[:, MEAN] = head.vertices_mean
        self._blank[head.vertex_count :, AMBIENT] = 1.0
        parts_of_mouth = (head.triangle_part >= 3) & (head.triangle_part <= 4)
        self._teeth = np.unique(head.triangles[parts_of_mouth])

    @property
    def head_attributes(self) -> Floats:
        """float32 [V, COLUMNS] of the head alone, without normals."""
        return self._blank[: self._slices[0].stop].copy()

    def place(self, vertices: Floats, dressed: Dressed) -> PlacedScene:
        """The posed head ``vertices`` [V, 3] and all that it is dressed in."""
        head, hair, *things = self._slices
        places = np.zeros((len(self._blank), 3), np.float32)
        attributes = self._blank.copy()
        places[head] = vertices
        places[self._teeth, 2] -= _TEETH_BACK  # lips that roll in or tighten would let them through
        there = [np.arange(head.stop)]
        if dressed.hair is not None:
            grown = dressed.hair
            aside = np.cross(grown.tangents, grown.normals)
            aside *= (0.5 * grown.width / np.maximum(np.linalg.norm(aside, axis=2), 1e-9))[..., None]
            ends = np.stack([grown.points - aside, grown.points + aside], axis=2)
            places[hair] = ends.reshape(-1, 3)
            attributes[hair, TANGENT] = np.repeat(grown.tangents.reshape(-1, 3), 2, axis=0)
            across = np.stack([grown.shade * 30, grown.shade * 30 + 12], axis=1)
            attributes[hair, ACROSS] = np.repeat(across[:, None], POINTS, axis=1).ravel()
            attributes[hair, SHADE] = np.repeat(grown.shade, POINTS * 2)
            there.append(np.arange(hair.start, hair.stop, 2))
        frame = dressed.glasses.frame if dressed.glasses else None
        surfaces = (frame, dressed.hat, dressed.body, dressed.occluder)
        for part, surface in zip(things, surfaces, strict=True):
            if surface is not None:
                places[part], attributes[part, COLOUR] = surface.vertices, surface.colour
                attributes[part, BARE] = surface.bare
                there.append(np.arange(part.start, part.stop))
        attributes[:, NORMAL] = vertex_normals(places[None], self.triangles, self._vertex_triangles)[0]
        if dressed.hair is not None:
            attributes[hair, NORMAL] = np.repeat(dressed.hair.normals.reshape(-1, 3), 2, axis=0)
        return PlacedScene(places, attributes, np.concatenate(there))

    def visibility(self, placed: PlacedScene, lamp: Lamp) -> Floats:
        """Share [W] of a lamp's light that reaches each vertex."""
        normals = placed.attributes[:, NORMAL]
        reached = lamp_visibility(lamp, placed.places, normals, self.triangles, placed.there)
        hair = self._slices[1]
        reached[hair.start + 1 : hair.stop : 2] = reached[hair.start : hair.stop : 2]
        return reached


def _ambient(head: HeadModel) -> Floats:
    """Ambient visibility [V]; of the sockets' walls, which some expressions bring out, as of a fold."""
    ambient = ambient_light(head)
    apart = np.full(head.vertex_count, np.inf)
    for part in ("eye_left", "eye_right"):
        eye = head.vertices_mean[np.unique(head.triangles[head.part_triangles(part)])]
        apart = np.minimum(apart, np.linalg.norm(head.vertices_mean - eye.mean(axis=0), axis=1))
    floor = np.where(apart < _SOCKET_RADIUS, np.float32(0.5), np.float32(0))
    return np.maximum(ambient, floor)
