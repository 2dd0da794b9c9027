"""What this machine can do at best: a large matrix product and a large copy, measured with torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Ceiling:
    """Attainable rates, measured.

    Args:
        gflop_per_s: of a float32 (on a GPU: TF32 off) product of square matrices.
        gb_per_s: of a copy, bytes read and written.
    """

    gflop_per_s: float
    gb_per_s: float

    def milliseconds(self, gflop: float, gigabytes: float) -> float:
        """The least time of work that needs so many operations and so many bytes."""
        return 1e3 * max(gflop / self.gflop_per_s, gigabytes / self.gb_per_s)


def measure_ceiling(device: str) -> Ceiling:
    """Both rates on ``cpu`` or ``cuda``."""
    side, elements = (2048, 1 << 26) if device == "cpu" else (8192, 1 << 28)
    a, b = torch.ones(side, side, device=device), torch.ones(side, side, device=device)
    product = torch.empty(side, side, device=device)
    source = torch.ones(elements, device=device)
    target = torch.empty_like(source)
    product_ms = least_ms(lambda: torch.mm(a, b, out=product), device)
    copy_ms = least_ms(lambda: target.copy_(source), device)
    return Ceiling(2 * side**3 / product_ms / 1e6, 2 * 4 * elements / copy_ms / 1e6)


def least_ms(call: Callable[[], Any], device: str, seconds: float = 2.0, runs: int = 20) -> float:
    """Least time over runs that take at most about ``seconds`` together, after one that warms up.

    On the CPU, processor time of this thread, which does all the work: waiting for a busy processor is not
    counted. On a GPU, wall time until the GPU is done.
    """
    clock = time.thread_time if device == "cpu" else time.perf_counter
    wait = torch.cuda.synchronize if device == "cuda" else _no_wait
    call()
    wait()
    times: list[float] = []
    while len(times) < runs and (len(times) < 2 or sum(times) < seconds):
        started = clock()
        call()
        wait()
        times.append(clock() - started)
    return min(times) * 1e3


def _no_wait() -> None:
    return
