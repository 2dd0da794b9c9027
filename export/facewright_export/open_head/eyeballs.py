"""Round eyeballs in place of MakeHuman's octagonal ones.

MakeHuman's helper eyeballs are 72-vertex spheres of 15.6 mm radius: larger than a real eyeball (12 mm)
because the lids were modelled around them, so the radius is kept (but for 2 % that a blink needs). What is
replaced is the mesh: rings about the optical axis with one ring on the limbus, open behind the lids. Centre
and radius are linear in the helper's vertices, hence an eyeball stays a sphere under every identity and may
turn about its centre without touching the lids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SEGMENTS: Final = 16
#: Radius relative to the helper eyeball: the linear path of a blinking lid cuts into a larger one.
RADIUS_SCALE: Final = 0.98
#: Angles of the rings from the optical axis, degrees; the third is the limbus of the mean head (5.9 / 15.3
#: mm).
RING_ANGLES: Final = (8.0, 15.0, 22.7, 32.0, 44.0, 58.0, 74.0, 92.0, 112.0)
LIMBUS_RING: Final = 2


@dataclass(frozen=True)
class SphereMesh:
    """A sphere around +Z, open at the back.

    ``directions`` float64 [N, 3] unit vectors, the pole first, then ring after ring; ``triangles`` int64 [M,
    3], counter-clockwise from outside; ``mirror`` int64 [N] the partner under x → −x on the same sphere.
    """

    directions: FloatArray
    triangles: IntArray
    mirror: IntArray


def sphere_mesh() -> SphereMesh:
    """The mesh of either eyeball."""
    azimuth = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    directions = [np.array([[0.0, 0.0, 1.0]])]
    for angle in np.radians(RING_ANGLES):
        across, up = np.cos(azimuth) * np.sin(angle), np.sin(azimuth) * np.sin(angle)
        directions.append(np.stack([across, up, np.full(SEGMENTS, np.cos(angle))], axis=1))
    step = np.arange(SEGMENTS)
    following = (step + 1) % SEGMENTS
    triangles = [np.stack([np.zeros(SEGMENTS, np.int64), 1 + step, 1 + following], axis=1)]
    for ring_number in range(len(RING_ANGLES) - 1):
        inner, outer = 1 + ring_number * SEGMENTS, 1 + (ring_number + 1) * SEGMENTS
        # alternate the diagonal by quadrant so that the mesh is its own mirror image
        forward = (step < SEGMENTS // 4) | ((step >= SEGMENTS // 2) & (step < 3 * SEGMENTS // 4))
        a, b, c, d = inner + step, outer + step, outer + following, inner + following
        first = np.where(forward[:, None], np.stack([a, b, c], axis=1), np.stack([a, b, d], axis=1))
        second = np.where(forward[:, None], np.stack([a, c, d], axis=1), np.stack([b, c, d], axis=1))
        triangles += [first, second]
    ring_mirror = (SEGMENTS // 2 - step) % SEGMENTS
    mirror = np.concatenate([[0], *(1 + i * SEGMENTS + ring_mirror for i in range(len(RING_ANGLES)))])
    return SphereMesh(np.concatenate(directions), np.concatenate(triangles), mirror)


@dataclass(frozen=True)
class Eyeball:
    """One eyeball of the head, driven by the helper vertices of the body.

    ``helper`` int64 [72] body vertices, ``helper_directions`` float64 [72, 3] their unit directions from the
    centre on the mean body, ``vertices`` int64 [N] the eyeball's vertices on the head, ``directions`` float64
    [N, 3].
    """

    helper: IntArray
    helper_directions: FloatArray
    vertices: IntArray
    directions: FloatArray

    def carry(self, body_field: FloatArray) -> FloatArray:
        """Positions or displacements [N, 3] of the sphere from those of the body's vertices [19158, 3]."""
        helper = body_field[self.helper]
        centre = helper.mean(axis=0)
        radius = ((helper - centre) * self.helper_directions).sum(axis=1).mean() * RADIUS_SCALE
        carried: FloatArray = centre + radius * self.directions
        return carried

    def radius(self, head: FloatArray) -> float:
        """Radius in metres of this eyeball on ``head`` vertices [V, 3] that ``carry`` made."""
        chord = np.linalg.norm(head[self.vertices[1]] - head[self.vertices[0]])
        return float(chord / np.linalg.norm(self.directions[1] - self.directions[0]))


def helper_directions(body: FloatArray, helper: IntArray) -> FloatArray:
    """Unit directions [N, 3] of the helper eyeball's vertices from their mean."""
    offset = body[helper] - body[helper].mean(axis=0)
    directions: FloatArray = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    return directions


def turned(directions: FloatArray, to: FloatArray) -> FloatArray:
    """``directions`` [N, 3] turned by the smallest rotation that takes +Z to the direction of ``to`` [3]."""
    unit = to / np.linalg.norm(to)
    axis = np.array([-unit[1], unit[0], 0.0])  # +Z × unit
    sine, cosine = np.linalg.norm(axis), unit[2]
    if sine < 1e-9:
        return directions.copy()
    axis = axis / sine
    along = np.outer(directions @ axis, axis)
    rotated: FloatArray = cosine * (directions - along) + sine * np.cross(axis, directions) + along
    return rotated
