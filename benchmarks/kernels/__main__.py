"""Times every kernel, forward and gradient, each result checked first, beside a copy of the same bytes.

.venv/bin/python -m benchmarks.kernels                     # one CPU thread
.venv-export/bin/python -m benchmarks.kernels              # the same, also beside torch
python -m benchmarks.kernels --device cuda                 # a GPU; beside torch and nvdiffrast if installed

On a CPU times are processor time, the least of several runs, the caches warm. On a GPU they are the median
time between two events, the cache flushed before each run. The result file is written anew after each row: a
run that is stopped leaves what it had measured, and says what it did not reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernels.case import Case, LazyCase, assert_agrees, host
from benchmarks.kernels.cases import make_cases
from benchmarks.kernels.parity import find_nvdiffrast, parity_rows
from benchmarks.kernels.rasterizer_cases import rasterize_case
from benchmarks.kernels.scene import make_scene
from benchmarks.kernels.timing import CpuTimer, CudaTimer, Timer
from benchmarks.machine_load import MachineLoad
from benchmarks.run_conditions import RunConditions, write_result
from facewright_kernels._runtime.kernel_source import cpu_threads, set_cpu_threads


def measure(name: str, case: Case, timer: Timer) -> dict[str, Any]:
    """One row. Raises AssertionError where the kernel's or a rival's result is wrong: nothing wrong is
    timed.
    """
    case.check()
    expected = host(case.result(case.call())).astype(np.float64) if case.rivals else None
    for rival, call in case.rivals.items():
        assert_agrees(rival, host(call()), expected, case)
    copy_ms = timer.copy_ms(case.bytes_moved, in_place=case.in_place)
    kernel_ms = timer.ms(case.call)
    return {
        "kernel": name,
        "ms": round(kernel_ms, 4),
        "goal_ms": case.goal_ms if timer.device == "cpu" else None,
        "gb_per_s": round(case.bytes_moved / kernel_ms / 1e6, 2),
        "copy_ms": round(copy_ms, 4),
        "copy_gb_per_s": round(case.bytes_moved / copy_ms / 1e6, 2),
        "percent_of_copy": round(100 * copy_ms / kernel_ms, 1),
        "rivals_ms": {rival: round(timer.ms(call), 4) for rival, call in case.rivals.items()},
    }


def measure_all(device: str, conditions: RunConditions) -> tuple[dict[str, Any], Path]:
    """All cases on one device, and the parity with nvdiffrast or why it was not measured: the result, and
    the file that it is in.
    """
    xp, timer, batch, side = _on(device)
    nvdiffrast, why_not = find_nvdiffrast(xp)
    scene = make_scene(xp, batch, side)
    cases = make_cases(scene, nvdiffrast)
    small = scene
    if device == "cuda":
        small = make_scene(xp, 16, 512)
        cases.insert(0, rasterize_case(small, nvdiffrast))
    result = {"benchmark": "kernels", **conditions.as_row(), "threads": 1, "device": device}
    result |= {"rows": [], "failed": [], "not_reached": [], "nvdiffrast_parity": why_not or "not reached"}
    measure_each(cases, timer, result)
    if nvdiffrast is not None:
        try:
            result["nvdiffrast_parity"] = parity_rows(small, nvdiffrast)
        except Exception as error:
            result["nvdiffrast_parity"] = f"failed: {_cause(error)}"
            result["failed"].append({"kernel": "agreement with nvdiffrast", "error": _cause(error)})
    result |= conditions.as_row()
    return result, write_result("kernels", result)


def measure_each(cases: Sequence[LazyCase], timer: Timer, result: dict[str, Any]) -> None:
    """Adds rows of the cases that are right to the result, and name and error of those that are not: one
    wrong kernel does not hide the others. The result is written after each.
    """
    for number, lazy in enumerate(cases):
        result["not_reached"] = [case.name for case in cases[number:]]
        write_result("kernels", result)
        try:
            load = MachineLoad()
            row = measure(lazy.name, lazy.build(), timer) | load.as_row()
        except Exception as error:
            result["failed"].append({"kernel": lazy.name, "error": _cause(error)})
            sys.stdout.write(f"{lazy.name:42} NOT TIMED: {_cause(error)}\n")
        else:
            result["rows"].append(row)
            sys.stdout.write(f"{_line(row)}\n")
        sys.stdout.flush()
    result["not_reached"] = []
    write_result("kernels", result)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:400]


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
    conditions = RunConditions()
    if options.device == "cuda" and (conditions.gpu is None or find_spec("cupy") is None):
        sys.stderr.write("benchmarks.kernels: --device cuda needs an NVIDIA GPU and CuPy\n")
        return 2
    before = cpu_threads()
    set_cpu_threads(1)
    try:
        result, path = measure_all(options.device, conditions)
    finally:
        set_cpu_threads(before)
    for line in _parity_lines(result["nvdiffrast_parity"]):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{path}\n")
    return 1 if result["failed"] else 0


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
