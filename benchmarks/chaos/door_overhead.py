"""What the gateway itself costs: time and throughput beside Triton asked directly, and alone on one core."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.chaos.asking import PHOTO, Asker, Outcome, avatar_request
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import memory, triton_socket
from benchmarks.process_tree import own_processor_seconds, processor_seconds
from benchmarks.serving.load import Request, closed_loop
from benchmarks.serving.served_process import served

_MOST_MS: Final = 3.0
_MOST_SHARE: Final = 0.02
_IDLE_MB: Final = 90.0
_PER_SECOND: Final = 800.0
#: Of the row's goal, and of an avatar's file.
_ANSWER_BYTES: Final = 100_000
_AVATAR_BYTES: Final = 3_300_000
_KEEPS_BUSY: Final = 4
_IN_FLIGHT: Final = 16
_IDLE_S: Final = 5.0
#: Modules of this folder: the gateway, and a door that costs as little as one can.
_DOORS: Final = ("lone_gateway", "bare_door")
#: Those by name: the process, and its port.
_Doors = Mapping[str, tuple[subprocess.Popen[str], str]]


def door_latency(effort: Effort) -> Finding:
    """One request through the door, one past it, and so on; then the same with busy stages."""
    with served() as server:
        idle = memory(server.pid)
        figures = asyncio.run(_in_turns(server.url, server.pid, effort))
    figures["idle"] = idle.as_row()
    said = (
        f"{figures['more_ms']:+.2f} ms of {figures['direct_ms']:.0f} (median of {figures['pairs']} pairs); "
        f"{figures['door_per_second']:.2f} beside {figures['direct_per_second']:.2f} avatars a second "
        f"({100 * figures['less_share']:+.1f} % less); it takes {figures['door_processor_ms']:.1f} ms of "
        f"processor time, an avatar {figures['avatar_processor_ms']:.0f}; idle gateway {idle.gateway:.0f} MB"
    )
    met = figures["more_ms"] <= _MOST_MS and figures["less_share"] <= _MOST_SHARE
    return Finding(said, met and idle.gateway <= _IDLE_MB, figures)


def pass_through(effort: Effort) -> Finding:
    """Requests of a photo's size, answers of 100 kB and of an avatar's size, with nothing behind that would
    take time.

    In turns with a door that only passes them on: what the machine does at the same time is in both.
    """
    with _doors(_ANSWER_BYTES) as (triton, doors):
        figures = asyncio.run(_passed(doors, effort.pick(8, 2), effort.pick(500, 200)))
        url = f"127.0.0.1:{doors[_DOORS[0]][1]}"
        more_s = asyncio.run(_delayed(url, f"unix:{triton}", effort.pick(400, 60)))
    figures["answer_bytes"], figures["more_ms"] = _ANSWER_BYTES, round(1e3 * more_s, 2)
    with _doors(_AVATAR_BYTES) as (_, doors):
        avatars = asyncio.run(_passed(doors, effort.pick(8, 2), effort.pick(100, 20)))
    figures["avatars"] = {"answer_bytes": _AVATAR_BYTES, **avatars}
    said = (
        f"{figures['per_second']:.0f} a second, the load generator and the scripted Triton on another core; "
        f"{figures['processor_ms']:.2f} ms of processor time each: a core passes "
        f"{figures['limit_per_second']:.0f} a second; passing bytes on and nothing else takes "
        f"{figures['bare_processor_ms']:.2f} ms; a lone request takes {figures['more_ms']:.1f} ms more; "
        f"answers of {_AVATAR_BYTES / 1e6:.1f} MB take {avatars['processor_ms']:.1f} ms, passed on and "
        f"nothing else {avatars['bare_processor_ms']:.1f} ms"
    )
    return Finding(said, figures["limit_per_second"] >= _PER_SECOND, figures)


@contextmanager
def _doors(answer_bytes: int) -> Iterator[tuple[Path, _Doors]]:
    """A scripted Triton on the last core and both doors on the first: its socket, and what was started."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="facewright-benchmark-") as folder, ExitStack() as started:
        triton = Path(folder) / "triton"
        started.enter_context(_process(cores[-1], "scripted_triton", triton, str(answer_bytes)))
        yield triton, {name: started.enter_context(_process(cores[0], name, triton)) for name in _DOORS}


