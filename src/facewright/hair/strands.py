"""Strands of hair, as a pattern of light and dark over the scalp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, Range, Triple
from facewright.head.head_model import HeadModel


@dataclass(frozen=True)
class StrandSettings:
    """The pattern of strands: noise on a lattice that runs around and along the meridians, locks first."""

    #: Cells around the head and along a meridian, and amplitudes, of locks, strands and hairs.
    around: Annotated[tuple[int, int, int], "cells", BY_EYE] = (90, 260, 700)
    along: Annotated[tuple[int, int, int], "cells", BY_EYE] = (3, 5, 8)
    amplitudes: Annotated[Triple, "relative", BY_EYE] = (0.55, 0.8, 0.6)
    #: The same of the two waves in which they run, and how much more the finest wave.
    wave_around: Annotated[tuple[int, int], "cells", BY_EYE] = (24, 60)
    wave_along: Annotated[tuple[int, int], "cells", BY_EYE] = (6, 12)
    wave_amplitudes: Annotated[Range, "turns", BY_EYE] = (0.006, 0.003)
    finest_wave: Annotated[float, "times", BY_EYE] = 1.3
    #: Distance from the crown's axis within which strands fade, and what is left of them: meridians crowd
    #: there, and strands would only flicker.
    crown: Annotated[float, "metres", BY_EYE] = 0.03
    crown_share: Annotated[float, "share", BY_EYE] = 0.15
    #: How far the crown lies behind the middle of the scalp, as a share of the way to its front.
    crown_behind: Annotated[float, "share", BY_EYE] = 0.25


def hair_strands(
    head: HeadModel, position: Floats, rng: np.random.Generator, settings: StrandSettings
) -> Floats:
    """Brightness of strands f32 ``[N]``, mean about 0 and standard deviation 1/3.

    They run down meridians from the crown (back of the top of the scalp), wave a little, and gather in locks.

    Args:
        head: the head model.
        position: f32 ``[N, 3]``, points on the canonical head, metres.
        rng: decides where they lie.
        settings: their pattern.
    """
    scalp = head.vertices_canonical[head.region("scalp") > 0.5]
    top, bottom = scalp[:, 1].max(), scalp[:, 1].min()
    middle = 0.5 * (scalp[:, 2].min() + scalp[:, 2].max())
    crown = np.array([0.0, top, middle - settings.crown_behind * (scalp[:, 2].max() - middle)], np.float32)
    offset = position - crown
    azimuth = np.arctan2(offset[:, 0], offset[:, 2]) / (2 * np.pi)
    down = np.clip((top - position[:, 1]) / max(top - bottom, 1e-6), 0.0, 2.0)

    def noise(around: int, along: int, turned: Floats) -> Floats:
        return _lattice(rng, around, along, turned, down)

    waves = zip(settings.wave_amplitudes, settings.wave_around, settings.wave_along, strict=True)
    wave = sum(amplitude * noise(around, along, azimuth) for amplitude, around, along in waves)
    turned = (azimuth + wave, azimuth + wave, azimuth + settings.finest_wave * wave)
    cells = zip(settings.amplitudes, settings.around, settings.along, turned, strict=True)
    strands = sum(amplitude * noise(around, along, at) for amplitude, around, along, at in cells)
    off_axis = np.hypot(offset[:, 0], offset[:, 2])
    strands = strands * np.clip(off_axis / settings.crown, settings.crown_share, 1.0)
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
