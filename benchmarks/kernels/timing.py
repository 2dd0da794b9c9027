"""Least or median time of a call on a CPU or a GPU, and of a copy of as many bytes on the same device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

#: More than any GPU's last-level cache, and slow enough to write (0.2 ms and more) that the host has queued
#: the call behind it before it ends: launch latency is then not part of the time between the two events.
_FLUSH_BYTES = 1 << 30


class Timer(Protocol):
    """A way to time on one kind of device."""

    device: str

    def ms(self, call: Callable[[], Any]) -> float:
        """Milliseconds of one call."""

    def copy_ms(self, byte_count: int, *, in_place: bool = False) -> float:
        """Milliseconds of a copy that reads half of the bytes and writes the other half; ``in_place``: of a
        change of sign that writes over what it reads.
        """


class CpuTimer:
    """Least processor time of this process over some runs after one that warms up: waiting for a busy
    processor is not counted. The caches are warm: what fits into them is not fetched from memory, of a kernel
    as of a copy.
    """

    device = "cpu"

    def __init__(self, runs: int = 15) -> None:
        self.runs = runs

    def ms(self, call: Callable[[], Any]) -> float:
        """Milliseconds of one call."""
        call()
        times = []
        for _ in range(self.runs):
            started = time.process_time()
            call()
            times.append(time.process_time() - started)
            if sum(times) > 3:
                break
        return min(times) * 1e3

    def copy_ms(self, byte_count: int, *, in_place: bool = False) -> float:
        """Milliseconds of a copy that reads half of the bytes and writes the other half; ``in_place``: of a
        change of sign that writes over what it reads.
        """
        return self.ms(_copy(np, byte_count, in_place))


class CudaTimer:
    """Median time between two events on CuPy's current stream, the cache flushed before each run."""

    device = "cuda"

    def __init__(self, runs: int = 30) -> None:
        import cupy

        self.runs = runs
        self._cupy = cupy
        self._flush = cupy.empty(_FLUSH_BYTES, np.uint8)

    def ms(self, call: Callable[[], Any]) -> float:
        """Milliseconds of one call."""
        for _ in range(3):
            call()
        times = []
        for _ in range(self.runs):
            start, end = self._cupy.cuda.Event(), self._cupy.cuda.Event()
            self._flush.fill(1)
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(self._cupy.cuda.get_elapsed_time(start, end))
            if sum(times) > 2000:
                break
        return float(np.median(times))

    def copy_ms(self, byte_count: int, *, in_place: bool = False) -> float:
        """Milliseconds of a copy that reads half of the bytes and writes the other half; ``in_place``: of a
        change of sign that writes over what it reads.
        """
        return self.ms(_copy(self._cupy, byte_count, in_place))


def _copy(xp: Any, byte_count: int, in_place: bool) -> Callable[[], Any]:
    source = xp.ones(max(byte_count // 8, 1), np.float32)
    if in_place:
        return lambda: xp.negative(source, out=source)
    target = xp.ones_like(source)  # written once, so that its pages are there
    return lambda: xp.copyto(target, source)
