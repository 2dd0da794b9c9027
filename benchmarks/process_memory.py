"""Memory of this process and of the machine, from /proc (Linux); gigabytes of 10⁹ bytes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def resident_gb() -> float:
    """What this process holds now."""
    return _gb("/proc/self/status", "VmRSS")


def peak_gb() -> float:
    """The most it held since `forget_peak`, or since it began."""
    return _gb("/proc/self/status", "VmHWM")


def forget_peak() -> None:
    """Lets `peak_gb` begin anew, where the kernel can (containers' own kernels often cannot)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def available_gb() -> float:
    """What the machine can still give away without swapping."""
    return _gb("/proc/meminfo", "MemAvailable")


def _gb(file: str, name: str) -> float:
    for line in Path(file).read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError(f"{file} has no line {name}: this is no Linux that tells memory")
