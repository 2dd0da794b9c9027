"""Resident memory of a server and every process it started, from /proc (Linux)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.process_tree import descendants


@dataclass(frozen=True)
class TreeMemory:
    """Memory of a process tree, megabytes (10^6 bytes).

    Attributes:
        processes: how many.
        rss: sum of resident sets: pages shared by several processes count in each.
        pss: proportional: shared pages are divided, so the sum is what the machine really gives.
        shm: of it, shared memory (the regions between Triton and its stages), proportional.
    """

    processes: int
    rss: float
    pss: float
    shm: float

    def as_row(self) -> dict[str, float | int]:
        """The fields, rounded to whole megabytes."""
        return {
            "processes": self.processes,
            "rss_mb": round(self.rss),
            "pss_mb": round(self.pss),
            "shm_mb": round(self.shm),
        }


def tree_memory(root: int) -> TreeMemory:
    """Memory of process ``root`` and all of its descendants.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if not Path(f"/proc/{root}").exists():
        raise ProcessLookupError(f"no process {root}: did the server stop?")
    rss = pss = shm = 0.0
    count = 0
    for pid in descendants(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # ended meanwhile
            continue
        sizes = {line.split(":")[0]: line.split() for line in rollup.splitlines()[1:]}
        if "Rss" not in sizes:
            continue
        count += 1
        rss += _kilobytes(sizes, "Rss")
        pss += _kilobytes(sizes, "Pss")
        shm += _kilobytes(sizes, "Pss_Shmem")
    return TreeMemory(count, rss / 1e3, pss / 1e3, shm / 1e3)


def _kilobytes(sizes: dict[str, list[str]], name: str) -> float:
    return float(sizes[name][1]) * 1.024 if name in sizes else 0.0
