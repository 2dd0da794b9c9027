"""How busy other programs kept the machine while something was measured (Linux).

Times that were taken beside other work are too long. So every result, and each row that is measured for
itself, carries how many cores this run and everything else used meanwhile, and reports mark what was measured
on a busy machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.process_tree import processor_seconds

#: A machine is busy when others use more than this share of the cores.
BUSY_SHARE: Final = 0.1
#: Stands beside the name of a row that was measured on a busy machine.
BUSY_MARK: Final = " †"
BUSY_NOTE: Final = (
    "† measured while other programs used more than a tenth of the cores: times are too long, rates too low."
)
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user.
_BUSY_FIELDS = (1, 2, 3, 6, 7, 8)


class MachineLoad:
    """Watches the cores that this process may use, from when it is made."""

    def __init__(self) -> None:
        self._cores = sorted(os.sched_getaffinity(0))
        self._began = self._now()

    def as_row(self) -> dict[str, dict[str, float | int]]:
        """``machine_load``: ``cores``, and how many of them this process with all that it started, and
        everything else (a virtual machine's neighbours included, where it tells), used on average since.
        """
        wall, machine, own = (now - began for now, began in zip(self._now(), self._began, strict=True))
        # Counted in ticks and not at one instant: over a moment the own share may exceed the whole.
        others = max(0.0, machine - own)
        wall = max(wall, 1 / _TICKS_PER_SECOND)
        return {
            "machine_load": {
                "cores": len(self._cores),
                "by_this_run": round(own / wall, 2),
                "by_others": round(others / wall, 2),
            }
        }

    def _now(self) -> tuple[float, float, float]:
        """Seconds: on the clock, of the cores, of this process and all that it started."""
        return time.monotonic(), _busy_seconds(self._cores), processor_seconds(os.getpid())


def was_busy(measured: Mapping[str, Any]) -> bool:
    """Whether a result or row was measured on a busy machine; False for rows that do not tell."""
    load = measured.get("machine_load")
    return load is not None and load["by_others"] > BUSY_SHARE * load["cores"]


def busy_mark(measured: Mapping[str, Any]) -> str:
    """`BUSY_MARK` where the row was measured on a busy machine, else nothing."""
    return BUSY_MARK if was_busy(measured) else ""


def _busy_seconds(cores: list[int]) -> float:
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    wanted = {f"cpu{core}" for core in cores}
    return sum(int(line[field]) for line in lines if line[0] in wanted for field in _BUSY_FIELDS) / (
        _TICKS_PER_SECOND
    )
