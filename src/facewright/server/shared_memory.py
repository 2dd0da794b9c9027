"""The regions in ``/dev/shm`` through which Triton and its stages exchange tensors.

Triton removes them when it stops in order, and leaves them behind when it is killed. Each server therefore
names its regions after its own process, and removes the names as soon as every stage has opened its region:
the memory then lives exactly as long as the processes that use it, however they end.
"""

from __future__ import annotations

import os
from pathlib import Path

_FOLDER = Path("/dev/shm")
_PREFIX = "facewright"


def region_prefix() -> str:
    """The prefix of this process's regions: unique among living and dead processes."""
    return f"{_PREFIX}-{os.getpid()}-{_start_time(os.getpid())}-"


def remove_regions(prefix: str) -> int:
    """Remove the names of these regions; memory that a process still maps stays. Returns how many."""
    removed = 0
    for path in _FOLDER.glob(f"{prefix}*"):
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def remove_stale_regions() -> int:
    """Remove regions of servers that no longer run; returns how many."""
    removed = 0
    for path in _FOLDER.glob(f"{_PREFIX}-*"):
        pid, start = [*path.name.split("-"), "", ""][1:3]
        if not pid.isdigit() or _start_time(int(pid)) == start:
            continue
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def _start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot (pids are used again); "" where there is none."""
    try:
        # The command's name is in parentheses and may hold anything; what follows the last one is fixed.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""
