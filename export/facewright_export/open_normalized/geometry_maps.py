"""The geometry half: the open head's identity basis as maps in its UV, linear, and exact at the vertices.

A smooth map of 64² would miss lids, lips and ears, where several vertices share a texel, and maps of 256²
would weigh four times the head itself. So the basis is kept twice: as maps of 64², four times enlarged by
bilinear interpolation, and as what is missing at those texels of 256² that a vertex reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array, identity
from scipy.sparse.linalg import splu

from facewright.head.head_model import HeadModel
from facewright_kernels import interpolate, rasterize

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

MAP_SIZE: Final = 256
ENLARGEMENT: Final = 4
COARSE_SIZE: Final = MAP_SIZE // ENLARGEMENT
#: Where more vertices share texels than there are, readings stay this much off for smaller changes of texels.
_SOFTNESS: Final = 1e-3


@dataclass(frozen=True)
class GeometryMaps:
    """Metres for a coefficient of 1.

    Attributes:
        coarse: f32 [160, 3, 64, 64].
        texels: i64 [N], row · 256 + column, those that bilinear reads at UV vertices take.
        fine: f32 [160, 3, N], to be added at ``texels`` to the enlarged ``coarse``.
    """

    coarse: F32
    texels: NDArray[np.int64]
    fine: F32

    @classmethod
    def of(cls, head: HeadModel) -> GeometryMaps:
        """The maps of a head model's identity basis."""
        basis = head.identity_basis.transpose(1, 0, 2).reshape(head.vertex_count, -1).astype(np.float32)
        drawn = _rasterised(head, basis)
        blocks = drawn.reshape(COARSE_SIZE, ENLARGEMENT, COARSE_SIZE, ENLARGEMENT, -1)
        coarse = blocks.mean(axis=(1, 3)).astype(np.float16).astype(np.float32)
        along = enlarging_matrix()
        enlarged = np.tensordot(along, coarse, (1, 0))
        enlarged = np.tensordot(along, enlarged, (1, 1)).transpose(1, 0, 2).reshape(MAP_SIZE**2, -1)
        reading = vertex_readings(head.uv)
        texels = np.unique(reading.tocoo().col).astype(np.int64)
        flat = drawn.reshape(MAP_SIZE**2, -1)[texels].astype(np.float64)
        reading = csr_array(reading.tocsc()[:, texels])
        # The least change of the drawn texels that makes the readings right (minimum norm, damped).
        missed = basis[head.uv_vertex].astype(np.float64) - reading @ flat
        gram = (reading @ reading.T + _SOFTNESS * identity(reading.shape[0])).tocsc()
        exact = flat + reading.T @ splu(gram).solve(missed)
        fine = (exact - enlarged[texels]).reshape(len(texels), -1, 3).transpose(1, 2, 0)
        shaped = coarse.reshape(COARSE_SIZE, COARSE_SIZE, -1, 3).transpose(2, 3, 0, 1)
        return cls(np.ascontiguousarray(shaped), texels, np.ascontiguousarray(fine, np.float32))


def enlarging_taps() -> F32:
    """Bilinear interpolation by four as a transposed convolution of stride 4 along one axis: f32 [8]."""
    steps = np.arange(2 * ENLARGEMENT) + 0.5
    taps: F32 = (1 - np.abs(steps / ENLARGEMENT - 1)).astype(np.float32)
    return taps


def enlarging_matrix() -> F32:
    """[256, 64]: that convolution; beyond the border there is nothing."""
    matrix = np.zeros((MAP_SIZE + 2 * ENLARGEMENT, COARSE_SIZE), np.float32)
    for texel in range(COARSE_SIZE):
        start = ENLARGEMENT * texel + ENLARGEMENT // 2
        matrix[start : start + 2 * ENLARGEMENT, texel] = enlarging_taps()
    return matrix[ENLARGEMENT : ENLARGEMENT + MAP_SIZE]


def vertex_readings(uv: F32) -> csr_array:
    """[T, 256²]: what a bilinear read of a map at ``uv`` [T, 2] takes of each texel."""
    place = np.clip(uv.astype(np.float64) * MAP_SIZE - 0.5, 0, MAP_SIZE - 1)
    low = np.minimum(place.astype(np.int64), MAP_SIZE - 2)
    share = place - low
    columns, weights = [], []
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        columns.append((low[:, 1] + below) * MAP_SIZE + low[:, 0] + right)
        across = share[:, 0] if right else 1 - share[:, 0]
        weights.append(across * (share[:, 1] if below else 1 - share[:, 1]))
    rows = np.tile(np.arange(len(uv)), 4)
    there = np.concatenate(weights) > 0
    values = (np.concatenate(weights)[there], (rows[there], np.concatenate(columns)[there]))
    return csr_array(values, (len(uv), MAP_SIZE**2))


def _rasterised(head: HeadModel, values: F32) -> F32:
    """Vertex values [V, C] at texels [256, 256, C]; outside the islands those of the nearest inside."""
    # UV as clip coordinates: the top row is y = -1 in both (CONVENTIONS.md).
    flat = np.concatenate(
        [head.uv * 2 - 1, np.zeros_like(head.uv[:, :1]), np.ones_like(head.uv[:, :1])], axis=1
    )
    raster = rasterize(flat[None].astype(np.float32), head.uv_triangles, MAP_SIZE, MAP_SIZE)
    at: F32 = interpolate(np.ascontiguousarray(values)[None], head.triangles, raster)[0]
    nearest = distance_transform_edt(raster.triangle_id[0] < 0, return_distances=False, return_indices=True)
    filled: F32 = at[*nearest]
    return filled
