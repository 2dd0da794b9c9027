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

    def copy_ms(self, byte_count: int) -> float:
        """Milliseconds of a copy that reads half of the bytes and writes the other half."""


class CpuTimer:
    """Least processor time of this process over some runs after one that warms up: waiting for a busy
    processor is not counted.
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

    def copy_ms(self, byte_count: int) -> float:
        """Milliseconds of a copy that reads half of the bytes and writes the other half."""
        source = np.ones(max(byte_count // 2, 1), np.uint8)
        return self.ms(lambda: source.copy())


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

    def copy_ms(self, byte_count: int) -> float:
        """Milliseconds of a copy that reads half of the bytes and writes the other half."""
        source = self._cupy.ones(max(byte_count // 2, 1), np.uint8)
        target = self._cupy.empty_like(source)
        return self.ms(lambda: self._cupy.copyto(target, source))
