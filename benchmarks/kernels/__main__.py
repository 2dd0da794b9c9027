"""Times every kernel on one CPU thread, each result checked first, beside a copy of the same bytes.

.venv/bin/python -m benchmarks.kernels

Times are the thread's processor time, the least of several runs: waiting for a busy processor is not counted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.kernels.cases import Case, make_cases
from benchmarks.kernels.scene import make_scene
from benchmarks.run_conditions import run_conditions, write_result
from facewright_kernels.kernel_source import cpu_threads, set_cpu_threads


def least_ms(call: Callable[[], Any], runs: int = 15) -> float:
    """Least processor time of this thread over some runs after one that warms up, milliseconds."""
    call()
    times = []
    for _ in range(runs):
        started = time.thread_time()
        call()
        times.append(time.thread_time() - started)
    return min(times) * 1e3


def measure(case: Case) -> dict[str, Any]:
    """One row. Raises AssertionError where the kernel's result is wrong: nothing wrong is timed."""
    case.check()
    source = np.ones(max(case.bytes_moved // 2, 1), np.uint8)
    copy_ms = least_ms(lambda: source.copy())  # reads half of the bytes and writes the other half
    kernel_ms = least_ms(case.call)
    return {
        "kernel": case.name,
        "ms": round(kernel_ms, 3),
        "goal_ms": case.goal_ms,
        "gb_per_s": round(case.bytes_moved / kernel_ms / 1e6, 2),
        "copy_ms": round(copy_ms, 3),
        "copy_gb_per_s": round(case.bytes_moved / copy_ms / 1e6, 2),
    }


def main() -> int:
    """Runs all cases, prints the table and writes the result file."""
    conditions = run_conditions()
    before = cpu_threads()
    set_cpu_threads(1)
    try:
        rows = [measure(case) for case in make_cases(make_scene())]
    finally:
        set_cpu_threads(before)
    sys.stdout.write(f"{'kernel':36} {'ms':>8} {'goal':>6} {'GB/s':>7} {'copy ms':>8} {'copy GB/s':>9}\n")
    for row in rows:
        goal = "" if row["goal_ms"] is None else f"{row['goal_ms']:.0f}"
        sys.stdout.write(
            f"{row['kernel']:36} {row['ms']:8.2f} {goal:>6} {row['gb_per_s']:7.2f} "
            f"{row['copy_ms']:8.2f} {row['copy_gb_per_s']:9.2f}\n"
        )
    result = {"benchmark": "kernels", **conditions, "threads": 1, "device": "cpu", "rows": rows}
    sys.stdout.write(f"{write_result('kernels', result)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
