"""Which point of a surface each texel of a UV layout shows: made once per head and texture size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, FloatArray, IntArray, array_module
from facewright_kernels.interpolate import interpolate
from facewright_kernels.rasterize import Raster, rasterize


@dataclass(frozen=True)
class TexelMap:
    """Surface points of S × S texels (CONVENTIONS.md, UV).

    Attributes:
        triangle_id: i32 ``[S, S]``, −1 for texels whose centre no triangle covers.
        barycentric: f32 ``[S, S, 2]``, weights of the triangle's corners 0 and 1.
    """

    triangle_id: IntArray
    barycentric: FloatArray

    @property
    def size(self) -> int:
        """Texels per side, S."""
        return int(self.triangle_id.shape[0])

    def gather(self, attributes: FloatArray, triangles: IntArray) -> FloatArray:
        """Vertex attributes f32 ``[B, V, C]`` at the texels: f32 ``[B, S, S, C]``, 0 where there is no
        surface.

        ``triangles`` are the position triangles i32 ``[F, 3]`` that correspond to the UV triangles row by
        row.
        """
        return interpolate(attributes, triangles, self.raster)

    @property
    def raster(self) -> Raster:
        """The texels as a raster that all images of a batch share, without depths."""
        no_depth = array_module(self.triangle_id).empty((1, 0, 0), np.float32)
        return Raster(self.triangle_id[None], self.barycentric[None], no_depth)


def make_texel_map(uv: FloatArray, uv_triangles: IntArray, size: int) -> TexelMap:
    """Rasterise a UV layout. Where charts overlap, the triangle with the lower number has the texel.

    Args:
        uv: f32 ``[T, 2]``.
        uv_triangles: i32 ``[F, 3]``, of UV vertices, in either winding.
        size: texels per side.

    Raises:
        ValueError: wrong shape or dtype, size not 1 to 16384, or (on a CPU) an index out of range.
    """
    check = Boundary("make_texel_map")
    uv = check.array("uv", uv, "float32", "T 2")
    xp = array_module(uv)
    clip = xp.zeros((1, len(uv), 4), np.float32)
    clip[0, :, :2] = uv * 2 - 1
    clip[0, :, 3] = 1
    raster = rasterize(clip, uv_triangles, size, size)
    return TexelMap(raster.triangle_id[0], raster.barycentric[0])
