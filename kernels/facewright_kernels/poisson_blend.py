"""Seam-free completion of a texture: a background takes the place of what is unknown, its colours bent to
fit.

Minimises, over the texels of a UV layout, for each channel,

    E(h) = Σ_i κ_i (h_i − (f_i − g_i))² + Σ_(i,j) (h_i − h_j)²,   κ = w / (1.001 − w),

with f the foreground, g the background, w how well f is known (0–1), and pairs (i, j) of neighbouring
texels and of texels that meet across UV cuts. Where w is 1 this is the membrane of Pérez, Gangnet and Blake
2003, "Poisson image editing", eqs 7–9 (g + h has the background's gradients and the foreground's values on
the rim); a w between 0 and 1 lets uncertain texels give way. The result is w f + (1 − w)(g + h).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.poisson_domain import PoissonDomain, PoissonLevel

_SOURCE = KernelSource("poisson_blend")
# Two sweeps with the roots of the Chebyshev polynomial over the upper 3/4 of the spectrum, [1/2, 2]: they
# damp what the coarser grid cannot see by 0.22 (two equal Jacobi sweeps: 0.36).
_OMEGAS = (0.5617, 1.3892)
_COARSEST_SWEEPS = 6
# Pulls h to 0 where nothing at all is known, e.g. in a chart of its own; negligible elsewhere.
_REGULARISATION = 1e-6


@dataclass
class _Grid:
    """A level with this call's data: planes f32 ``[B (· C), h + 2, w]``."""

    level: PoissonLevel
    stiffness: Any
    diagonal: Any
    inverse: Any
    rhs: Any
    h: Any
    spare: Any
    saved: Any


def poisson_blend(
    foreground: FloatArray,
    background: FloatArray,
    weight: FloatArray,
    domain: PoissonDomain,
    *,
    cycles: int = 1,
) -> FloatArray:
    """Complete a partly known texture with a background, without seams.

    Full multigrid: the problem is solved on the coarsest grid, and each finer grid starts from there and runs
    ``cycles`` V-cycles with two sweeps before and two after.

    Args:
        foreground: f32 ``[B, H, W, C]``; values where ``weight`` is 0 do not matter (NaN is fine).
        background: f32 ``[B, H, W, C]``, finite.
        weight: f32 ``[B, H, W]``, 0 (unknown) to 1 (certain).
        domain: of :func:`make_poisson_domain` for H × W, on the device of the images.
        cycles: V-cycles on each grid, 1 to 20.

    Returns:
        f32 ``[B, H, W, C]``; the background outside the domain.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, cycles out of range, a domain of another size.
    """
    check = Boundary("poisson_blend")
    foreground = check.array("foreground", foreground, "float32", "B H W C")
    background = check.array("background", background, "float32", "B H W C")
    weight = check.array("weight", weight, "float32", "B H W")
    check.number("cycles", cycles, 1, 20)
    _check_levels(check, domain.levels)
    finest = domain.levels[0]
    if (finest.height, finest.width) != (check.size("H"), check.size("W")):
        raise ValueError(
            f"poisson_blend: domain is {finest.height} x {finest.width}, "
            f"images are {check.size('H')} x {check.size('W')}"
        )
    xp = array_module(foreground)
    batch, channels = check.size("B"), check.size("C")
    grids = _make_grids(domain.levels, batch, channels, xp)
    shape = (batch, channels, finest.height, finest.width)
    pixels = batch * finest.height * finest.width
    top = grids[0]
    images = (foreground, background, weight, finest.chart)
    _SOURCE.launch("membrane_data", pixels, *images, top.stiffness, top.rhs, *shape, _REGULARISATION)
    for fine, coarse in itertools.pairwise(grids):
        size = (fine.level.height, fine.level.width)
        charts = (fine.level.chart, coarse.level.chart)
        cells = coarse.level.height * coarse.level.width
        _SOURCE.launch(
            "membrane_restrict", batch * cells, fine.stiffness, *charts, coarse.stiffness, batch, *size
        )
        layers = batch * channels
        _SOURCE.launch("membrane_restrict", layers * cells, fine.rhs, *charts, coarse.rhs, layers, *size)
    for grid in grids:
        level = grid.level
        _SOURCE.launch(
            "membrane_diagonal",
            batch * level.height * level.width,
            grid.stiffness,
            level.left,
            level.up,
            level.link_sum,
            grid.diagonal,
            grid.inverse,
            batch,
            level.height,
            level.width,
        )
    _full_multigrid(grids, batch, channels, cycles)
    out: FloatArray = xp.empty(foreground.shape, np.float32)
    _SOURCE.launch("membrane_compose", pixels, *images, top.h, out, *shape)
    return out


