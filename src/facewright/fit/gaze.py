"""Where the eyes look: eyeball rotations from the irises' image positions.

Each iris is intersected, as a ray from the camera, with the sphere on which the fitted eye's iris turns. The
angles are those of the *model's* eye (whose radius differs from the person's), so that the drawn iris lands
on the seen one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright.fit.camera import Camera, rotation_from_vector
from facewright.fit.corrective_field import part_vertices
from facewright.fit.landmark_basis import IRIS_LEFT, IRIS_RIGHT
from facewright.head.head_model import HeadModel

#: Metres that an eyeball may be moved sideways to its iris; more is a bad landmark.
LARGEST_SHIFT: Final = 0.0025
LARGEST_YAW, LARGEST_PITCH = np.radians(40.0), np.radians(28.0)

#: Landmarks of the subject's left and right eye: corners (outer, inner), then pairs of upper and lower lid.
EYE_CORNERS: Final = ((263, 362), (33, 133))
LID_PAIRS: Final = (
    ((386, 374), (385, 380), (387, 373)),
    ((159, 145), (158, 153), (160, 144)),
)
#: Lid distance over eye width of a fully open eye; below a share of it the lids hide the iris.
OPEN_RATIO: Final = 0.28
CLOSED_RATIO: Final = 0.08


@dataclass(frozen=True)
class Eyeball:
    """One eye of the mean head: its vertices, centre and the iris' place on it (metres, head space)."""

    vertices: NDArray[np.int64]
    iris_offset: NDArray[np.float64]  # from the centre of rotation, on the mean head
    joint: int


@dataclass(frozen=True)
class SeenIris:
    """The network's iris of one eye: centre (crop pixels), radius (pixels) and openness of the lids, 0-1."""

    centre: NDArray[np.float64]
    radius: float
    openness: float


