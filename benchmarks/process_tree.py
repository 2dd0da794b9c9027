"""A process and all that it started, from /proc (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# proc(5): where /proc/PID/stat has the parent, and processor time in user and system mode, the process's own
# and that of its ended and awaited children; counted from the field after the command's name.
_PARENT = 1
_PROCESSOR_TIMES = slice(11, 15)
_OWN_PROCESSOR_TIMES = slice(11, 13)


def descendants(root: int) -> list[int]:
    """``root`` and the processes below it, parents before children."""
    return list(_family(root))


def processor_seconds(root: int) -> float:
    """What ``root`` and the processes below it have used so far, those that ended included."""
    ticks = sum(sum(map(int, fields[_PROCESSOR_TIMES])) for fields in _family(root).values())
    return ticks / _TICKS_PER_SECOND


def own_processor_seconds(pid: int) -> float:
    """What one process has used so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[_OWN_PROCESSOR_TIMES])) / _TICKS_PER_SECOND


def _family(root: int) -> dict[int, list[str]]:
    """By process, parents before children: the fields of its ``stat``."""
    every: dict[int, list[str]] = {}
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command's name is in parentheses and may hold anything; what follows the last one is fixed.
            fields = status.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):  # ended meanwhile
            continue
        pid = int(status.parent.name)
        every[pid] = fields
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return {pid: every.get(pid, []) for pid in found}
