"""What kernels are timed on: bumpy balls about the size and fineness of a head, with cameras and photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facewright_kernels import PinholeCamera, TexelMap, make_texel_map
from facewright_kernels.boundary import ByteArray, FloatArray, IntArray

PHOTO_SIDE = 1024


@dataclass(frozen=True)
class Scene:
    """B meshes (V vertices, F triangles) in front of B cameras, with 1024 × 1024 photos of noise.

    Attributes:
        xp: ``numpy`` or ``cupy``; where all arrays live.
        side: of the images that cases at pixels are timed on.
        vertices: f32 ``[B, V, 3]``, metres; each image's ball is a little larger than the one before.
        triangles, uv_triangles: i32 ``[F, 3]``.
        uv: f32 ``[T, 2]``.
        camera: of the photos.
        photo: u8 ``[B, 1024, 1024, 3]``.
        texels: at 1024.
    """

    xp: Any
    side: int
    vertices: FloatArray
    triangles: IntArray
    uv: FloatArray
    uv_triangles: IntArray
    camera: PinholeCamera
    photo: ByteArray
    texels: TexelMap

    @property
    def batch(self) -> int:
        """How many images, B."""
        return int(self.vertices.shape[0])

    def noise(self, seed: int, *shape: int) -> Any:
        """Standard normal f32 array on the scene's device."""
        return self.xp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def make_scene(xp: Any = np, batch: int = 1, side: int = 512, *, columns: int = 72, rows: int = 71) -> Scene:
    """About 10,000 triangles that fill a good third of the photo."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    phi, theta = 2 * np.pi * u.ravel(), np.pi * v.ravel()
    radius = 0.12 * (1 + 0.05 * np.sin(6 * phi) * np.sin(theta) ** 2 * np.cos(7 * theta))
    direction = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], 1)
    sizes = 1 + 0.002 * np.arange(batch)[:, None, None]
    vertices = (sizes * (radius[:, None] * direction)).astype(np.float32)
    at = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    uv_triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
    welded = at.copy()
    welded[:, -1] = welded[:, 0]
    uv = np.stack([0.03 + 0.94 * u.ravel(), 0.03 + 0.94 * v.ravel()], 1).astype(np.float32)
    intrinsics = np.array([[1600, 0, 512], [0, 1600, 512], [0, 0, 1]], np.float32)
    head_to_camera = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.5]], np.float32)
    camera = PinholeCamera(
        xp.asarray(np.repeat(intrinsics[None], batch, 0)),
        xp.asarray(np.repeat(head_to_camera[None], batch, 0)),
        PHOTO_SIDE,
        PHOTO_SIDE,
    )
    photo = np.random.default_rng(0).integers(0, 256, (batch, PHOTO_SIDE, PHOTO_SIDE, 3)).astype(np.uint8)
    triangles = welded.ravel()[uv_triangles].astype(np.int32)
    layout = xp.asarray(uv), xp.asarray(uv_triangles)
    return Scene(
        xp,
        side,
        xp.asarray(vertices),
        xp.asarray(triangles),
        *layout,
        camera,
        xp.asarray(photo),
        make_texel_map(*layout, PHOTO_SIDE),
    )
