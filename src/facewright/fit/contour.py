"""Which surface points the landmarks stand for in a given view, and how much each is trusted.

A network draws the far side of the face's outline towards where the face ends in the picture, not where the
ear begins: those landmarks slide over the surface, outwards from the face's middle in the image, and mainly
their distance across the outline counts. Other landmarks on skin that faces away from the camera are guesses
and count little.

Source: Wang et al. 2019, "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image", sec. 3.4,
which slides its 17 contour landmarks at each iteration as Cao, Hou and Zhou 2014, "Displaced dynamic
expression regression for real-time facial tracking and animation".

=================================  ==================================  =======================================
paper                              here                                why
=================================  ==================================  =======================================
17 contour landmarks slide at      those of the open head's 27 that    this network draws the near side where
each iteration                     face away from the camera do, once  it is on the skin
                                   per Gauss-Newton step

barycentric coordinates are        of each landmark's 32 candidate     linear maps computed once per head. The
updated                            vertices the one farthest out in    candidate with the least |n . v|, which
                                   the image from the landmarks'       is the silhouette, fits this network
                                   mean; up to centimetres inside the  worse: 5.3 instead of 3.8 % of the
                                   silhouette proper                   pupil distance (95th percentile) on 15
                                                                       portraits turned by 25 degrees and more

distance in the image              distance across the outline; along  where along an outline a landmark
                                   it a tenth of the weight            belongs is not to be seen
=================================  ==================================  =======================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright.fit.camera import Camera, pose_angles
from facewright.fit.landmark_basis import LandmarkBasis

#: cos(angle between normal and view) at which skin counts nothing, and the range over which it comes to count
#: fully.
HIDDEN_COSINE: Final = -0.15
VISIBLE_RANGE: Final = 0.45
#: Degrees of yaw from which all landmarks lose weight, and over which they lose half: the network was hardly
#: shown profiles and draws them as three-quarter views, with short noses.
SURE_YAW: Final = 30.0
HALF_SURE_YAW: Final = 12.0
#: Least weight, so that no landmark is ever quite free.
LEAST_WEIGHT: Final = 0.03
#: Weight of a contour landmark across the outline and along it, relative to a landmark inside the face.
ACROSS_WEIGHT: Final = 0.5
ALONG_WEIGHT: Final = 0.05


@dataclass(frozen=True)
class ViewedLandmarks:
    """The landmarks in one view.

    Args:
        candidate: int64 [C], for each contour landmark the index of its surface point among all candidates,
            or -1 where the embedded point itself is seen.
        whitening: float64 [N, 2, 2]; ``whitening^T whitening`` weighs a residual in the image (1: fully
            trusted).
        outward: float64 [C, 2], unit vectors out of the face across its outline.
    """

    candidate: NDArray[np.int64]
    whitening: NDArray[np.float64]
    outward: NDArray[np.float64]

    def distances(self, residual: NDArray[np.float64], contour: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lengths [N] of residuals [N, 2]; contour landmarks' across the outline, along which they slide."""
        lengths = np.linalg.norm(residual, axis=1)
        lengths[contour] = np.abs(np.sum(residual[contour] * self.outward, axis=1))
        return np.asarray(lengths)


def view_landmarks(
    basis: LandmarkBasis,
    points: NDArray[np.floating],
    candidate_points: NDArray[np.floating],
    camera: Camera,
) -> ViewedLandmarks:
    """Chooses the contour's surface points, and weights.

    Args:
        basis: the head's landmarks.
        points: [N, 3] embedded landmark points of the current shape, head space.
        candidate_points: [C * K, 3] of the current shape.
        camera: the current camera.
    """
    cosine = _facing(points, basis.landmarks.normal, camera)
    trust = np.clip((cosine - HIDDEN_COSINE) / VISIBLE_RANGE, LEAST_WEIGHT, 1.0)
    yaw, _, _ = pose_angles(camera.rotation)
    sureness = 1.0 / (1.0 + (max(abs(yaw) - SURE_YAW, 0.0) / HALF_SURE_YAW) ** 2)
    whitening = np.sqrt(sureness * trust)[:, None, None] * np.eye(2)
    contour = basis.contour
    if len(contour) == 0:
        return ViewedLandmarks(np.zeros(0, np.int64), whitening, np.zeros((0, 2)))

    pixels = camera.project(points)
    outward = pixels[contour] - pixels.mean(axis=0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-9)
    per_landmark = len(candidate_points) // len(contour)
    reach = (camera.project(candidate_points).reshape(len(contour), per_landmark, 2) @ outward[:, :, None])[
        ..., 0
    ]
    outermost = np.argmax(reach, axis=1)
    hidden = cosine[contour] < 0.0
    candidate = np.where(hidden, np.arange(len(contour)) * per_landmark + outermost, -1)

    along = np.stack([-outward[:, 1], outward[:, 0]], axis=1)
    across_weight = ACROSS_WEIGHT * np.where(hidden, 1.0, trust[contour])
    whitening[contour] = np.sqrt(sureness) * (
        np.sqrt(across_weight)[:, None, None] * outward[:, :, None] * outward[:, None, :]
        + np.sqrt(ALONG_WEIGHT) * along[:, :, None] * along[:, None, :]
    )
    return ViewedLandmarks(candidate.astype(np.int64), whitening, outward)


def _facing(
    points: NDArray[np.floating], normals: NDArray[np.floating], camera: Camera
) -> NDArray[np.float64]:
    """cos(angle between the outward normal and the direction to the camera), [N]."""
    towards = camera.centre() - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return np.asarray(np.sum(towards * normals, axis=1), np.float64)
