"""Which point of the head every texel of a texture shows, computed once per texture size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from facewright.core.arrays import Floats
from facewright.head.head_model import HeadModel
from facewright_kernels import TexelMap, make_texel_map

#: Texels around each island that repeat its border, as a share of the texture's side: what bilinear filtering
#: and three mip levels reach.
GUTTER_SHARE = 8 / 1024


def padded_texel_map(head: HeadModel, size: int) -> TexelMap:
    """The head's texels at ``size`` × ``size``, each island grown into its gutter.

    A texel in a gutter has the point of the nearest texel of the island (in steps along rows and columns).
    """
    exact = make_texel_map(head.uv, head.uv_triangles, size)
    # A frame of one texel, so that neighbours can be found by adding to flat indices.
    triangle = np.pad(exact.triangle_id, 1, constant_values=-1).ravel()
    barycentric = np.pad(exact.barycentric, ((1, 1), (1, 1), (0, 0))).reshape(-1, 2)
    width = size + 2
    inside = np.zeros((width, width), bool)
    inside[1:-1, 1:-1] = True
    empty = inside.ravel() & (triangle < 0)
    steps = (width, -width, 1, -1)
    rim = np.zeros_like(empty)
    for step in steps:
        rim |= np.roll(empty, step)
    border = np.flatnonzero(rim & (triangle >= 0))
    for _ in range(max(2, round(GUTTER_SHARE * size))):
        reached = []
        for step in steps:
            target = border + step
            take = empty[target]
            source, target = border[take], target[take]
            triangle[target] = triangle[source]
            barycentric[target] = barycentric[source]
            empty[target] = False
            reached.append(target)
        border = np.concatenate(reached)
    square = triangle.reshape(width, width)[1:-1, 1:-1]
    points = barycentric.reshape(width, width, 2)[1:-1, 1:-1]
    return TexelMap(np.ascontiguousarray(square), np.ascontiguousarray(points))


def vertex_texel_map(head: HeadModel) -> TexelMap:
    """A square texel map that lists the vertices, so that the kernels for texels serve vertices, too.

    Entry i of the flattened map is vertex i; vertices without a triangle and the rest of the square are −1.
    """
    count = head.vertex_count
    side = int(np.ceil(np.sqrt(count)))
    triangle = np.full(side * side, -1, np.int32)
    barycentric = np.zeros((side * side, 2), np.float32)
    for corner in (2, 1, 0):
        vertices = head.triangles[:, corner]
        triangle[vertices] = np.arange(len(vertices), dtype=np.int32)
        barycentric[vertices] = (float(corner == 0), float(corner == 1))
    return TexelMap(triangle.reshape(side, side), barycentric.reshape(side, side, 2))


@dataclass(frozen=True)
class TexelPoints:
    """All S × S texels as a flat list of N = S² points; those without surface are zero everywhere.

    Attributes:
        head: whose vertices are interpolated.
        texels: which point each texel is.
    """

    head: HeadModel
    texels: TexelMap

    @property
    def size(self) -> int:
        """Texels per side."""
        return self.texels.size

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Bool ``[N]``: on the surface or in a gutter."""
        return self.texels.triangle_id.ravel() >= 0

    def interpolate(self, attribute: Floats) -> Floats:
        """Vertex attribute ``[V]`` or ``[V, C]`` → f32 ``[N]`` or ``[N, C]``."""
        columns = np.ascontiguousarray(attribute.reshape(1, len(attribute), -1), np.float32)
        gathered = self.texels.gather(columns, self.head.triangles)
        return gathered.reshape(self.size * self.size, *attribute.shape[1:])

    def blurred(self, values: Floats, weights: Floats, radius: int) -> Floats:
        """Weighted box mean of ``values`` ``[N]`` over (2·radius + 1)² texels; 0 where no weight is."""
        width = 2 * radius + 1
        shape = (self.size, self.size)
        total = _box((values * weights).reshape(shape), width)
        mass = _box(weights.reshape(shape), width)
        result: Floats = np.asarray(total / np.maximum(mass, 1e-4), np.float32).ravel()
        return result


def _box(image: Floats, width: int) -> Floats:
    """Box mean of an image, borders repeated; by running sums, so the cost does not depend on the width."""
    result: Floats = ndimage.uniform_filter(image, width, np.float32, mode="nearest")
    return result
