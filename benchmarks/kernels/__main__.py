"""Times every kernel, forward and gradient, each result checked first, beside a copy of the same bytes.

.venv/bin/python -m benchmarks.kernels                     # one CPU thread
.venv-export/bin/python -m benchmarks.kernels              # the same, also beside torch
python -m benchmarks.kernels --device cuda                 # a GPU; beside torch and nvdiffrast if installed

On a CPU times are processor time, the least of several runs. On a GPU they are the median time between two
events, the cache flushed before each run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels.case import Case, host
from benchmarks.kernels.cases import make_cases
from benchmarks.kernels.gradient_cases import make_gradient_cases
from benchmarks.kernels.parity import find_nvdiffrast, parity_rows
from benchmarks.kernels.rasterizer_cases import make_rasterizer_cases, rasterize_case
from benchmarks.kernels.scene import make_scene
from benchmarks.kernels.timing import CpuTimer, CudaTimer, Timer
from benchmarks.run_conditions import run_conditions, write_result
from facewright_kernels.kernel_source import cpu_threads, set_cpu_threads


def measure(case: Case, timer: Timer) -> dict[str, Any]:
    """One row. Raises AssertionError where the kernel's or a rival's result is wrong: nothing wrong is
    timed.
    """
    case.check()
    for name, rival in case.rivals.items():
        expected = host(case.result(case.call())).astype(np.float64)
        error = np.abs(host(rival()) - expected).max(initial=0)
        limit = case.rival_error * np.abs(expected).max(initial=0)
        assert error <= limit, f"{case.name}: {name} differs by {error:.3g}, more than {limit:.3g}"
    copy_ms = timer.copy_ms(case.bytes_moved)
    kernel_ms = timer.ms(case.call)
    return {
        "kernel": case.name,
        "ms": round(kernel_ms, 4),
        "goal_ms": case.goal_ms if timer.device == "cpu" else None,
        "gb_per_s": round(case.bytes_moved / kernel_ms / 1e6, 2),
        "copy_ms": round(copy_ms, 4),
        "copy_gb_per_s": round(case.bytes_moved / copy_ms / 1e6, 2),
        "percent_of_copy": round(100 * copy_ms / kernel_ms, 1),
        "rivals_ms": {name: round(timer.ms(rival), 4) for name, rival in case.rivals.items()},
    }


def measure_all(device: str) -> dict[str, Any]:
    """All cases on one device, and the parity with nvdiffrast or why it was not measured."""
    xp, timer, batch, side = _on(device)
    nvdiffrast, why_not = find_nvdiffrast(xp)
    scene = make_scene(xp, batch, side)
    cases = [
        *make_rasterizer_cases(scene, nvdiffrast),
        *make_cases(scene),
        *make_gradient_cases(scene),
    ]
    small = scene
    if device == "cuda":
        small = make_scene(xp, 16, 512)
        clip = kernels.pinhole_clip_positions(small.vertices, small.camera)
        cases.insert(0, rasterize_case(small, clip, nvdiffrast))
    rows, failed = measure_each(cases, timer)
    parity: Any = why_not if nvdiffrast is None else parity_rows(small, nvdiffrast)
    return {"device": device, "rows": rows, "failed": failed, "nvdiffrast_parity": parity}


def measure_each(cases: Sequence[Case], timer: Timer) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Rows of the cases that are right, and name and error of those that are not: one wrong kernel does not
    hide the others.
    """
    rows, failed = [], []
    for case in cases:
        try:
            rows.append(measure(case, timer))
        except Exception as error:
            failed.append({"kernel": case.name, "error": f"{type(error).__name__}: {error}"[:400]})
            sys.stdout.write(f"{case.name:42} NOT TIMED: {failed[-1]['error']}\n")
        else:
            sys.stdout.write(f"{_line(rows[-1])}\n")
        sys.stdout.flush()
    return rows, failed


def _on(device: str) -> tuple[Any, Timer, int, int]:
    """Array module, timer, batch and side of images on a device."""
    if device == "cpu":
        return np, CpuTimer(), 1, 512
    import cupy

    return cupy, CudaTimer(), 8, 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all cases, prints the table and writes the result file; 1 where a result was wrong, 2 where there
    is no GPU for ``cuda``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(arguments)
    conditions = run_conditions()
    if options.device == "cuda" and (conditions["gpu"] is None or find_spec("cupy") is None):
        sys.stderr.write("benchmarks.kernels: --device cuda needs an NVIDIA GPU and CuPy\n")
        return 2
    before = cpu_threads()
    set_cpu_threads(1)
    try:
        measured = measure_all(options.device)
    finally:
        set_cpu_threads(before)
    for line in _parity_lines(measured["nvdiffrast_parity"]):
        sys.stdout.write(f"{line}\n")
    result = {"benchmark": "kernels", **conditions, "threads": 1, **measured}
    sys.stdout.write(f"{write_result('kernels', result)}\n")
    return 1 if measured["failed"] else 0


def _line(row: dict[str, Any]) -> str:
    rivals = ", ".join(f"{name} {ms:.2f}" for name, ms in row["rivals_ms"].items())
    return (
        f"{row['kernel']:42} {row['ms']:9.3f} ms {row['gb_per_s']:8.1f} GB/s {row['percent_of_copy']:5.1f} % "
        f"of a copy ({row['copy_ms']:.3f} ms) {rivals}"
    )


def _parity_lines(parity: Any) -> list[str]:
    if isinstance(parity, str):
        return [f"parity with nvdiffrast: {parity}"]
    return [
        f"{row['operation']:32} largest {row['largest_difference']:.2e} mean {row['mean_difference']:.2e} "
        f"of {row['largest_magnitude']:.2e}"
        + (
            f", other triangle at {row['other_triangle']} of {row['pixels']} pixels"
            if row["other_triangle"]
            else ""
        )
        for row in parity
    ]


if __name__ == "__main__":
    sys.exit(main())
