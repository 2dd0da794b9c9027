"""What kernels are timed on: bumpy balls about the size and fineness of a head, with cameras and photos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import facewright_kernels as kernels
from facewright_kernels._runtime.boundary import ByteArray, FloatArray, IntArray


@dataclass(frozen=True)
class Scene:
    """B meshes (V vertices, F triangles) in front of B cameras, with square photos of noise.

    What kernels make of it (``clip`` and below) is made when it is first asked for: a kernel that fails
    takes only those cases with it that need it.

    Attributes:
        xp: ``numpy`` or ``cupy``; where all arrays live.
        side: of the images that cases at pixels are timed on.
        texture_side: S, of the textures and photos.
        vertices: f32 ``[B, V, 3]``, metres; each image's ball is a little larger than the one before.
        triangles, uv_triangles: i32 ``[F, 3]``.
        uv: f32 ``[T, 2]``.
        camera: of the photos.
        photo: u8 ``[B, S, S, 3]``.
    """

    xp: Any
    side: int
    texture_side: int
    vertices: FloatArray
    triangles: IntArray
    uv: FloatArray
    uv_triangles: IntArray
    camera: kernels.PinholeCamera
    photo: ByteArray

    @property
    def batch(self) -> int:
        """How many images, B."""
        return int(self.vertices.shape[0])

    @property
    def images(self) -> str:
        """Number and size of the images: ``512²``, or ``8 × 1024²``."""
        return f"{self.side}²" if self.batch == 1 else f"{self.batch} × {self.side}²"

    @property
    def textures(self) -> str:
        """Number and size of the textures: ``8 × 1024²``."""
        return f"{self.batch} × {self.texture_side}²"

    @property
    def meshes(self) -> str:
        """Number and size of the meshes: ``8 × 5256 vertices``."""
        return f"{self.batch} × {self.vertices.shape[1]} vertices"

    def noise(self, seed: int, *shape: int) -> Any:
        """Standard normal f32 array on the scene's device."""
        return self.xp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))

    @cached_property
    def clip(self) -> FloatArray:
        """Clip positions f32 ``[B, V, 4]``."""
        return kernels.pinhole_clip_positions(self.vertices, self.camera)

    @cached_property
    def normals(self) -> FloatArray:
        """Vertex normals f32 ``[B, V, 3]``."""
        return kernels.vertex_normals(self.vertices, self.triangles)

    @cached_property
    def raster(self) -> kernels.Raster:
        """What the images' pixels see."""
        return kernels.rasterize(self.clip, self.triangles, self.side, self.side)

    @cached_property
    def texels(self) -> kernels.TexelMap:
        """Surface points of the texels."""
        return kernels.make_texel_map(self.uv, self.uv_triangles, self.texture_side)

    @cached_property
    def depth_map(self) -> FloatArray:
        """Of the photos at half their size, f32 ``[B, S/2, S/2]``, metres."""
        half = self.texture_side // 2
        return kernels.depth_map(self.vertices, self.triangles, self.camera, half, half)

    @cached_property
    def normals_at_pixels(self) -> FloatArray:
        """Interpolated normals f32 ``[B, H, W, 3]``; (0, 0, 1) where there is no surface."""
        seen = (self.raster.triangle_id >= 0)[..., None]
        at: FloatArray = self.xp.where(
            seen,
            kernels.interpolate(self.normals, self.triangles, self.raster),
            self.xp.asarray([0, 0, 1], np.float32),
        )
        return at

    @cached_property
    def uv_at_pixels(self) -> FloatArray:
        """Texture coordinates f32 ``[B, H, W, 2]``; 0 where there is no surface."""
        corners = self.xp.broadcast_to(self.uv, (self.batch, *self.uv.shape))
        return kernels.interpolate(self.xp.ascontiguousarray(corners), self.uv_triangles, self.raster)


def make_scene(
    xp: Any = np,
    batch: int = 1,
    side: int = 512,
    *,
    columns: int = 72,
    rows: int = 71,
    texture_side: int = 1024,
) -> Scene:
    """About 10,000 triangles that fill a good third of the photo. Runs no kernel."""
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
    focal = 1.5625 * texture_side
    intrinsics = np.array([[focal, 0, texture_side / 2], [0, focal, texture_side / 2], [0, 0, 1]], np.float32)
    head_to_camera = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.5]], np.float32)
    camera = kernels.PinholeCamera(
        xp.asarray(np.repeat(intrinsics[None], batch, 0)),
        xp.asarray(np.repeat(head_to_camera[None], batch, 0)),
        texture_side,
        texture_side,
    )
    photo = np.random.default_rng(0).integers(0, 256, (batch, texture_side, texture_side, 3))
    return Scene(
        xp,
        side,
        texture_side,
        xp.asarray(vertices),
        xp.asarray(welded.ravel()[uv_triangles].astype(np.int32)),
        xp.asarray(uv),
        xp.asarray(uv_triangles),
        camera,
        xp.asarray(photo.astype(np.uint8)),
    )
