"""What the gateway itself costs: time and throughput beside Triton asked directly, and alone on one core."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.chaos.asking import PHOTO, Asker, Outcome, avatar_request
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.scripted_triton import ANSWER_BYTES
from benchmarks.chaos.server_processes import memory, triton_socket
from benchmarks.process_tree import processor_seconds
from benchmarks.serving.load import closed_loop
from benchmarks.serving.served_process import served

_MOST_MS: Final = 3.0
_MOST_SHARE: Final = 0.02
_IDLE_MB: Final = 90.0
_PER_SECOND: Final = 800.0
_KEEPS_BUSY: Final = 4
_IN_FLIGHT: Final = 16
#: Modules of this folder: the gateway, and a door that costs as little as one can.
_DOORS: Final = ("lone_gateway", "bare_door")


def door_latency(effort: Effort) -> Finding:
    """One request through the door, one past it, and so on; then the same with busy stages."""
    with served() as server:
        idle = memory(server.pid)
        figures = asyncio.run(_in_turns(server.url, triton_socket(server.pid), effort))
    figures["idle"] = idle.as_row()
    said = (
        f"{figures['more_ms']:+.2f} ms of {figures['direct_ms']:.0f} (median of {figures['pairs']} pairs); "
        f"{figures['door_per_second']:.2f} beside {figures['direct_per_second']:.2f} avatars a second "
        f"({100 * figures['less_share']:+.1f} % less); idle gateway {idle.gateway:.0f} MB"
    )
    met = figures["more_ms"] <= _MOST_MS and figures["less_share"] <= _MOST_SHARE
    return Finding(said, met and idle.gateway <= _IDLE_MB, figures)


def pass_through(effort: Effort) -> Finding:
    """Requests of a photo's size and answers of 100 kB, with nothing behind that would take time.

    In turns with a door that only passes them on: what the machine does at the same time is in both.
    """
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="facewright-benchmark-") as folder, ExitStack() as started:
        triton = Path(folder) / "triton"
        started.enter_context(_process("scripted_triton", triton, cores[-1]))
        doors = {name: started.enter_context(_process(name, triton, cores[0])) for name in _DOORS}
        figures = asyncio.run(_passed(doors, effort.pick(8, 2), effort.pick(500, 200)))
        url = f"127.0.0.1:{doors[_DOORS[0]][1]}"
        more_s = asyncio.run(_delayed(url, f"unix:{triton}", effort.pick(400, 60)))
    figures["more_ms"] = round(1e3 * more_s, 2)
    said = (
        f"{figures['per_second']:.0f} a second, the load generator and the scripted Triton on another core; "
        f"{figures['processor_ms']:.2f} ms of processor time each: a core passes "
        f"{figures['limit_per_second']:.0f} a second; passing bytes on and nothing else takes "
        f"{figures['bare_processor_ms']:.2f} ms; a lone request takes {figures['more_ms']:.1f} ms more"
    )
    return Finding(said, figures["limit_per_second"] >= _PER_SECOND, figures)


async def _in_turns(door: str, direct: str, effort: Effort) -> dict[str, Any]:
    request, pairs, rounds = avatar_request(), effort.pick(60, 4), effort.pick(4, 1)
    async with Asker(door) as through, Asker(direct) as past:
        askers = (through, past)
        for asker in askers:
            await closed_loop(partial(_answered, asker, request), 2, 4)
        differences, alone = [], []
        for pair in range(pairs):
            took = {}
            for asker in askers if pair % 2 else askers[::-1]:
                took[asker] = (await _answered(asker, request)).took_s
            differences.append(took[through] - took[past])
            alone.append(took[past])
        rates: dict[Asker, list[float]] = {asker: [] for asker in askers}
        for _ in range(rounds):
            for asker in askers:
                count = effort.pick(48, 8)
                busy = await closed_loop(
                    partial(_answered, asker, request),
                    _KEEPS_BUSY,
                    count,
                )
                rates[asker].append(count / busy.wall_s)
    return {
        "pairs": pairs,
        "direct_ms": round(1e3 * median(alone), 2),
        "more_ms": round(1e3 * median(differences), 2),
        "direct_per_second": round(median(rates[past]), 3),
        "door_per_second": round(median(rates[through]), 3),
        "less_share": round(1 - median(rates[through]) / median(rates[past]), 4),
    }


async def _delayed(door: str, direct: str, pairs: int) -> float:
    """Seconds that a lone request takes longer through the door than past it, the median of pairs."""
    request, differences = avatar_request(PHOTO), []
    async with Asker(door) as through, Asker(direct) as past:
        for _ in range(pairs):
            took = [(await _answered(asker, request)).took_s for asker in (through, past)]
            differences.append(took[0] - took[1])
    return median(differences)


async def _passed(
    doors: Mapping[str, tuple[subprocess.Popen[str], str]], rounds: int, count: int
) -> dict[str, Any]:
    """Both doors, each asked ``count`` times in each round."""
    request = avatar_request(PHOTO)
    seconds, used = dict.fromkeys(doors, 0.0), dict.fromkeys(doors, 0.0)
    async with AsyncExitStack() as askers:
        asks = {}
        for name, (_, port) in doors.items():
            asker = await askers.enter_async_context(Asker(f"127.0.0.1:{port}"))
            asks[name] = partial(_answered, asker, request)
            await closed_loop(asks[name], _IN_FLIGHT, 200)
        for turn in range(rounds):
            for name in _DOORS if turn % 2 else _DOORS[::-1]:
                before = processor_seconds(doors[name][0].pid)
                seconds[name] += (await closed_loop(asks[name], _IN_FLIGHT, count)).wall_s
                used[name] += processor_seconds(doors[name][0].pid) - before
    ours, bare = _DOORS
    requests = rounds * count
    return {
        "requests": requests,
        "request_bytes": len(request),
        "answer_bytes": ANSWER_BYTES,
        "in_flight": _IN_FLIGHT,
        "per_second": round(requests / seconds[ours], 1),
        "processor_ms": round(1e3 * used[ours] / requests, 3),
        "limit_per_second": round(requests / used[ours], 1),
        "bare_processor_ms": round(1e3 * used[bare] / requests, 3),
        "times_bare": round(used[ours] / used[bare], 3),
    }


async def _answered(asker: Asker, request: bytes) -> Outcome:
    outcome = await asker.ask(request)
    if outcome.code:
        raise RuntimeError(f"not answered: {outcome.code} {outcome.message}")
    return outcome


@contextmanager
def _process(module: str, socket: Path, core: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A module of this folder in a process on one core, and what it says when it serves."""
    command = [sys.executable, "-m", f"benchmarks.chaos.{module}", str(socket)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
