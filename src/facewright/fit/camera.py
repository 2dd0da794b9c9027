"""The perspective camera of a fit: rotations, projection, focal prior and the starting pose.

Frames and the signs of the pose angles: CONVENTIONS.md. Source of the camera model: Wang et al. 2019,
"Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image", sec. 3.4, with these differences:

=================================  ==================================  =======================================
paper                              here                                why
=================================  ==================================  =======================================
f starts at max(height, width),    at the caller's or EXIF's value,    a face that fills the photo is a crop
f_s at 1                           else at max(1.2 max(height,         more often than a camera at arm's
                                   width), 3.2 face size)              length

lambda_f = 5 on log^2(f)           1 sigma of log focal length: 0.15   how well it is known differs by source
                                   estimated, 0.05 EXIF, 0.01 given

t and q start from EPnP [26]       a similarity (Umeyama) between the  the network gives depth, too, so that a
                                   mean head and the network's 3-D     closed form is enough
                                   landmarks

q is a quaternion                  rotation matrix, moved by rotation  see `gauss_newton`
                                   vectors
=================================  ==================================  =======================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

#: Head axes to camera axes for a face that looks straight into the camera.
FRONTAL: Final[NDArray[np.float64]] = np.diag([1.0, -1.0, -1.0])

#: One sigma of log(focal / prior). Tight crops end at short focal lengths with anything looser.
LOG_FOCAL_SIGMA: Final = 0.15


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that sees a point ``h`` of the head at ``K (R h + t)``.

    Args:
        rotation: float64 [3, 3], head to camera axes.
        translation: float64 [3], metres.
        focal: pixels of the crop (square pixels).
        principal: float64 [2], principal point, pixels of the crop.
    """

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    focal: float
    principal: NDArray[np.float64]

    @property
    def pixels_per_metre(self) -> float:
        """Scale of the image at the depth of the head's origin."""
        return self.focal / float(self.translation[2])

    def to_camera(self, points: Floats) -> NDArray[np.float64]:
        """Head-space points [N, 3] in camera space, [N, 3], metres."""
        return np.asarray(points @ self.rotation.T + self.translation, np.float64)

    def project(self, points: Floats) -> NDArray[np.float64]:
        """Crop pixels [N, 2] of head-space points [N, 3]."""
        seen = self.to_camera(points)
        return self.focal * seen[:, :2] / seen[:, 2:] + self.principal

    def centre(self) -> NDArray[np.float64]:
        """The camera's position in head space, [3], metres."""
        return -self.rotation.T @ self.translation

    def rays(self, pixels: Floats) -> NDArray[np.float64]:
        """Unit viewing directions in head space, [N, 3], through crop pixels [N, 2]."""
        directions = np.concatenate(
            [(pixels - self.principal) / self.focal, np.ones((len(pixels), 1))], axis=1
        )
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.asarray(directions @ self.rotation, np.float64)

    def intrinsics(self) -> NDArray[np.float32]:
        """``K``, float32 [3, 3], crop pixels."""
        return np.array(
            [[self.focal, 0, self.principal[0]], [0, self.focal, self.principal[1]], [0, 0, 1]], np.float32
        )

    def extrinsics(self) -> NDArray[np.float32]:
        """``[R | t]``, float32 [3, 4], metres."""
        return np.concatenate([self.rotation, self.translation[:, None]], axis=1).astype(np.float32)


def rotation_from_vector(vector: Floats) -> NDArray[np.float64]:
    """The 3 x 3 rotation about ``vector`` by its length in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    x, y, z = np.asarray(vector, np.float64)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-8:
        return np.asarray(np.eye(3) + skew)
    first, second = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
    return np.asarray(np.eye(3) + first * skew + second * (skew @ skew))


def nearest_rotation(matrix: Floats) -> NDArray[np.float64]:
    """The rotation closest to a 3 x 3 matrix in the Frobenius norm."""
    u, _, vt = np.linalg.svd(np.asarray(matrix, np.float64))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return np.asarray((u * sign) @ vt)


def pose_angles(rotation: Floats) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a head-to-camera rotation (``Rz Ry Rx`` in head axes)."""
    head = FRONTAL @ rotation
    yaw = np.arcsin(np.clip(-head[2, 0], -1.0, 1.0))
    pitch = np.arctan2(head[2, 1], head[2, 2])
    roll = np.arctan2(head[1, 0], head[0, 0])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def similarity(
    source: Floats, target: Floats, weights: Floats | None = None, scaled: bool = True
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation and translation with least weighted squared error ``target - (s R source + t)``.

    Args:
        source: [N, 3].
        target: [N, 3].
        weights: [N], not negative; None: all the same.
        scaled: whether the scale is free, or 1.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991.
    """
    weights = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    share = weights / float(np.sum(weights))
    mean_source, mean_target = share @ source, share @ target
    centred_source, centred_target = source - mean_source, target - mean_target
    u, singular, vt = np.linalg.svd((centred_target * share[:, None]).T @ centred_source)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    spread = np.sum(share * np.sum(centred_source**2, axis=1))
    scale = float(np.sum(singular * sign) / spread) if scaled else 1.0
    return scale, rotation, mean_target - scale * rotation @ mean_source


def focal_prior(photo_size: tuple[int, int], face_px: float) -> float:
    """The expected focal length, in photo pixels, of a photo without EXIF.

    Args:
        photo_size: width and height, pixels.
        face_px: longer side of the face's box, pixels. A face that fills the photo is more often a crop of a
            larger photo than a camera held at arm's length, so the face bounds the focal length from below.
    """
    return max(1.2 * max(photo_size), 3.2 * face_px)
