"""Losses of a refinement's iterations, the best of each photo, and who has stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np

from facewright.core.arrays import Array
from facewright.refine.device import RefinementDevice
from facewright.refine.options import RefinementOptions

#: Columns of the losses: all of eq. 2, then its terms before they are weighted.
LOSS_NAMES: Final = ("total", "latent", "perceptual", "identity")
#: A loss counts as better, for ``patience``, when it is lower by this share.
PLATEAU_DROP: Final = 1e-3


class Ended(StrEnum):
    """Why the refinement of a photo ended."""

    ITERATIONS = "iterations"
    PLATEAU = "plateau"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Parameters:
    """What a refinement changes, of B photos or of one; or gradients by it.

    Attributes:
        w_plus: f32 ``[B, L, 512]``.
        head_to_camera: f32 ``[B, 3, 4]``, metres.
        sh_light: f32 ``[B, 9, 3]``.
    """

    w_plus: Array
    head_to_camera: Array
    sh_light: Array

    def copy(self) -> Parameters:
        """The same numbers in memory of their own."""
        return Parameters(self.w_plus.copy(), self.head_to_camera.copy(), self.sh_light.copy())


@dataclass(frozen=True)
class Refinement:
    """The best that was found for one photo; host arrays.

    Attributes:
        best: latents ``[L, 512]``, camera ``[3, 4]`` and light ``[9, 3]`` of the lowest total loss.
        losses: f32 ``[N, 4]``, of each iteration, columns `LOSS_NAMES`; a total of NaN among finite terms:
            nothing of the head was seen.
        best_iteration: whose parameters these are; −1 for the start, where no loss was computed.
        ended: why it ended.
    """

    best: Parameters
    losses: Array
    best_iteration: int
    ended: Ended


class RefinementHistory:
    """Bookkeeping of a batch, on its device, without waiting for it.

    Args:
        start: what to answer for photos that are stopped before their first iteration.
        options: iterations and patience.
        device: of ``start``.
    """

    def __init__(self, start: Parameters, options: RefinementOptions, device: RefinementDevice) -> None:
        xp, batch = device.xp, len(start.w_plus)
        self._device, self._options = device, options
        self._best = start.copy()
        self._best_loss = xp.full(batch, np.inf, np.float32)
        self._best_iteration = xp.full(batch, -1, np.int32)
        self._plateau_loss = xp.full(batch, np.inf, np.float32)
        self._since_drop = xp.zeros(batch, np.int32)
        self._diverged = xp.zeros(batch, np.bool_)
        self._iterations = xp.zeros(batch, np.int32)
        self._losses = xp.full((options.iterations, batch, len(LOSS_NAMES)), np.nan, np.float32)
        self._stopped: dict[int, Ended] = {}
        #: Which photos still change, bool [B].
        self.active: Any = xp.ones(batch, np.bool_)

    def record(self, iteration: int, losses: Array, tried: Parameters) -> None:
        """Losses f32 ``[B, 4]`` of the parameters that an iteration tried. Photos without patience left, or
        whose loss is not finite, stop.
        """
        xp, total = self._device.xp, losses[:, 0]
        self._losses[iteration] = xp.where(self.active[:, None], losses, np.float32(np.nan))
        self._iterations += self.active
        self._diverged |= self.active & ~xp.isfinite(total)
        self.active &= ~self._diverged

        better = self.active & (total < self._best_loss)
        for field in ("w_plus", "head_to_camera", "sh_light"):
            xp.copyto(getattr(self._best, field), getattr(tried, field), where=better[:, None, None])
        xp.copyto(self._best_loss, total, where=better)
        self._best_iteration[...] = xp.where(better, np.int32(iteration), self._best_iteration)
        dropped = total < self._plateau_loss * np.float32(1 - PLATEAU_DROP)
        xp.copyto(self._plateau_loss, total, where=dropped)
        self._since_drop[...] = xp.where(dropped, 0, self._since_drop + self.active)
        if self._options.patience:
            self.active &= self._since_drop < self._options.patience

    def stop(self, row: int, why: Ended) -> None:
        """A photo stays as it is from now on; the first reason counts."""
        self.active[row] = False
        self._stopped.setdefault(row, why)

    @property
    def all_stopped(self) -> bool:
        """Whether every photo was stopped by `stop`; knows nothing of those that stopped by themselves."""
        return len(self._stopped) == len(self._iterations)

    def losses_of(self, iteration: int, row: int) -> Array:
        """f32 ``[4]`` of a photo's iteration (`LOSS_NAMES`), on the host; NaN once it has stopped."""
        return self._device.host(self._losses[iteration, row])

    def results(self) -> list[Refinement]:
        """The best so far of each photo."""
        host, best = self._device.host, self._best
        w_plus, poses, lights = host(best.w_plus), host(best.head_to_camera), host(best.sh_light)
        losses, counts, iterations = host(self._losses), host(self._iterations), host(self._best_iteration)
        return [
            Refinement(
                Parameters(w_plus[row], poses[row], lights[row]),
                losses[: counts[row], row],
                int(iterations[row]),
                ended,
            )
            for row, ended in enumerate(self._reasons())
        ]

    def _reasons(self) -> list[Ended]:
        diverged, since = self._device.host(self._diverged), self._device.host(self._since_drop)
        reasons = []
        for row in range(len(diverged)):
            if diverged[row]:
                reasons.append(Ended.DIVERGED)
            elif row in self._stopped:
                reasons.append(self._stopped[row])
            elif self._options.patience and since[row] >= self._options.patience:
                reasons.append(Ended.PLATEAU)
            else:
                reasons.append(Ended.ITERATIONS)
        return reasons
