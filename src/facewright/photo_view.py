"""What the photo shows of points on the fitted head: where, how obliquely, and whether something is in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from facewright_kernels import rasterize
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from facewright.colour import linear_from_srgb

Floats = NDArray[np.float32]

#: Side of the image in which colours are judged, and of the z-buffer.
ANALYSIS_SIZE = 256
DEPTH_SIZE = 512
#: A point this far behind the z-buffer's surface is hidden, metres: more than a pixel's slope, less than a lip.
DEPTH_BIAS = 0.004
#: A jump of depth between neighbouring pixels that counts as a silhouette, metres.
SILHOUETTE_JUMP = 0.012


@dataclass(frozen=True)
class Sighting:
    """What is seen of N points.

    Attributes:
        pixel: f32 ``[N, 2]``, crop pixels.
        facing: f32 ``[N]``, cosine between normal and viewing ray; negative on the far side.
        visible: f32 ``[N]``, 0–1: not occluded by the head, away from silhouettes, inside the photo.
        colour: f32 ``[N, 3]``, linear, averaged over 4 × 4 crop pixels.
    """

    pixel: Floats
    facing: Floats
    visible: Floats
    colour: Floats


class PhotoView:
    """One photo with its fitted head and camera.

    Args:
        face_crop: sRGB u8 ``[H, H, 3]``, H a multiple of 256.
        intrinsics: f32 ``[3, 3]``, crop pixels.
        head_to_camera: f32 ``[3, 4]``, metres.
        vertices: f32 ``[V, 3]``, the fitted head, head space.
        triangles: i32 ``[F, 3]``.
        erosion: how far from a silhouette the photo is trusted, metres.
    """

    def __init__(
        self,
        face_crop: NDArray[np.uint8],
        intrinsics: Floats,
        head_to_camera: Floats,
        vertices: Floats,
        triangles: NDArray[np.int32],
        erosion: float = 0.0035,
    ) -> None:
        self.crop_size = len(face_crop)
        self._rotation = head_to_camera[:, :3].astype(np.float32)
        self._translation = head_to_camera[:, 3].astype(np.float32)
        self._intrinsics = intrinsics.astype(np.float32)
        self.camera_centre: Floats = -self._rotation.T @ self._translation
        reduced = Image.fromarray(face_crop).reduce(self.crop_size // ANALYSIS_SIZE)
        self.small: Floats = linear_from_srgb(np.asarray(reduced))
        camera = vertices @ self._rotation.T + self._translation
        self.points: Floats = np.ascontiguousarray(camera @ self._intrinsics.T)
        self._depth = self._depth_buffer(camera, triangles)
        metres_per_pixel = float(np.median(camera[:, 2])) / float(self._intrinsics[0, 0])
        radius = erosion / metres_per_pixel * DEPTH_SIZE / self.crop_size
        self._inside = self._away_from_silhouettes(radius) * self._inside_photo(face_crop)

    def look(self, points: Floats, normals: Floats) -> Sighting:
        """What is seen of head-space ``points`` ``[N, 3]`` with unit ``normals`` ``[N, 3]``."""
        camera = points @ self._rotation.T + self._translation
        homogeneous = camera @ self._intrinsics.T
        pixel = homogeneous[:, :2] / np.maximum(homogeneous[:, 2:], 1e-6)
        ray = self.camera_centre - points
        facing = (ray * normals).sum(axis=1) / np.maximum(np.linalg.norm(ray, axis=1), 1e-9)
        at = (pixel * (DEPTH_SIZE / self.crop_size)).astype(np.int32)
        within = ((at >= 0) & (at < DEPTH_SIZE)).all(axis=1) & (camera[:, 2] > 0)
        at = np.clip(at, 0, DEPTH_SIZE - 1)
        front = self._depth[at[:, 1], at[:, 0]]
        # A slanted surface spans more depth within one pixel.
        bias = DEPTH_BIAS / np.clip(facing, 0.3, 1.0)
        unoccluded = np.clip(1.0 - (camera[:, 2] - front - bias) / (0.5 * bias), 0.0, 1.0)
        visible = unoccluded * self._inside[at[:, 1], at[:, 0]] * (within & (facing > 0.0))
        colour = sample_bilinear(self.small, pixel * (ANALYSIS_SIZE / self.crop_size))
        return Sighting(pixel, facing, visible.astype(np.float32), colour)

    def _depth_buffer(self, camera: Floats, triangles: NDArray[np.int32]) -> Floats:
        """Camera depth of the nearest surface, f32 ``[512, 512]``; +inf where there is none."""
        near, far = 0.05, 50.0
        scale = 2.0 / self.crop_size
        clip = np.empty((1, len(camera), 4), np.float32)
        z = camera[:, 2]
        clip[0, :, 0] = scale * self.points[:, 0] - z
        clip[0, :, 1] = scale * self.points[:, 1] - z
        clip[0, :, 2] = (far + near) / (far - near) * z - 2.0 * far * near / (far - near)
        clip[0, :, 3] = z
        raster = rasterize(clip, triangles, DEPTH_SIZE, DEPTH_SIZE)
        ndc = raster.depth[0].astype(np.float64)
        depth = 2.0 * far * near / (far - near) / ((far + near) / (far - near) - ndc)
        return np.where(raster.triangle_id[0] >= 0, depth, np.inf).astype(np.float32)

    def _away_from_silhouettes(self, radius: float) -> Floats:
        """1 inside the head's outline, falling to 0 within ``radius`` depth-buffer pixels of its border."""
        filled = np.where(np.isfinite(self._depth), self._depth, 1e3)
        low = ndimage.minimum_filter(filled, 3)
        edge = (filled - low > SILHOUETTE_JUMP) | (filled > 999.0)
        # Only the farther side of an inner edge shows smeared colours; the nearer side turns away from view anyway.
        width = 2 * round(max(radius, 1.0)) + 1
        share = ndimage.uniform_filter(edge.astype(np.float32), width)
        return np.clip(1.0 - 2.5 * share, 0.0, 1.0).astype(np.float32)

    def _inside_photo(self, face_crop: NDArray[np.uint8]) -> Floats:
        """0 in crop borders that lie outside the photo (constant or repeated rows and columns), else 1."""
        small = np.asarray(Image.fromarray(face_crop).reduce(self.crop_size // DEPTH_SIZE)).astype(np.int16)
        inside = np.ones((DEPTH_SIZE, DEPTH_SIZE), np.float32)
        for axis in (0, 1):
            change = np.abs(np.diff(small, axis=axis)).max(axis=(1 - axis, 2)) > 2
            first, last = (int(np.argmax(change)), DEPTH_SIZE - 2 - int(np.argmax(change[::-1])))
            if not change.any():
                continue
            index = np.arange(DEPTH_SIZE)
            good = (index > first + 1 if first > 0 else index >= 0) & (
                index < last if last < DEPTH_SIZE - 2 else index >= 0
            )
            inside *= good[:, None] if axis == 0 else good[None, :]
        return inside


def sample_bilinear(image: Floats, at: Floats) -> Floats:
    """Bilinear samples f32 ``[N, C]`` of ``image`` ``[H, W, C]`` at pixels ``[N, 2]``, clamped at the border."""
    height, width = image.shape[:2]
    x = np.clip(at[:, 0] - 0.5, 0.0, width - 1.001)
    y = np.clip(at[:, 1] - 0.5, 0.0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
    flat = image.reshape(-1, image.shape[2])
    base = top * width + left
    upper = flat[base] * (1 - fx) + flat[base + 1] * fx
    lower = flat[base + width] * (1 - fx) + flat[base + width + 1] * fx
    result: Floats = upper * (1 - fy) + lower * fy
    return result
