"""Processes of a server, and how far they are: for tests that break one."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path


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


def answered(http_port: int, stage: str) -> int:
    """Requests that a stage of the server on this machine has answered since the start."""
    url = f"http://127.0.0.1:{http_port}/v2/models/{stage}/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        (statistics,) = json.load(answer)["model_stats"]
    return int(statistics["inference_stats"]["success"]["count"])
