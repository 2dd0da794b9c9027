"""Processes of a server, and how far they are: for tests that break one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from facewright_client import Client


def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    """Whether a condition becomes true in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def alive(pid: int) -> bool:
    """Whether any thread of a process lives."""
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return True  # ask again: one ended just now
    return any(thread.rsplit(")", 1)[1].split()[0] not in "ZX" for thread in threads)


def living(parent: int) -> dict[int, str]:
    """Living children of a process: pid -> command line."""
    found = {}
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in map(int, path.read_text().split()):
            if alive(pid):
                found[pid] = command(pid)
    return found


def command(pid: int) -> str:
    """A process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def answered(url: str, stage: str) -> int:
    """Requests that a stage of a server has answered since Triton's start."""
    with Client(url) as client:
        models = {model["name"]: model for model in client.statistics()["model_stats"]}
    return int(models[stage]["inference_stats"].get("success", {}).get("count", 0))


def settled(url: str, stage: str) -> int:
    """The same once it stands still: Triton counts a request a moment after it has answered."""
    count, seen = -1, 0
    while seen < 5:
        now = answered(url, stage)
        seen = seen + 1 if now == count else 0
        count = now
        time.sleep(0.2)
    return count
