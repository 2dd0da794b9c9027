"""The processes of a served server by what they are, and the memory that they hold, from /proc (Linux)."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.process_tree import descendants

TRITON: Final = "tritonserver"
_STUB: Final = "triton_python_backend_stub"


def processes(supervisor: int) -> dict[str, list[int]]:
    """Process ids below a supervisor, by name of the stage, or ``tritonserver``; the newest ones last."""
    found: dict[str, list[int]] = defaultdict(list)
    for pid in descendants(supervisor)[1:]:
        program, first, *_ = [*_command(pid), "", ""]
        if Path(program).name == _STUB and first.endswith("/model.py"):  # …/<stage>/1/model.py
            found[Path(first).parts[-3]].append(pid)
        elif Path(program).name == TRITON:
            found[TRITON].append(pid)
    return {name: sorted(pids, key=_began) for name, pids in found.items()}


def triton_socket(supervisor: int) -> str:
    """The address at which Triton itself is asked by the gateway."""
    (pid,) = processes(supervisor)[TRITON]
    options = dict(word.split("=", 1) for word in _command(pid) if word.startswith("--grpc-"))
    return f"{options['--grpc-address']}:{options['--grpc-port']}"


@dataclass
class Memory:
    """Resident megabytes (10^6 bytes), shared pages counted in each process.

    Attributes:
        gateway: of the supervisor, in which the gateway is.
        triton: of Triton and its stages.
    """

    gateway: float
    triton: float

    def as_row(self) -> dict[str, int]:
        """In whole megabytes."""
        return {"gateway_mb": round(self.gateway), "triton_mb": round(self.triton)}


def memory(supervisor: int) -> Memory:
    """What a server holds now."""
    return Memory(_resident(supervisor), sum(map(_resident, descendants(supervisor)[1:])))


@contextmanager
def peak_memory(supervisor: int) -> Iterator[Memory]:
    """The most that a server holds meanwhile, looked at fifty times a second."""
    peak, over = memory(supervisor), threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            now = memory(supervisor)
            peak.gateway, peak.triton = max(peak.gateway, now.gateway), max(peak.triton, now.triton)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peak
    finally:
        over.set()
        looking.join()


def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether something becomes true in time."""
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _began(pid: int) -> int:
    """When a process was started, in ticks since the machine was; 0 of one that has ended. Process ids begin
    again at the lowest."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    except OSError:
        return 0


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:  # ended meanwhile
        return []


def _resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith("VmRSS:"))