class _Busy(NamedTuple):
    """What avatars cost while clients keep the server busy, milliseconds each.

    Attributes:
        wall: of the clock.
        gateway: processor time of the process of the gateway and the supervisor.
        every: of all processes of the server.
    """

    wall: float
    gateway: float
    every: float


async def _in_turns(door: str, server: int, effort: Effort) -> dict[str, Any]:
    request, pairs, rounds = avatar_request(straight=True), effort.pick(60, 4), effort.pick(4, 1)
    async with Asker(door) as through, Asker(triton_socket(server)) as past:
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
        busy: dict[Asker, list[_Busy]] = {asker: [] for asker in askers}
        for _ in range(rounds):
            for asker in askers:
                ask = partial(_answered, asker, request)
                busy[asker].append(await _busy(ask, server, effort.pick(48, 8)))
        watching = own_processor_seconds(server)
        await asyncio.sleep(_IDLE_S)
        watching = own_processor_seconds(server) - watching
    return {
        "pairs": pairs,
        "direct_ms": round(1e3 * median(alone), 2),
        "more_ms": round(1e3 * median(differences), 2),
        **_compared(busy[through], busy[past]),
        "watching_ms_per_second": round(1e3 * watching / _IDLE_S, 1),
    }


async def _busy(ask: Request, server: int, count: int) -> _Busy:
    before = own_processor_seconds(server), processor_seconds(server)
    wall_s = (await closed_loop(ask, _KEEPS_BUSY, count)).wall_s
    used = own_processor_seconds(server) - before[0], processor_seconds(server) - before[1]
    return _Busy(*(1e3 * seconds / count for seconds in (wall_s, *used)))


def _compared(through: Sequence[_Busy], past: Sequence[_Busy]) -> dict[str, float]:
    """Medians of rounds in turns. Processor time tells more on a machine that others use, too: the gateway's
    is the door's but for what it hears of the stages either way, which those that go past it show.
    """
    door_s, direct_s = (median(turn.wall for turn in turns) / 1e3 for turns in (through, past))
    door_ms = median(one.gateway - other.gateway for one, other in zip(through, past, strict=True))
    avatar_ms = median(turn.every for turn in past)
    return {
        "direct_per_second": round(1 / direct_s, 3),
        "door_per_second": round(1 / door_s, 3),
        "less_share": round(1 - direct_s / door_s, 4),
        "door_processor_ms": round(door_ms, 2),
        "avatar_processor_ms": round(avatar_ms, 1),
        "door_processor_share": round(door_ms / avatar_ms, 4),
    }


async def _delayed(door: str, direct: str, pairs: int) -> float:
    """Seconds that a lone request takes longer through the door than past it, the median of pairs."""
    request, differences = avatar_request(PHOTO, straight=True), []
    async with Asker(door) as through, Asker(direct) as past:
        for _ in range(pairs):
            took = [(await _answered(asker, request)).took_s for asker in (through, past)]
            differences.append(took[0] - took[1])
    return median(differences)


async def _passed(doors: _Doors, rounds: int, count: int) -> dict[str, Any]:
    """Both doors, each asked ``count`` times in each round."""
    request = avatar_request(PHOTO, straight=True)
    seconds, used = dict.fromkeys(doors, 0.0), dict.fromkeys(doors, 0.0)
    async with AsyncExitStack() as askers:
        asks = {}
        for name, (_, port) in doors.items():
            asker = await askers.enter_async_context(Asker(f"127.0.0.1:{port}"))
            asks[name] = partial(_answered, asker, request)
            await closed_loop(asks[name], _IN_FLIGHT, max(count // 2, _IN_FLIGHT))
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
def _process(
    core: int, module: str, socket: Path, *arguments: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A module of this folder in a process on one core, and what it says when it serves."""
    command = [sys.executable, "-m", f"benchmarks.chaos.{module}", str(socket), *arguments]
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