def _check_levels(check: Boundary, levels: tuple[PoissonLevel, ...]) -> None:
    """Every plane and every list of links is as long as kernels take it to be. Raises ValueError."""
    if not levels:
        raise ValueError(f"{check.function}: domain must have at least one level")
    for number, level in enumerate(levels):
        if number and (level.height, level.width) != (
            levels[number - 1].height // 2,
            levels[number - 1].width // 2,
        ):
            raise ValueError(
                f"{check.function}: domain.levels[{number}] must have half the sides of the level before it, "
                f"is {level.height} x {level.width}"
            )
        at = f"domain.levels[{number}]"
        for name in ("chart", "left", "up", "link_sum"):
            plane = f"{level.height + 2} {level.width}"
            check.array(f"{at}.{name}", getattr(level, name), "float32", plane)
        cells = (level.height + 2) * level.width
        check.array(f"{at}.offsets", level.offsets, "int32", str(len(level.linked) + 1))
        check.array(f"{at}.couplings", level.couplings, "float32", str(len(level.partners)))
        for name in ("linked", "partners"):
            check.array(f"{at}.{name}", getattr(level, name), "int32", "_")
            check.indices(f"{at}.{name}", getattr(level, name), cells)
        check.offsets(f"{at}.offsets", level.offsets, len(level.partners))


def _make_grids(levels: tuple[PoissonLevel, ...], batch: int, channels: int, xp: Any) -> list[_Grid]:
    layers = batch * channels
    # Stiffness, diagonal, inverse; right-hand side, h, spare.
    counts = (batch, batch, batch, layers, layers, layers)
    planes = [(level.height + 2) * level.width for level in levels]
    # One allocation gets huge pages where many would not: pages that are new to a process are slow.
    memory = xp.zeros(sum(counts) * sum(planes), np.float32)
    grids, at = [], 0
    for level, plane in zip(levels, planes, strict=True):
        parts = []
        for count in counts:
            part = memory[at : at + count * plane]
            parts.append(part.reshape(count, level.height + 2, level.width))
            at += count * plane
        parts.append(xp.empty((layers, len(level.linked)), np.float32))
        grids.append(_Grid(level, *parts))
    return grids


def _full_multigrid(grids: list[_Grid], batch: int, channels: int, cycles: int) -> None:
    # Restricted problems are solved with their own right-hand sides; V-cycles below overwrite those of
    # coarser grids, which are not needed again.
    for start in range(len(grids) - 1, -1, -1):
        grid = grids[start]
        _save_linked(grid)
        if start + 1 < len(grids):
            _prolong(grids[start + 1], grid, keep=0.0)
        for _ in range(cycles):
            _v_cycle(grids, start, batch, channels)


def _v_cycle(grids: list[_Grid], at: int, batch: int, channels: int) -> None:
    grid = grids[at]
    if at + 1 == len(grids):
        for _ in range(_COARSEST_SWEEPS):
            _relax(grid, batch, channels)
        return
    _relax(grid, batch, channels)
    coarse = grids[at + 1]
    level = grid.level
    _links(grid)
    _SOURCE.launch(
        "membrane_restrict_residual",
        batch * channels * coarse.level.height * coarse.level.width,
        grid.h,
        grid.rhs,
        grid.diagonal,
        level.left,
        level.up,
        level.chart,
        coarse.level.chart,
        coarse.rhs,
        batch,
        channels,
        level.height,
        level.width,
    )
    _save_linked(coarse)
    coarse.h.fill(0)
    _v_cycle(grids, at + 1, batch, channels)
    _prolong(coarse, grid, keep=1.0)
    _relax(grid, batch, channels)


