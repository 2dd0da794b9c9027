"""Callers that leave before they are answered: what is computed for nobody."""

from __future__ import annotations

import asyncio
import re
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import Any, Final

import grpc

from benchmarks.chaos.asking import INFER, PHOTO, UNBOUNDED, Asker, avatar_request
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import processes
from benchmarks.serving.served_process import ServedProcess, served

_STAGES: Final = ("find_face", "fit_head", "bake_texture", "package_avatar")
_CANCELLED: Final = 40
_DISCONNECTED: Final = 20
#: After which all leave: some are at work, most are waiting.
_LEAVES_AFTER_S: Final = 0.3
#: What forty departures take to be heard of.
_HEARD_OF_WITHIN_S: Final = 0.05
_COMPLETED: Final = re.compile(r"^facewright_stage_seconds_count\{[^}]*stage=\"(\w+)\"[^}]*\} (\S+)$", re.M)


def departures(_effort: Effort) -> Finding:
    """Many gRPC callers that cancel, then many HTTP callers that disconnect, all of a kind at once."""
    with served() as server:
        cancelled = _left(server, lambda: _cancel(server, _CANCELLED))
        disconnected = _left(server, lambda: _disconnect(server, _DISCONNECTED))
        instances = len(processes(server.pid)["find_face"])
    figures = {"cancelled": cancelled, "disconnected": disconnected, "find_face_instances": instances}
    told = [
        f"{name}: {row['after']['find_face']} photos read to the end and {row['after']['bake_texture']} "
        f"baked after their callers had left (next avatar {row['next_ms']:.0f} ms)"
        for name, row in (
            (f"{_CANCELLED} cancelled", cancelled),
            (f"{_DISCONNECTED} disconnected", disconnected),
        )
    ]
    # What an instance has in its hands when the caller leaves, it finishes.
    met = all(row["after"]["find_face"] <= instances for row in (cancelled, disconnected))
    return Finding("; ".join(told), met, figures)


def _left(server: ServedProcess, come_and_leave: Callable[[], None]) -> dict[str, Any]:
    """By stage, how many requests were worked through until the callers left and after that."""
    asyncio.run(_one(server.url))
    before = _settled(server)
    come_and_leave()
    time.sleep(_HEARD_OF_WITHIN_S)
    leaving = _completed(server)
    after = _settled(server)
    return {
        "until": {stage: leaving[stage] - before[stage] for stage in _STAGES},
        "after": {stage: after[stage] - leaving[stage] for stage in _STAGES},
        "next_ms": round(1e3 * asyncio.run(_one(server.url)), 1),
    }


def _cancel(server: ServedProcess, count: int) -> None:
    with grpc.insecure_channel(server.url, UNBOUNDED) as channel:
        infer = channel.unary_unary(INFER)
        calls = [infer.future(avatar_request(), timeout=60) for _ in range(count)]
        time.sleep(_LEAVES_AFTER_S)
        for call in calls:
            call.cancel()


def _disconnect(server: ServedProcess, count: int) -> None:
    head = b"POST /v1/avatars HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(PHOTO)
    connections = [socket.create_connection(("127.0.0.1", server.rest_port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(head + PHOTO)
    time.sleep(_LEAVES_AFTER_S)
    for connection in connections:
        connection.close()


async def _one(url: str) -> float:
    """Seconds of one avatar."""
    async with Asker(url) as asker:
        outcome = await asker.ask(avatar_request())
    if outcome.code:
        raise RuntimeError(f"the server does not answer: {outcome.code} {outcome.message}")
    return outcome.took_s


def _completed(server: ServedProcess) -> dict[str, int]:
    """How many requests each stage has worked through: Triton counts those that it turned away, too."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.rest_port}/v1/metrics", timeout=30) as answer:
        counts = {stage: int(float(count)) for stage, count in _COMPLETED.findall(answer.read().decode())}
    return {stage: counts[stage] for stage in _STAGES}


def _settled(server: ServedProcess) -> dict[str, int]:
    """The same, once nothing is worked on."""
    counts: dict[str, int] = {}
    seen = 0
    while seen < 5:
        now = _completed(server)
        seen = seen + 1 if now == counts else 0
        counts = now
        time.sleep(0.3)
    return counts
