"""Carry ICT-FaceKit's mean, identity modes and expressions onto the open head, registered to it.

Outer skin moves as the point of the kit's surface that it lies on. Where the two heads do not have the same
surface (nostrils), and in the linings of mouth and eye sockets, what moves is what lies around and inside:
skull, jaw and eyeballs carry the lining, and the difference to the skin at its rim fades inwards. Teeth and
tongue move rigidly with the kit's jaws; eyeballs are the kit's scleras, and turn as MakeHuman's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from facewright.fit.camera import similarity
from facewright.fit.corrective_field import membrane
from facewright.fit.field_fill import FieldFill
from facewright_export.head_correspondence.surface import SurfacePoints, sphere
from facewright_export.open_head.eyeballs import RADIUS_SCALE
from facewright_export.open_head.ict_prior.face_kit import LOWER_TEETH, SCLERAS, UPPER_TEETH
from facewright_export.open_head.makehuman_head import MakeHumanHead
from facewright_export.open_head.neck_cut import PART_GROUPS
from facewright_export.open_head.rigging import JOINT_NAMES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

#: How far the difference at a lining's rim reaches inwards, metres.
FADE_LENGTH: Final = 0.02
#: Lining with this skinning weight of the jaw goes all the way with it, or the mouth's floor would hide the
#: teeth.
FLOOR_WEIGHT: Final = 0.5
#: Shifts of the upper teeth, the lower teeth and the tongue from where the kit has the jaws, metres: the rows
#: of teeth show between open lips, the tongue rests behind and below the lower one.
SHIFTS: Final[dict[str, tuple[float, float, float]]] = {
    "teeth_upper": (0.0, -0.003, -0.001),
    "teeth_lower": (0.0, 0.001, -0.001),
    "tongue": (0.0, -0.003, -0.002),
}
#: Within the first distance of an eyeball's centre skin that is not carried follows the eye, beyond the
#: second the skull, metres.
EYE_REACH: Final = (0.022, 0.032)


@dataclass(frozen=True)
class RigidMotion:
    """The map ``x -> scale · rotation x + shift``."""

    scale: float
    rotation: FloatArray
    shift: FloatArray

    @classmethod
    def of(cls, before: FloatArray, after: FloatArray, scaled: bool) -> RigidMotion:
        """The motion that takes points ``before`` [N, 3] nearest to ``after``."""
        return cls(*similarity(before, after, scaled=scaled))

    def displacement(self, points: FloatArray) -> FloatArray:
        """How far ``points`` [N, 3] move."""
        moved: FloatArray = self.scale * points @ self.rotation.T + self.shift - points
        return moved


class Carrier:
    """Carries displacements of the kit's mean to the open head.

    Args:
        head: gives topology, linings and skinning.
        mean: float64 [V, 3], the open head on the kit's mean, complete.
        kit_mean: float64 [26719, 3].
        vertices: int64 [N], the vertices of the open head that are carried.
        points: N points of the kit's surface.
    """

    def __init__(
        self,
        head: MakeHumanHead,
        mean: FloatArray,
        kit_mean: FloatArray,
        vertices: IntArray,
        points: SurfacePoints,
    ) -> None:
        self.mean = mean
        self.carried_count = len(vertices)
        self._kit = kit_mean
        self._vertices, self._points = vertices, points
        topology = head.topology
        self._parts = {name: topology.part_vertices(k) for k, name in enumerate(PART_GROUPS)}
        self._eyeballs = topology.eyeballs
        jaw = head.skin_weights[:, JOINT_NAMES.index("jaw"), None]
        self._jaw = np.clip(jaw / FLOOR_WEIGHT, 0, 1)
        self._fill = membrane_fill(mean, topology.triangles[topology.triangle_part == 0], vertices)

    def identity(self, mode: FloatArray) -> FloatArray:
        """Displacement float64 [V, 3] of an identity mode [26719, 3]: jaws and eyeballs may grow."""
        # what follows is not quite linear: the mean of both directions
        return (self._carried(mode, grows=True) - self._carried(-mode, grows=True)) / 2

    def expression(self, shape: FloatArray, eye_turns: tuple[FloatArray, FloatArray]) -> FloatArray:
        """Displacement float64 [V, 3] of an expression [26719, 3]; the left and the right eyeball turn about
        their centres by the rotations ``eye_turns`` [3, 3]: the kit's are still.
        """
        carried = self._carried(shape, grows=False)
        for eyeball, turn in zip(self._eyeballs, eye_turns, strict=True):
            own = self.mean[eyeball.vertices]
            centre = sphere(own)[0]
            carried[eyeball.vertices] = (own - centre) @ turn.T + centre - own
        return carried

    def _carried(self, shape: FloatArray, grows: bool) -> FloatArray:
        moved = self._kit + shape
        skull = RigidMotion.of(self._kit[UPPER_TEETH], moved[UPPER_TEETH], grows)
        jaw = RigidMotion.of(self._kit[LOWER_TEETH], moved[LOWER_TEETH], grows)
        inside = (1 - self._jaw) * skull.displacement(self.mean) + self._jaw * jaw.displacement(self.mean)
        for eyeball, sclera in zip(self._eyeballs, SCLERAS, strict=True):
            centre = sphere(self.mean[eyeball.vertices])[0]
            before, after = sphere(self._kit[sclera]), sphere(moved[sclera])
            follows = RigidMotion(1.0, np.eye(3), np.zeros(3))
            if grows:
                scale = after[1] / before[1]
                follows = RigidMotion(scale, np.eye(3), centre + after[0] - before[0] - scale * centre)
            distance = np.linalg.norm(self.mean - centre, axis=1)
            share = np.clip((EYE_REACH[1] - distance) / (EYE_REACH[1] - EYE_REACH[0]), 0, 1)[:, None]
            inside = (1 - share) * inside + share * follows.displacement(self.mean)
        field = inside.copy()
        field[self._vertices] = self._points.of(shape)
        field = inside + self._fill(field - inside)
        for name, motion in (("teeth_upper", skull), ("teeth_lower", jaw), ("tongue", jaw)):
            field[self._parts[name]] = motion.displacement(self.mean[self._parts[name]])
        for eyeball in self._eyeballs:
            field[eyeball.vertices] = inside[eyeball.vertices]
        return field


def membrane_fill(vertices: FloatArray, skin: IntArray, known: IntArray) -> FieldFill:
    """What continues a field from known vertices of a skin into the others as a membrane that fades to zero
    far from them.

    A membrane nowhere exceeds its border: a smoother field bulges, and linings would come through the skin.

    Args:
        vertices: float64 [V, 3].
        skin: int64 [F, 3], its triangles.
        known: int64 [N], the vertices that keep what they have.
    """
    stiffness, area = membrane(vertices, skin)
    energy = sparse.csr_array(stiffness + sparse.diags_array(area / FADE_LENGTH**2))
    return FieldFill(energy, known, np.setdiff1d(np.unique(skin), known))


def place_eyeballs(head: MakeHumanHead, vertices: FloatArray, kit_mean: FloatArray) -> FloatArray:
    """``vertices`` [V, 3] with the eyeballs on the kit's scleras (but for what a blink needs)."""
    placed = vertices.copy()
    for eyeball, sclera in zip(head.topology.eyeballs, SCLERAS, strict=True):
        centre, radius = sphere(kit_mean[sclera])
        placed[eyeball.vertices] = centre + RADIUS_SCALE * radius * eyeball.directions
    return placed


