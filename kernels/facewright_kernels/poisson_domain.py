"""Where a membrane lives: the texels of a UV layout, how they hang together, and the grid levels to solve
on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.csgraph

from facewright_kernels._runtime.boundary import FloatArray, IntArray

_COARSEST = 4
# Two links of two cells become one link of their coarse cells with their mean coupling times this.
# Interpolation is bilinear within a chart, and constant across a link: Galerkin's choice there is 2.
# Measured: with 1, as for neighbours in the grid, the correction overshoots and V-cycles diverge on wide
# linked corridors; 2 always converges, but starts finer grids from a worse solution. 1.5 converged
# in every layout tried and starts well.
_LINK_GROWTH = 1.5


@dataclass(frozen=True)
class PoissonLevel:
    """One grid. Planes are f32 ``[h + 2, w]`` with a zero row above and below.

    Attributes:
        height, width: h and w.
        chart: number of the connected chart (from 1, the largest) that a cell belongs to, 0 outside.
        left, up: coupling to the left and upper neighbour.
        link_sum: sum of the couplings of a cell's links.
        linked: i32 ``[L]``, padded index of cells that have links.
        offsets: i32 ``[L + 1]``, where each one's partners begin.
        partners: i32 ``[M]``, padded indices.
        couplings: f32 ``[M]``.
    """

    height: int
    width: int
    chart: FloatArray
    left: FloatArray
    up: FloatArray
    link_sum: FloatArray
    linked: IntArray
    offsets: IntArray
    partners: IntArray
    couplings: FloatArray


@dataclass(frozen=True)
class PoissonDomain:
    """Grid levels, finest first; made once per UV layout and size by :func:`make_poisson_domain`."""

    levels: tuple[PoissonLevel, ...]

    def to_device(self, xp: Any) -> PoissonDomain:
        """The same domain with arrays of the array module ``xp`` (``cupy``, or ``numpy``)."""
        return PoissonDomain(
            tuple(
                PoissonLevel(
                    level.height,
                    level.width,
                    *(
                        xp.asarray(getattr(level, name))
                        for name in PoissonLevel.__dataclass_fields__
                        if name not in ("height", "width")
                    ),
                )
                for level in self.levels
            )
        )


def make_poisson_domain(inside: npt.NDArray[np.bool_], links: IntArray | None = None) -> PoissonDomain:
    """Grid levels for texels that are coupled to their four neighbours, and across UV cuts by links.

    A coarse cell stands for 2 × 2 cells; the coupling of two coarse cells is half the sum of the couplings
    between their cells. (The sum alone, Galerkin's choice for piecewise constant functions, is too stiff by
    two in 2D: see Braess 1995, "Towards algebraic multigrid for elliptic problems of second order".)

    Args:
        inside: bool ``[H, W]``, texels of the layout. NumPy.
        links: i32 ``[L, 2]``, pairs of flat texel indices (row · W + column) that meet across a cut
            (:func:`facewright_kernels.seam_links`); pairs with a texel outside are an error.

    Raises:
        ValueError: wrong shape or dtype, sides that are not a multiple of 2 at least once, a link outside.
    """
    if inside.ndim != 2 or inside.dtype != np.bool_:
        raise ValueError(
            f"make_poisson_domain: inside must be bool [H, W], got {inside.dtype} {list(inside.shape)}"
        )
    height, width = inside.shape
    if min(height, width) < 2 or height % 2 or width % 2:
        raise ValueError(f"make_poisson_domain: sides must be even, got {height} x {width}")
    pairs = np.zeros((0, 2), np.int64) if links is None else np.asarray(links, np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"make_poisson_domain: links must be [L, 2], got {list(pairs.shape)}")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= inside.size or not inside.ravel()[pairs].all()):
        raise ValueError("make_poisson_domain: links must join texels inside the domain")
    left, up = np.zeros(inside.shape), np.zeros(inside.shape)
    left[:, 1:] = inside[:, 1:] & inside[:, :-1]
    up[1:] = inside[1:] & inside[:-1]
    pairs, weights = _merge(pairs, np.ones(len(pairs)))
    chart = _charts(inside, left, up, pairs)
    levels = [_level(chart, left, up, pairs, weights)]
    while height % 2 == 0 and width % 2 == 0 and min(height, width) > _COARSEST:
        blocks = chart.reshape(height // 2, 2, width // 2, 2)
        coarse = np.where(blocks > 0, blocks, np.iinfo(np.int64).max).min((1, 3))
        coarse[~(blocks > 0).any((1, 3))] = 0
        kept = (chart > 0) & (chart == coarse.repeat(2, 0).repeat(2, 1))
        left[:, 1:] *= kept[:, 1:] & kept[:, :-1]
        up[1:] *= kept[1:] & kept[:-1]
        left = left[:, ::2].reshape(height // 2, 2, width // 2).sum(1) / 2
        up = up[::2].reshape(height // 2, width // 2, 2).sum(2) / 2
        both = kept.ravel()[pairs].all(1)
        pairs = pairs[both] // width // 2 * (width // 2) + pairs[both] % width // 2
        pairs, weights = _merge(pairs, _LINK_GROWTH / 2 * weights[both])
        height, width, chart = height // 2, width // 2, coarse
        levels.append(_level(chart, left, up, pairs, weights))
    return PoissonDomain(tuple(levels))


def _merge(
    pairs: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Each unordered pair of different cells once, with the sum of its weights."""
    pairs = np.sort(pairs, axis=1)
    apart = pairs[:, 0] != pairs[:, 1]
    pairs, weights = pairs[apart], weights[apart]
    if not len(pairs):
        return pairs, weights
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return unique, np.bincount(inverse.ravel(), weights, len(unique)).astype(np.float64)


