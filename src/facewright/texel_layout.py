"""Which point of the head every texel of a texture shows, computed once per texture size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from facewright_kernels import rasterize
from numpy.typing import NDArray

from facewright.head_model import HeadModel

Floats = NDArray[np.float32]

#: Texels around each island that repeat its border, per 1024 of texture size: what bilinear filtering and three
#: mip levels reach.
GUTTER_SHARE = 8 / 1024


@dataclass(frozen=True)
class TexelLayout:
    """The texels of an S × S texture.

    Attributes:
        triangle: i32 ``[S, S]``, −1 where no island (nor its gutter) is.
        barycentric: f32 ``[S, S, 2]``, weights of the triangle's corners 0 and 1; in a gutter those of the
            nearest texel of the island.
    """

    triangle: NDArray[np.int32]
    barycentric: Floats

    @property
    def size(self) -> int:
        """Texels per side."""
        return len(self.triangle)

    @classmethod
    def of(cls, head: HeadModel, size: int) -> TexelLayout:
        """Rasterises the head's UV triangles and grows each island into its gutter."""
        clip = np.zeros((1, len(head.uv), 4), np.float32)
        clip[0, :, :2] = 2.0 * head.uv - 1.0
        clip[0, :, 3] = 1.0
        raster = rasterize(clip, head.uv_triangles, size, size)
        triangle = raster.triangle_id[0].copy()
        barycentric = raster.barycentric[0].copy()
        for _ in range(max(2, round(GUTTER_SHARE * size))):
            _grow(triangle, barycentric)
        return cls(triangle, barycentric)


def _grow(triangle: NDArray[np.int32], barycentric: Floats) -> None:
    """Gives every empty texel next to a filled one the point of that neighbour, in place."""
    filled = triangle >= 0
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        source: list[slice] = [slice(None), slice(None)]
        target: list[slice] = [slice(None), slice(None)]
        source[axis] = slice(None, -1) if step == 1 else slice(1, None)
        target[axis] = slice(1, None) if step == 1 else slice(None, -1)
        # Views, so that the assignment below reaches the arrays.
        empty = triangle[tuple(target)] < 0
        take = filled[tuple(source)] & empty
        triangle[tuple(target)][take] = triangle[tuple(source)][take]
        barycentric[tuple(target)][take] = barycentric[tuple(source)][take]


class TexelPoints:
    """The covered texels of a layout as a flat list, with fast interpolation of vertex attributes.

    Attributes:
        index: i64 ``[N]``, flat indices of the texels into S × S.
        corners: i32 ``[N, 3]``, vertices of each texel's triangle.
        weights: f32 ``[N, 3]``, barycentric.
        part: u8 ``[N]``, index into the head's ``part_names``.
    """

    def __init__(self, head: HeadModel, layout: TexelLayout) -> None:
        self.size = layout.size
        self.index = np.flatnonzero(layout.triangle.ravel() >= 0)
        triangle = layout.triangle.ravel()[self.index]
        first_two = layout.barycentric.reshape(-1, 2)[self.index]
        self.corners = head.triangles[triangle]
        self.weights = np.concatenate(
            [first_two, 1.0 - first_two.sum(axis=1, keepdims=True)], axis=1, dtype=np.float32
        )
        self.part = head.triangle_part[triangle]

    def interpolate(self, attribute: Floats) -> Floats:
        """Vertex attribute ``[V, C]`` or ``[V]`` → f32 ``[N, C]`` or ``[N]``."""
        weights = self.weights
        if attribute.ndim == 2:
            result = attribute[self.corners[:, 0]] * weights[:, 0:1]
            result += attribute[self.corners[:, 1]] * weights[:, 1:2]
            result += attribute[self.corners[:, 2]] * weights[:, 2:3]
        else:
            result = attribute[self.corners[:, 0]] * weights[:, 0]
            result += attribute[self.corners[:, 1]] * weights[:, 1]
            result += attribute[self.corners[:, 2]] * weights[:, 2]
        return result.astype(np.float32, copy=False)

    def to_image(self, values: Floats, background: float = 0.0) -> Floats:
        """Values per texel ``[N]`` or ``[N, C]`` → image f32 ``[S, S]`` or ``[S, S, C]``."""
        shape = (self.size * self.size, *values.shape[1:])
        image = np.full(shape, background, np.float32)
        image[self.index] = values
        return image.reshape(self.size, self.size, *values.shape[1:])

    def from_image(self, image: Floats) -> Floats:
        """The inverse of :meth:`to_image`."""
        return image.reshape(self.size * self.size, *image.shape[2:])[self.index]