def place_teeth(head: MakeHumanHead, vertices: FloatArray, kit_mean: FloatArray) -> FloatArray:
    """``vertices`` [V, 3] with the rows of teeth as wide and deep as the kit's, edge on edge with its
    incisors.

    The tongue goes with the lower teeth.
    """
    placed = vertices.copy()
    parts = {name: head.topology.part_vertices(k) for k, name in enumerate(PART_GROUPS)}
    rows = (("teeth_upper", UPPER_TEETH, np.min, ()), ("teeth_lower", LOWER_TEETH, np.max, ("tongue",)))
    for name, kit, edge, followers in rows:
        own, other = vertices[parts[name]], kit_mean[kit]
        scale = np.array(
            [np.ptp(other[:, 0]) / np.ptp(own[:, 0]), 1.0, np.ptp(other[:, 2]) / np.ptp(own[:, 2])]
        )
        shift = np.array(
            [
                0.0,
                edge(_incisors(other)[:, 1]) - edge(_incisors(own)[:, 1]),
                other[:, 2].max() - scale[2] * own[:, 2].max(),
            ]
        )
        for part in (name, *followers):
            placed[parts[part]] = scale * vertices[parts[part]] + shift + SHIFTS[part]
    return placed


def _incisors(teeth: FloatArray) -> FloatArray:
    """The front teeth among vertices [N, 3]."""
    incisors: FloatArray = teeth[(np.abs(teeth[:, 0]) < 0.008) & (teeth[:, 2] > teeth[:, 2].max() - 0.012)]
    return incisors
