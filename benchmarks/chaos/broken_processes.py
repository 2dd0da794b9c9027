"""Processes that die or hang while four clients are served: what is lost, and when service is back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.chaos.asking import Clients, Outcome, avatar_request, codes, longest_silence_s, losses
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import TRITON, processes
from benchmarks.serving.served_process import ServedProcess, served

_CLIENTS: Final = 4
_BACK_WITHIN_S: Final = 12.0
_BACK_WITH_SPARE_S: Final = 1.0
_NOTICED_WITHIN_S: Final = 15.0
#: The bake is the longest stage, and the only one of the default server with two instances.
_HANGS: Final = "bake_texture"
_PATIENCE_S: Final = 180.0
_SPARE_LOADED: Final = "a spare Triton is loaded"


def killed(effort: Effort) -> Finding:
    """SIGKILL of Triton, and of one process of every stage, one after the other."""
    with served() as server:
        figures = asyncio.run(_killed(server, effort))
    with served(arguments=("--spare",)) as server:
        spared = asyncio.run(_killed_beside_a_spare(server))
    lost = sum(row["lost"] for row in (*figures.values(), spared))
    slowest = max(row["back_s"] for row in figures.values())
    said = (
        f"{len(figures)} kinds killed: lost {lost}, service back after {slowest:.1f} s at most; by a spare "
        f"after {spared['back_s']:.1f} s"
    )
    met = lost == 0 and slowest <= _BACK_WITHIN_S and spared["back_s"] <= _BACK_WITH_SPARE_S
    return Finding(said, met, {"killed": figures, "spared": spared})


def hung(effort: Effort) -> Finding:
    """SIGSTOP of one of two bakes."""
    with served() as server:
        figures = asyncio.run(_hung(server, effort.pick(90.0, 40.0)))
    said = (
        f"lost {figures['lost']} of {figures['requests']}, noticed after {figures['noticed_s']:.1f} s, "
        f"another serves and the hung one has ended after {figures['old_ended_s']:.1f} s, longest silence "
        f"{figures['silence_s']:.1f} s"
    )
    met = figures["lost"] == 0 and figures["noticed_s"] <= _NOTICED_WITHIN_S
    return Finding(said, met, figures)


@dataclass
class _Mended:
    """When a broken Triton was found out, and when it had ended, `time.monotonic`."""

    noticed_s: float = float("inf")
    ended_s: float = float("inf")


async def _killed_beside_a_spare(server: ServedProcess) -> dict[str, Any]:
    """SIGKILL of the Triton that serves, while the next one waits."""
    serving, restarts = processes(server.pid)[TRITON][0], server.restarts()
    async with asyncio.timeout(_PATIENCE_S):
        while _SPARE_LOADED not in server.messages.read_text(errors="replace"):
            await asyncio.sleep(0.1)
    async with Clients(server.url, avatar_request(), _CLIENTS) as clients:
        await _answers(clients, 8)
        since = time.monotonic()
        os.kill(serving, signal.SIGKILL)
        mended = await _mended(server, serving, restarts, clients)
        return _row(clients.outcomes, since, mended)


async def _killed(server: ServedProcess, effort: Effort) -> dict[str, Any]:
    kinds = [name for name in processes(server.pid) if name != TRITON]
    rows: dict[str, Any] = {}
    async with Clients(server.url, avatar_request(), _CLIENTS) as clients:
        for kind in (TRITON, *effort.pick(kinds, [_HANGS])):
            await _answers(clients, 8)
            since = time.monotonic()
            broken = processes(server.pid)[kind][-1]
            triton, restarts = processes(server.pid)[TRITON][-1], server.restarts()
            os.kill(broken, signal.SIGKILL)
            mended = await _mended(server, triton, restarts, clients)
            rows[kind] = _row(clients.outcomes, since, mended)
    return rows


async def _hung(server: ServedProcess, seconds: float) -> dict[str, Any]:
    async with Clients(server.url, avatar_request(), _CLIENTS) as clients:
        await _answers(clients, 8)
        since, found = time.monotonic(), processes(server.pid)
        os.kill(found[_HANGS][0], signal.SIGSTOP)
        try:
            mended = await _mended(server, found[TRITON][-1], server.restarts(), clients)
            await asyncio.sleep(max(0.0, since + seconds - time.monotonic()))
        finally:
            with suppress(ProcessLookupError):  # as it should be by now
                os.kill(found[_HANGS][0], signal.SIGCONT)
    # Who was let in before the end has been answered by now.
    return _row(clients.outcomes, since, mended)


async def _answers(clients: Clients, count: int) -> None:
    """Wait for so many more answers."""
    before = len(clients.outcomes)
    async with asyncio.timeout(_PATIENCE_S):
        while sum(not outcome.code for outcome in clients.outcomes[before:]) < count:
            await asyncio.sleep(0.05)


async def _mended(server: ServedProcess, triton: int, restarts: int, clients: Clients) -> _Mended:
    """Wait until another Triton serves, and has served each of the clients."""
    mended = _Mended()
    async with asyncio.timeout(_PATIENCE_S):
        while server.restarts() == restarts:
            await asyncio.sleep(0.05)
        mended.noticed_s = time.monotonic()
        while triton in processes(server.pid).get(TRITON, ()):
            await asyncio.sleep(0.1)
    mended.ended_s = time.monotonic()
    await _answers(clients, 2 * _CLIENTS)
    return mended


def _row(outcomes: Sequence[Outcome], since: float, mended: _Mended) -> dict[str, Any]:
    during = [outcome for outcome in outcomes if outcome.ended_s >= since]
    silence, back = longest_silence_s(during, since)
    return {
        "requests": len(during),
        "lost": sum(outcome.lost for outcome in during),
        "outcomes": codes(during),
        "losses": losses(during),
        "noticed_s": round(mended.noticed_s - since, 2),
        "old_ended_s": round(mended.ended_s - since, 2),
        "silence_s": round(silence, 2),
        "back_s": round(back, 2),
    }
