"""The mesh, view and images that kernels are timed on: a bumpy ball about the size and fineness of a head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels import PinholeCamera, TexelMap, make_texel_map
from facewright_kernels.boundary import ByteArray, FloatArray, IntArray


@dataclass(frozen=True)
class Scene:
    """One mesh (V vertices, F triangles) in front of one camera with a 1024 × 1024 photo of noise.

    Attributes:
        vertices: f32 ``[1, V, 3]``, metres.
        triangles, uv_triangles: i32 ``[F, 3]``.
        uv: f32 ``[T, 2]``.
        camera: of the photo.
        photo: u8 ``[1, 1024, 1024, 3]``.
        texels: at 1024.
    """

    vertices: FloatArray
    triangles: IntArray
    uv: FloatArray
    uv_triangles: IntArray
    camera: PinholeCamera
    photo: ByteArray
    texels: TexelMap


def make_scene(columns: int = 72, rows: int = 71) -> Scene:
    """About 10,000 triangles that fill a good third of the photo."""
    u, v = np.meshgrid(np.linspace(0, 1, columns + 1), np.linspace(0, 1, rows + 1))
    phi, theta = 2 * np.pi * u.ravel(), np.pi * v.ravel()
    radius = 0.12 * (1 + 0.05 * np.sin(6 * phi) * np.sin(theta) ** 2 * np.cos(7 * theta))
    direction = np.stack([np.sin(theta) * np.sin(phi), np.cos(theta), np.sin(theta) * np.cos(phi)], 1)
    vertices = (radius[:, None] * direction).astype(np.float32)[None]
    at = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    uv_triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
    welded = at.copy()
    welded[:, -1] = welded[:, 0]
    uv = np.stack([0.03 + 0.94 * u.ravel(), 0.03 + 0.94 * v.ravel()], 1).astype(np.float32)
    camera = PinholeCamera(
        np.array([[[1600, 0, 512], [0, 1600, 512], [0, 0, 1]]], np.float32),
        np.array([[[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.5]]], np.float32),
        1024,
        1024,
    )
    photo = np.random.default_rng(0).integers(0, 256, (1, 1024, 1024, 3)).astype(np.uint8)
    triangles = welded.ravel()[uv_triangles].astype(np.int32)
    return Scene(vertices, triangles, uv, uv_triangles, camera, photo, make_texel_map(uv, uv_triangles, 1024))
