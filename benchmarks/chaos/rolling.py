"""Servers behind a balancer that are restarted one after the other."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from benchmarks.chaos.asking import Asker, Outcome, avatar_request, codes, percentile_ms
from benchmarks.chaos.balancer import BalancerMissingError, Ports, balanced, free_ports, haproxy
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import eventually
from benchmarks.serving.load import closed_loop
from benchmarks.serving.served_process import served

_SERVERS: Final = 3
_LOAD: Final = 0.35
#: Small ones: all of them share this machine. Readiness is off for longer than the balancer takes to see it.
_SETTINGS: Final = ("--cores", "1", "--unready", "2")
_SEEN_WITHIN_S: Final = 2.0
_STARTS_WITHIN_S: Final = 120.0


def rolling(effort: Effort) -> Finding:
    """Each is stopped and started again in its turn while avatars are asked for at the balancer."""
    try:
        haproxy()
    except BalancerMissingError as missing:
        return Finding(f"not measured: {missing}", False, {})
    ports = free_ports(2 * _SERVERS)
    doors = [Ports(*ports[2 * number : 2 * number + 2]) for number in range(_SERVERS)]
    with ExitStack() as running:
        restarted = [running.enter_context(_restarted(row)) for row in doors]
        address = running.enter_context(balanced(doors))
        figures = asyncio.run(_rolled(address, restarted[: effort.pick(_SERVERS, 1)], effort))
    said = (
        f"{figures['failed']} of {figures['requests']} failed while {figures['restarts']} of {_SERVERS} "
        f"servers were restarted at {figures['per_second']:.2f} avatars a second (p99 {figures['p99_ms']} ms)"
    )
    return Finding(said, figures["failed"] == 0, figures)


@contextmanager
def _restarted(doors: Ports) -> Iterator[_Server]:
    server = _Server(doors)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class _Server:
    """One of the servers, at the same doors whenever it runs."""

    def __init__(self, doors: Ports) -> None:
        self._doors = doors
        self._running = ExitStack()

    def start(self) -> None:
        """Returns when it answers."""
        at = ("--grpc-port", str(self._doors.grpc_port), "--http-port", str(self._doors.rest_port))
        self._running.enter_context(served(arguments=(*at, *_SETTINGS)))
        if not eventually(self._doors.ready, _STARTS_WITHIN_S):
            raise RuntimeError(f"the server at {self._doors.grpc_port} is not ready")

    def stop(self) -> None:
        """As a rollout does: it is told to end, and does when it has answered."""
        self._running.close()

    def restart(self) -> None:
        """Returns when it answers again, and the balancer has seen it."""
        self.stop()
        self.start()
        time.sleep(_SEEN_WITHIN_S)


async def _rolled(address: str, servers: list[_Server], effort: Effort) -> dict[str, Any]:
    outcomes: list[Outcome] = []
    async with Asker(address) as asker:

        async def avatar() -> None:
            outcome = await asker.ask(avatar_request())
            if outcome.code:
                raise RuntimeError(f"before a restart: {outcome.code}: {outcome.message}")

        await asyncio.sleep(_SEEN_WITHIN_S)
        await avatar()
        busy = await closed_loop(avatar, 2 * _SERVERS, effort.pick(60, 12))
        rate = _LOAD * len(busy.latencies_s) / busy.wall_s
        over = asyncio.Event()
        arriving = asyncio.create_task(_arrivals(asker, rate, over, outcomes))
        for server in servers:
            await asyncio.to_thread(server.restart)
        over.set()
        await arriving
    return {
        "servers": _SERVERS,
        "restarts": len(servers),
        "per_second": round(rate, 2),
        "requests": len(outcomes),
        "failed": sum(bool(outcome.code) for outcome in outcomes),
        "outcomes": codes(outcomes),
        "failures": sorted({f"{o.code}: {o.message}"[:200] for o in outcomes if o.code}),
        "p99_ms": percentile_ms([outcome for outcome in outcomes if not outcome.code], 99),
    }


async def _arrivals(asker: Asker, rate: float, over: asyncio.Event, outcomes: list[Outcome]) -> None:
    """Callers who come at random, and do not come back, until it is over."""
    dice = random.Random(0)

    async def arrival() -> None:
        outcomes.append(await asker.ask(avatar_request()))

    async with asyncio.TaskGroup() as asking:
        while not over.is_set():
            asking.create_task(arrival())
            await asyncio.sleep(dice.expovariate(rate))
