"""Requests that crashed Triton, and thousands that might crash what stands before it."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import grpc

from benchmarks.chaos import crafted_requests, http2_frames
from benchmarks.chaos.asking import INFER, PHOTO, UNBOUNDED, Asker, avatar_request
from benchmarks.chaos.mutated_requests import mutations
from benchmarks.chaos.row import Effort, Finding
from benchmarks.chaos.server_processes import TRITON, processes
from benchmarks.serving.served_process import ServedProcess, served

SEED: Final = 20261130
_MUTATED: Final = 5000
#: An avatar is asked for after so many mutated ones.
_ASKED_EVERY: Final = 250
#: What the doors take to give up a connection, at most.
_PATIENCE_S: Final = 40.0

Attack = Callable[[], str]


def crafted(effort: Effort) -> Finding:
    """Each is sent, its end is waited for, and an ordinary avatar asked for."""
    told: dict[str, str] = {}
    unanswered: list[str] = []
    with served() as server:
        before = processes(server.pid)
        for name, attack in _attacks(server).items():
            told[name] = attack()
            if not _answers(server):
                unanswered.append(name)
        mutated: Counter[str] = Counter()
        count = effort.pick(_MUTATED, 300)
        for number, attack in enumerate(_mutated(server, count)):
            mutated[attack()] += 1
            if number % _ASKED_EVERY == _ASKED_EVERY - 1 and not _answers(server):
                unanswered.append(f"mutated {number}")
        crashes = sum(
            len(set(pids) - set(processes(server.pid).get(name, ()))) for name, pids in before.items()
        )
        figures: dict[str, Any] = {
            "crafted": told,
            "mutated": dict(mutated.most_common()),
            "seed": SEED,
            "unanswered_after": unanswered,
            "ended_processes": crashes,
            "restarts": server.restarts(),
        }
    said = (
        f"{len(told)} crafted and {count:,} mutated requests: ended processes {crashes}, restarts "
        f"{figures['restarts']}, not answered after {len(unanswered)}"
    )
    return Finding(said, not (crashes or figures["restarts"] or unanswered), figures)


def raw(port: int, request: bytes) -> str:
    """Send bytes to a port, hang up, and tell what came back, in a word or two."""
    try:
        connecting = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
    except ConnectionError:
        return "refused"
    with connecting as connection:
        answer = b""
        with suppress(OSError):
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        try:
            while len(answer) < 2**20 and (piece := connection.recv(65536)):
                answer += piece
        except TimeoutError:
            return "left open"
        except OSError:
            pass
    if answer.startswith(b"HTTP/1.1 "):
        return str(answer[:12], "latin-1")
    return "frames" if answer else "closed"


def message(channel: grpc.Channel, request: bytes) -> str:
    """Send a message; the status it ends with."""
    try:
        channel.unary_unary(INFER)(request, timeout=_PATIENCE_S)
    except grpc.RpcError as error:
        failed: Any = error
        return str(failed.code().name)
    return "answered"


def small_calls() -> list[bytes]:
    """Whole HTTP/2 conversations that a client might have."""
    request = avatar_request(b"a photo", texture_size=512)
    calls = (
        (INFER, request),
        ("/inference.GRPCInferenceService/ModelStreamInfer", request),
        ("/inference.GRPCInferenceService/ModelMetadata", b"\x0a\x0bavatar_twin"),
        ("/grpc.health.v1.Health/Check", b""),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", b"\x3a\x00"),
    )
    return [http2_frames.conversation(http2_frames.call(method, body)) for method, body in calls]


def _attacks(server: ServedProcess) -> dict[str, Attack]:
    grpc_port = int(server.url.rpartition(":")[2])
    found: dict[str, Attack] = {}
    for name, sent in crafted_requests.http().items():
        found[f"HTTP: {name}"] = partial(raw, server.rest_port, sent)
    for name, sent in http2_frames.conversations(INFER).items():
        found[f"frames: {name}"] = partial(raw, grpc_port, sent)
    for name, sent in crafted_requests.messages().items():
        found[f"gRPC: {name}"] = partial(_once, server.url, sent)
    return found


def _mutated(server: ServedProcess, count: int) -> Iterator[Attack]:
    grpc_port = int(server.url.rpartition(":")[2])
    post = b"POST /v1/avatars?texture_size=512 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    http = [
        post + b"Content-Type: image/jpeg\r\nContent-Length: 7\r\n\r\na photo",
        post + b"Transfer-Encoding: chunked\r\n\r\n7\r\na photo\r\n0\r\n\r\n",
        b"GET /v1/pipelines HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ]
    messages = [
        avatar_request(b"a photo", texture_size=512, face_index=0),
        avatar_request(b"a photo"),
        avatar_request(PHOTO[:2000]),
    ]
    third = count // 3
    for sent in mutations(http, third, SEED):
        yield partial(raw, server.rest_port, sent)
    for sent in mutations(small_calls(), third, SEED):
        yield partial(raw, grpc_port, sent)
    with grpc.insecure_channel(server.url, UNBOUNDED) as channel:
        for sent in mutations(messages, count - 2 * third, SEED):
            yield partial(message, channel, sent)


def _once(url: str, request: bytes) -> str:
    with grpc.insecure_channel(url, UNBOUNDED) as channel:
        return message(channel, request)


def _answers(server: ServedProcess) -> bool:
    async def one() -> bool:
        async with Asker(server.url) as asker:
            return not (await asker.ask(avatar_request(texture_size=512), timeout_s=60.0)).code

    return bool(processes(server.pid).get(TRITON)) and asyncio.run(one())
