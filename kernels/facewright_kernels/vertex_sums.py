"""Sums over pixels for vertices that do not depend on the order of threads: what the VJPs of the rasteriser,
of the interpolation and of the antialiasing share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource

_SOURCE = KernelSource("vertex_sums")
#: Pixels that a GPU thread walks: fewer read memory more evenly, more need fewer atomics. A CPU walks rows.
GPU_SEGMENT = 8


@dataclass(frozen=True)
class VertexSums:
    """Fixed-point sums that kernels add to (vertex_sums.h explains the two passes).

    Attributes:
        magnitudes: i32 ``[N, V]``, float bits of the largest magnitude of a vertex's terms.
        sums: u64 ``[N, V, C]``, two's complement.
        headroom: log2 of the number of terms, rounded up.
    """

    magnitudes: IntArray
    sums: npt.NDArray[np.uint64]
    headroom: int


def make_vertex_sums(xp: Any, shape: tuple[int, ...], terms: int) -> VertexSums:
    """Zero sums ``[N, V, C]`` (the ``shape``) for at most ``terms`` terms each, in ``numpy`` or ``cupy``."""
    return VertexSums(
        xp.zeros(shape[:2], np.int32),
        xp.zeros(shape, np.uint64),
        max(int(terms) - 1, 0).bit_length(),
    )


def read_vertex_sums(target: VertexSums) -> FloatArray:
    """The sums as f32 ``[N, V, C]``; NaN for vertices that had a term which is not finite."""
    out: FloatArray = array_module(target.sums).empty(target.sums.shape, np.float32)
    images, vertices, channels = target.sums.shape
    _SOURCE.launch(
        "read_sums",
        out.size,
        target.sums,
        target.magnitudes,
        out,
        images * vertices,
        channels,
        target.headroom,
    )
    return out


def run_segment(array: object, width: int) -> int:
    """Columns in a row that one index of a kernel walks."""
    return max(width, 1) if isinstance(array, np.ndarray) else GPU_SEGMENT


def run_pieces(rows: int, width: int, segment: int) -> int:
    """How many indices walk ``rows`` rows."""
    return rows * ((width + segment - 1) // segment)


def vertex_sums_reference(terms: Float64Array, vertex: IntArray, vertices: int) -> Float64Array:
    """``out[v] = Σ terms[i] where vertex[i] = v`` in float64: ``[n, C]`` to ``[V, C]``."""
    out = np.zeros((vertices, terms.shape[1]))
    np.add.at(out, vertex, terms)
    return out
