"""Eyeballs as a renderer sees them: a sphere with the cornea's stronger curve in front of the iris."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright.head.head_model import HeadModel

I32 = npt.NDArray[np.int32]

#: Radius of the cornea's front surface, metres (Gullstrand's schematic eye: 7.7 mm).
_CORNEA_RADIUS_M: Final = 0.0077
_PARTS: Final = ("eye_left", "eye_right")


@dataclass(frozen=True)
class Eyeball:
    """One eye of a head model.

    Attributes:
        part: number of its part.
        vertices: i32 [N], its vertices.
        front: the vertex of it nearest to the middle of the iris.
        iris_radius: metres.
    """

    part: int
    vertices: I32
    front: int
    iris_radius: float

    def with_cornea(self, normals: Floats, head_vertices: Floats) -> Floats:
        """Unit normals [N, 3] of the eyeball, tilted as the cornea's where they lie in front of the iris.

        The head model's eyeballs are spheres; a point that its sphere tilts by t the cornea tilts by more, as
        its radius is smaller.
        """
        own = head_vertices[self.vertices]
        centre = (own.min(axis=0) + own.max(axis=0)) / 2
        axis = head_vertices[self.front] - centre
        radius = float(np.linalg.norm(axis))
        axis = axis / max(radius, 1e-9)
        along = normals @ axis
        sideways = normals - along[:, None] * axis
        off_axis = radius * np.linalg.norm(sideways, axis=1)  # metres
        share = np.clip((1.15 * self.iris_radius - off_axis) / (0.3 * self.iris_radius), 0, 1) * (along > 0)
        stretch = 1 + share * (radius / _CORNEA_RADIUS_M - 1)
        tilt = np.minimum(stretch * np.linalg.norm(sideways, axis=1), 0.95)
        direction = sideways / np.maximum(np.linalg.norm(sideways, axis=1, keepdims=True), 1e-9)
        tilted = np.sqrt(1 - tilt**2)[:, None] * axis + tilt[:, None] * direction
        changed: Floats = np.where((share > 0)[:, None], tilted, normals).astype(np.float32)
        return changed


def eyeballs(head: HeadModel) -> tuple[Eyeball, ...]:
    """The eyes that ``head`` has, left first."""
    names = [str(name) for name in head.part_names]
    found = []
    for name, iris, radius in zip(_PARTS, head.iris_centre, head.iris_radius, strict=True):
        if name not in names:
            continue
        vertices = np.unique(head.triangles[head.part_triangles(name)])
        if len(vertices) == 0:
            continue
        front = vertices[np.argmin(np.linalg.norm(head.vertices_mean[vertices] - iris, axis=1))]
        found.append(Eyeball(names.index(name), vertices.astype(np.int32), int(front), float(radius)))
    return tuple(found)