def _relax(grid: _Grid, batch: int, channels: int) -> None:
    level = grid.level
    for omega in _OMEGAS:
        _links(grid)
        _SOURCE.launch(
            "membrane_relax",
            batch * channels * level.height * level.width,
            grid.h,
            grid.rhs,
            grid.inverse,
            level.left,
            level.up,
            grid.spare,
            batch,
            channels,
            level.height,
            level.width,
            omega,
        )
        grid.h, grid.spare = grid.spare, grid.h


def _prolong(coarse: _Grid, fine: _Grid, keep: float) -> None:
    level = fine.level
    layers = len(fine.h)
    _SOURCE.launch(
        "membrane_prolong",
        layers * coarse.level.height * coarse.level.width,
        coarse.h,
        coarse.level.chart,
        level.chart,
        fine.h,
        layers,
        level.height,
        level.width,
        keep,
    )


def _save_linked(grid: _Grid) -> None:
    level = grid.level
    count = grid.saved.size
    if count:
        plane = (level.height + 2) * level.width
        _SOURCE.launch(
            "membrane_save_linked",
            count,
            grid.rhs,
            level.linked,
            grid.saved,
            len(grid.rhs),
            len(level.linked),
            plane,
        )


def _links(grid: _Grid) -> None:
    level = grid.level
    count = grid.saved.size
    if count:
        plane = (level.height + 2) * level.width
        _SOURCE.launch(
            "membrane_links",
            count,
            grid.h,
            grid.saved,
            level.linked,
            level.offsets,
            level.partners,
            level.couplings,
            grid.rhs,
            len(grid.rhs),
            len(level.linked),
            len(level.partners),
            plane,
        )


def poisson_blend_reference(
    foreground: Float64Array, background: Float64Array, weight: Float64Array, domain: PoissonDomain
) -> Float64Array:
    """One image in float64: the minimiser of E(h) by a sparse direct solve of its normal equations."""
    import scipy.sparse
    import scipy.sparse.linalg

    level = domain.levels[0]
    inside = np.asarray(level.chart[1:-1]) > 0
    number = np.full((level.height + 2) * level.width, -1)
    number.reshape(level.height + 2, level.width)[1:-1][inside] = np.arange(inside.sum())
    ends, partners, couplings = [], [], []
    for plane, step in ((level.left, 1), (level.up, level.width)):
        cells = np.nonzero(plane.ravel())[0]
        ends += [number[cells], number[cells - step]]
        partners += [number[cells - step], number[cells]]
        couplings += [plane.ravel()[cells]] * 2
    ends.append(number[np.repeat(level.linked, np.diff(level.offsets))])
    partners.append(number[level.partners])
    couplings.append(level.couplings)
    count = int(inside.sum())
    adjacency = scipy.sparse.csr_matrix(
        (np.concatenate(couplings).astype(float), (np.concatenate(ends), np.concatenate(partners))),
        (count, count),
    )
    data = (weight / (1.001 - weight))[inside]
    matrix = (
        scipy.sparse.diags(data + _REGULARISATION + np.asarray(adjacency.sum(1)).ravel()) - adjacency
    ).tocsc()
    known = weight[inside] > 0
    offset = np.where(known[:, None], foreground[inside] - background[inside], 0)
    h = scipy.sparse.linalg.spsolve(matrix, data[:, None] * offset).reshape(count, -1)
    out = np.array(background, np.float64)
    kept = weight[inside][:, None]
    out[inside] = np.where(kept > 0, kept * foreground[inside], 0) + (1 - kept) * (background[inside] + h)
    return out
