"""Strands of hair, as a pattern of light and dark over the scalp."""

from __future__ import annotations

import numpy as np

from facewright.core.arrays import Floats
from facewright.head.head_model import HeadModel


def hair_strands(head: HeadModel, position: Floats, rng: np.random.Generator) -> Floats:
    """Brightness of strands f32 ``[N]``, mean about 0 and standard deviation 1/3.

    They run down meridians from the crown (back of the top of the scalp), wave a little, and gather in locks.

    Args:
        head: the head model.
        position: f32 ``[N, 3]``, points on the mean head, metres.
        rng: decides where they lie.
    """
    scalp = head.vertices_mean[head.region("scalp") > 0.5]
    top, bottom = scalp[:, 1].max(), scalp[:, 1].min()
    middle = 0.5 * (scalp[:, 2].min() + scalp[:, 2].max())
    crown = np.array([0.0, top, middle - 0.25 * (scalp[:, 2].max() - middle)], np.float32)
    offset = position - crown
    azimuth = np.arctan2(offset[:, 0], offset[:, 2]) / (2 * np.pi)
    down = np.clip((top - position[:, 1]) / max(top - bottom, 1e-6), 0.0, 2.0)
    wave = 0.006 * _lattice(rng, 24, 6, azimuth, down) + 0.003 * _lattice(rng, 60, 12, azimuth, down)
    strands = (
        0.55 * _lattice(rng, 90, 3, azimuth + wave, down)
        + 0.8 * _lattice(rng, 260, 5, azimuth + wave, down)
        + 0.6 * _lattice(rng, 700, 8, azimuth + 1.3 * wave, down)
    )
    # Meridians crowd at the crown: fade the strands there, where they would only flicker.
    strands *= np.clip(np.hypot(offset[:, 0], offset[:, 2]) / 0.03, 0.15, 1.0)
    result: Floats = strands / (3 * strands.std())
    return result


def _lattice(rng: np.random.Generator, around: int, along: int, azimuth: Floats, down: Floats) -> Floats:
    """Value noise f32 ``[N]``, standard normal on the lattice, periodic in ``azimuth`` (turns)."""
    grid = rng.standard_normal((around, along * 2 + 2)).astype(np.float32)
    grid = np.concatenate([grid, grid[:1]], axis=0)
    u = (azimuth - np.floor(azimuth)) * around
    v = np.clip(down, 0.0, 2.0) * along
    i, j = np.minimum(u.astype(np.int32), around - 1), v.astype(np.int32)
    fu, fv = u - i, v - j
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    low = grid[i, j] * (1 - fu) + grid[i + 1, j] * fu
    high = grid[i, j + 1] * (1 - fu) + grid[i + 1, j + 1] * fu
    result: Floats = (low * (1 - fv) + high * fv).astype(np.float32)
    return result