def _charts(
    inside: npt.NDArray[np.bool_],
    left: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    pairs: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Connected components of the domain (links connect), numbered from 1 by size; 0 outside."""
    beside, below = np.flatnonzero(left), np.flatnonzero(up)
    start = np.concatenate([beside, below, pairs[:, 0]])
    end = np.concatenate([beside - 1, below - inside.shape[1], pairs[:, 1]])
    graph = scipy.sparse.coo_matrix((np.ones(len(start), np.int8), (start, end)), (inside.size, inside.size))
    _, component = scipy.sparse.csgraph.connected_components(graph, directed=False)
    number = np.zeros(component.max(initial=0) + 1, np.int64)
    sizes = np.bincount(component[inside.ravel()], minlength=len(number))
    number[np.argsort(-sizes, kind="stable")] = np.arange(1, len(number) + 1)
    return np.where(inside, number[component].reshape(inside.shape), 0)


def _level(
    chart: npt.NDArray[np.int64],
    left: npt.NDArray[np.float64],
    up: npt.NDArray[np.float64],
    pairs: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
) -> PoissonLevel:
    height, width = chart.shape

    def padded(plane: npt.NDArray[Any]) -> FloatArray:
        out = np.zeros((height + 2, width), np.float32)
        out[1:-1] = plane
        return out

    both = np.concatenate([pairs, pairs[:, ::-1]]) + width
    order = np.lexsort((both[:, 1], both[:, 0]))
    both, doubled = both[order], np.tile(weights, 2)[order]
    linked, starts = np.unique(both[:, 0], return_index=True)
    link_sum = np.zeros((height + 2) * width, np.float32)
    np.add.at(link_sum, both[:, 0], doubled.astype(np.float32))
    return PoissonLevel(
        height,
        width,
        padded(chart),
        padded(left),
        padded(up),
        link_sum.reshape(height + 2, width),
        linked.astype(np.int32),
        np.append(starts, len(both)).astype(np.int32),
        np.ascontiguousarray(both[:, 1], np.int32),
        doubled.astype(np.float32),
    )
