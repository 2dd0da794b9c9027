"""Weights and configurations that are read anew while clients are served."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any, Final

from benchmarks.chaos.asking import Clients, avatar_request, codes, longest_silence_s
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import TRITON, processes
from benchmarks.serving.served_process import ServedProcess, served

_CLIENTS: Final = 4
_PATIENCE_S: Final = 240.0


def reload(effort: Effort) -> Finding:
    """What ``facewright reload`` asks for, again and again, under four clients who never rest."""
    with served() as server:
        figures = asyncio.run(_reloaded(server, effort.pick(5, 1)))
    said = (
        f"{figures['failed']} of {figures['requests']} failed in {len(figures['took_s'])} reloads, of "
        f"{max(figures['took_s']):.1f} s at most; longest silence {figures['silence_s']:.1f} s"
    )
    return Finding(said, figures["failed"] == 0, figures)


async def _reloaded(server: ServedProcess, times: int) -> dict[str, Any]:
    took = []
    async with Clients(server.url, avatar_request(), _CLIENTS) as clients:
        await _more(clients)
        since = time.monotonic()
        for _ in range(times):
            before, asked = processes(server.pid)[TRITON], time.monotonic()
            os.kill(server.pid, signal.SIGUSR1)
            async with asyncio.timeout(_PATIENCE_S):
                while set(before) & set(processes(server.pid)[TRITON]):
                    await asyncio.sleep(0.1)
            took.append(round(time.monotonic() - asked, 1))
            await _more(clients)
    return {
        "requests": len(clients.outcomes),
        "failed": sum(bool(outcome.code) for outcome in clients.outcomes),
        "outcomes": codes(clients.outcomes),
        "took_s": took,
        "silence_s": round(longest_silence_s(clients.outcomes, since)[0], 2),
    }


async def _more(clients: Clients) -> None:
    """Wait until each client has had two more answers, whatever they were."""
    until = len(clients.outcomes) + 2 * _CLIENTS
    async with asyncio.timeout(_PATIENCE_S):
        while len(clients.outcomes) < until:
            await asyncio.sleep(0.05)
