"""How far a head's landmarks are from those that the landmark network sees in a picture.

The yardstick is the pupil distance of the head *seen frontally at its depth*, so that turning the head does
not change it. Landmarks on the face's outline slide: a network draws them where the face ends in the picture,
so only their distance from the model's outline counts, not where along it they lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_kernels import vertex_normals

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]

#: Landmarks 468 and 473 are the centres of the subject's right and left iris.
_IRISES = (468, 473)


@dataclass(frozen=True)
class LandmarkSurface:
    """A head's landmarks in head space.

    Attributes:
        points, normals: [478, 3], embedded landmarks and the surface's unit normals there.
        contour: [C], which landmarks lie on the outline.
        candidates: [C, K, 3], where each of those may slide to.
    """

    points: F64
    normals: F64
    contour: npt.NDArray[np.int64]
    candidates: F64

    @classmethod
    def of(cls, head: HeadModel, vertices: F32) -> LandmarkSurface:
        """The landmarks of ``vertices`` f32 [V, 3] (head space) of this head."""
        corners = head.triangles[head.landmark_triangles]
        weights = head.landmark_barycentrics.astype(np.float64)[:, :, None]
        normals = vertex_normals(np.ascontiguousarray(vertices)[None], head.triangles)[0].astype(np.float64)
        points = (vertices.astype(np.float64)[corners] * weights).sum(axis=1)
        at_points = (normals[corners] * weights).sum(axis=1)
        at_points /= np.maximum(np.linalg.norm(at_points, axis=1, keepdims=True), 1e-12)
        return cls(
            points,
            at_points,
            np.asarray(head.contour_landmarks, np.int64),
            vertices.astype(np.float64)[head.contour_candidates],
        )

    @property
    def pupil_distance(self) -> float:
        """Metres between the iris centres."""
        return float(np.linalg.norm(self.points[_IRISES[0]] - self.points[_IRISES[1]]))


def landmark_errors(
    surface: LandmarkSurface, seen: npt.NDArray[np.floating], intrinsics: F32, pose: F32
) -> F64:
    """Distance of each landmark in the picture from the head's, in % of the pupil distance, [478].

    Args:
        surface: the head's landmarks.
        seen: [478, 2], what the network found, pixels of the picture.
        intrinsics, pose: f32 [3, 3] and [3, 4], head to the same pixels.

    Raises:
        ValueError: not one pixel position for each landmark.
    """
    if seen.shape != (len(surface.points), 2):
        raise ValueError(f"landmarks must have shape ({len(surface.points)}, 2), got {seen.shape}")
    pixels = project(surface.points, intrinsics, pose)
    errors = np.linalg.norm(pixels - seen, axis=1)
    outline = _outline(surface, pixels, intrinsics, pose)
    if len(outline) > 2:
        errors[surface.contour] = _distance_to_polygon(seen[surface.contour].astype(np.float64), outline)
    eyes = surface.points[list(_IRISES)].mean(axis=0)
    depth = float(pose[2, :3].astype(np.float64) @ eyes + pose[2, 3])
    pupil_pixels = surface.pupil_distance * float(intrinsics[0, 0]) / depth
    return np.asarray(100 * errors / pupil_pixels)


def project(points: F64, intrinsics: F32, pose: F32) -> F64:
    """Pixels [N, 2] of head-space points [N, 3]."""
    camera = points @ pose[:, :3].T.astype(np.float64) + pose[:, 3]
    homogeneous = camera @ intrinsics.T.astype(np.float64)
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def _outline(surface: LandmarkSurface, pixels: F64, intrinsics: F32, pose: F32) -> F64:
    """The model's face outline [C, 2] in order: embedded points where seen, else the outermost candidate."""
    contour = surface.contour
    if not len(contour):
        return np.zeros((0, 2))
    eye = -pose[:, :3].T.astype(np.float64) @ pose[:, 3]
    facing = np.sum(surface.normals[contour] * (eye - surface.points[contour]), axis=1) > 0
    centre = pixels.mean(axis=0)
    outward = pixels[contour] - centre
    count = surface.candidates.shape[1]
    slid = project(surface.candidates.reshape(-1, 3), intrinsics, pose).reshape(len(contour), count, 2)
    outermost = np.argmax(np.sum((slid - centre) * outward[:, None], axis=2), axis=1)
    outline = np.where(facing[:, None], pixels[contour], slid[np.arange(len(contour)), outermost])
    order = np.argsort(np.arctan2(outline[:, 1] - centre[1], outline[:, 0] - centre[0]))
    return outline[order]


def _distance_to_polygon(points: F64, polygon: F64) -> F64:
    """Distance of each point [N, 2] to the closed line through ``polygon`` [M, 2]."""
    edge = np.roll(polygon, -1, axis=0) - polygon
    along = np.sum((points[:, None] - polygon) * edge, axis=2)
    share = np.clip(along / np.maximum(np.sum(edge**2, axis=1), 1e-12), 0, 1)
    nearest = polygon + share[..., None] * edge
    return np.asarray(np.linalg.norm(points[:, None] - nearest, axis=2).min(axis=1))