class Gaze:
    """The eyes of one head model."""

    def __init__(self, head: HeadModel) -> None:
        joints = head.joints(head.vertices_mean)
        names = [str(name) for name in head.joint_names]
        self.head = head
        self.eyes = tuple(
            Eyeball(
                part_vertices(head, [part]),
                np.asarray(head.iris_centre[side] - joints[names.index(part)], np.float64),
                names.index(part),
            )
            for side, part in enumerate(("eye_left", "eye_right"))
        )
        self._look = self._look_angles()

    def read(
        self, joints: NDArray[np.floating], camera: Camera, irises: tuple[SeenIris, SeenIris]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Yaw and pitch of the eyes (left, right), radians [2, 2], and their shifts along x, metres [2].

        Eyes turn together: where the irises lie farther apart or closer than the fitted eyeballs, that is
        taken for the person's form, not for a squint, and the eyeballs are moved. All zero when both eyes are
        closed.

        Args:
            joints: [J, 3], of the fitted head without expression.
            camera: the fitted camera.
            irises: left and right.
        """
        angles, weights = np.zeros((2, 2)), np.zeros(2)
        towards_camera = camera.rotation.T @ -camera.translation
        towards_camera /= np.linalg.norm(towards_camera)
        for side, (eye, iris) in enumerate(zip(self.eyes, irises, strict=True)):
            centre = np.asarray(joints[eye.joint], np.float64)
            angles[side] = _angles_between(eye.iris_offset, self._direction(centre, eye, camera, iris))
            # The far eye of a turned head is foreshortened and often hidden by the nose.
            outward = np.array([0.5 if side == 0 else -0.5, 0.0, 0.87])
            weights[side] = max(iris.openness - 0.1, 0.0) * max(float(outward @ towards_camera), 0.05)
        if weights.sum() <= 0:
            return np.zeros((2, 2)), np.zeros(2)
        apart = 0.5 * (angles[0, 0] - angles[1, 0]) * float(np.linalg.norm(self.eyes[0].iris_offset))
        apart = float(np.clip(apart * weights.min() / weights.max(), -LARGEST_SHIFT, LARGEST_SHIFT))
        largest = np.array([LARGEST_YAW, LARGEST_PITCH])
        shared = np.clip(weights @ angles / weights.sum(), -largest, largest)
        return np.stack([shared, shared]), np.array([apart, -apart])

    def turn(
        self, vertices: NDArray[np.float32], joints: NDArray[np.floating], angles: NDArray[np.floating]
    ) -> None:
        """Rotates both eyeballs of ``vertices`` [V, 3] in place about ``joints`` [J, 3]."""
        for eye, (yaw, pitch) in zip(self.eyes, angles, strict=True):
            rotation = eye_rotation(float(yaw), float(pitch))
            centre = joints[eye.joint]
            vertices[eye.vertices] = (vertices[eye.vertices] - centre) @ rotation.T + centre

    def look_weights(self, angles: NDArray[np.floating]) -> dict[str, float]:
        """The eight ``eyeLook...`` coefficients, 0-1, for eye rotations [2, 2] in radians."""
        weights = {}
        for side, (name, outwards) in enumerate((("Left", 1.0), ("Right", -1.0))):
            yaw, pitch = angles[side]
            for shape, angle in (
                ("eyeLookOut", outwards * yaw),
                ("eyeLookIn", -outwards * yaw),
                ("eyeLookDown", pitch),
                ("eyeLookUp", -pitch),
            ):
                weights[shape + name] = float(np.clip(angle / self._look[shape + name], 0.0, 1.0))
        return weights

    def _direction(
        self, centre: NDArray[np.float64], eye: Eyeball, camera: Camera, iris: SeenIris
    ) -> NDArray[np.float64]:
        """Unit vector, head space, from the eyeball's centre to the iris."""
        origin, ray = camera.centre(), camera.rays(iris.centre[None])[0]
        radius = float(np.linalg.norm(eye.iris_offset))
        nearest = origin + ray * float(ray @ (centre - origin))
        inside = radius**2 - float(np.sum((nearest - centre) ** 2))
        point = nearest - ray * np.sqrt(max(inside, 0.0))
        direction = point - centre
        return np.asarray(direction / np.linalg.norm(direction))

    def _look_angles(self) -> dict[str, float]:
        """The rotation, radians, that each ``eyeLook`` shape gives its eyeball at weight 1."""
        names = [str(name) for name in self.head.expression_names]
        angles = {}
        for side, name in enumerate(("Left", "Right")):
            eye = self.eyes[side]
            rest = (
                self.head.vertices_mean[eye.vertices] - self.head.joints(self.head.vertices_mean)[eye.joint]
            )
            inertia = np.sum(rest**2) * np.eye(3) - rest.T @ rest
            for shape in ("eyeLookOut", "eyeLookIn", "eyeLookDown", "eyeLookUp"):
                moved = self.head.expression_basis[names.index(shape + name)][eye.vertices]
                # Least squares of moved = spin x rest.
                measured = float(np.linalg.norm(np.linalg.solve(inertia, np.cross(rest, moved).sum(axis=0))))
                assumed = np.radians(25.0 if shape in ("eyeLookDown", "eyeLookUp") else 30.0)
                angles[shape + name] = measured if measured > np.radians(5.0) else float(assumed)
        return angles


def eye_rotation(yaw: float, pitch: float) -> NDArray[np.float64]:
    """Rotation matrix, head axes: first ``pitch`` (down), then ``yaw`` (to the subject's left)."""
    return rotation_from_vector(np.array([0.0, yaw, 0.0])) @ rotation_from_vector(np.array([pitch, 0.0, 0.0]))


def seen_irises(landmarks: NDArray[np.floating]) -> tuple[SeenIris, SeenIris]:
    """The left and right iris of crop landmarks [478, 2]."""
    irises = []
    for points, corners, lids in zip((IRIS_LEFT, IRIS_RIGHT), EYE_CORNERS, LID_PAIRS, strict=True):
        centre, ring = landmarks[points][0], landmarks[points][1:]
        radius = float(np.mean(np.linalg.norm(ring - centre, axis=1)))
        # A turned head narrows the eye, not the lids' distance; the iris' size says how wide the eye would
        # be.
        width = max(float(np.linalg.norm(landmarks[corners[0]] - landmarks[corners[1]])), 4.4 * radius)
        height = float(np.mean([np.linalg.norm(landmarks[a] - landmarks[b]) for a, b in lids]))
        openness = (height / max(width, 1e-9) - CLOSED_RATIO) / (OPEN_RATIO - CLOSED_RATIO)
        irises.append(SeenIris(np.asarray(centre, np.float64), radius, float(np.clip(openness, 0.0, 1.0))))
    return irises[0], irises[1]


def _angles_between(rest: NDArray[np.float64], direction: NDArray[np.float64]) -> tuple[float, float]:
    """Yaw and pitch that turn ``rest`` (about +Z) to the unit vector ``direction``."""
    rest = rest / np.linalg.norm(rest)
    yaw = np.arctan2(direction[0], direction[2]) - np.arctan2(rest[0], rest[2])
    pitch = np.arcsin(np.clip(rest[1], -1, 1)) - np.arcsin(np.clip(direction[1], -1, 1))
    return float(yaw), float(pitch)
