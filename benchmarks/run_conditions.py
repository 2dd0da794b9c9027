"""What a measurement was taken with: commit, date, processor, GPU, versions, and what else the machine did.
Part of every result file.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.machine_load import MachineLoad

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
#: Names a folder for results instead of :data:`RESULTS` (scripts/gpu-suite sets it).
RESULTS_VARIABLE = "FACEWRIGHT_BENCHMARK_RESULTS"
#: Says which commit a copy without a ``.git`` folder is.
COMMIT_VARIABLE = "FACEWRIGHT_COMMIT"
_PACKAGES = (
    "numpy",
    "scipy",
    "onnxruntime",
    "onnxruntime-gpu",
    "pillow",
    "tritonclient",
    "dlib-bin",
    "torch",
    "cupy-cuda13x",
    "cupy-cuda12x",
    "nvdiffrast",
    "tensorrt",
)


class RunConditions:
    """What a run is taken with. Made before it begins; the row afterwards also says what the machine did.

    Attributes:
        commit: ``+changes`` where the sources differ from it.
        gpu: name, driver and memory; None where there is none.
    """

    def __init__(self) -> None:
        self.commit = _commit()
        self.gpu = find_gpu()
        self._before: dict[str, Any] = {
            "commit": self.commit,
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "cpu": _cpu_name(),
            "cpu_count": len(os.sched_getaffinity(0)),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "gpu": self.gpu,
            "load_average_before": round(os.getloadavg()[0], 2),
            "python": platform.python_version(),
            "versions": _versions(),
        }
        self._load = MachineLoad()

    def as_row(self) -> dict[str, Any]:
        """Commit, UTC date of the beginning, processor, memory, GPU, load average before, versions; and how
        busy this run and everything else kept the cores until now (`MachineLoad`).
        """
        return {**self._before, **self._load.as_row()}


def result_path(name: str, device: str = "cpu") -> Path:
    """Where the result of a benchmark lies: ``<name>.json`` in ``benchmarks/results``, or in its folder
    ``gpu`` for ``cuda``, or in the folder that ``FACEWRIGHT_BENCHMARK_RESULTS`` names.
    """
    chosen = os.environ.get(RESULTS_VARIABLE)
    folder = Path(chosen) if chosen else RESULTS / ("gpu" if device == "cuda" else "")
    return folder / f"{name}.json"


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Writes the result to its `result_path`, replacing the last run of the same benchmark."""
    path = result_path(name, result.get("device", "cpu"))
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")  # a benchmark may be stopped while it writes
    unfinished.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return unfinished.replace(path)


def find_gpu() -> dict[str, str] | None:
    """Name, driver and memory of the first NVIDIA GPU as ``nvidia-smi`` tells them; None without one."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    fields = ("name", "driver_version", "memory.total")
    command = [tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    values = done.stdout.splitlines()[0].split(", ") if done.returncode == 0 and done.stdout else []
    return dict(zip(("name", "driver", "memory"), values, strict=True)) if len(values) == 3 else None


def _commit() -> str:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return os.environ.get(COMMIT_VARIABLE, "unknown")

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD") or "unknown"
    sources = ("src", "kernels", "export", "client", "model_repository")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", *sources)
    return commit + ("+changes" if changed else "")


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
