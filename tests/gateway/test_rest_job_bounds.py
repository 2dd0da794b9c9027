"""What jobs cost the door, whoever asks for them however often; and when their end counts as told."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call, Caller
from facewright.gateway.rest import Jobs, RestLimits, RestSettings, desk
from facewright_client.contract import ErrorCode
from tests.gateway.rest_door import PATIENCE_S, Door, everything, open_door
from tests.support.scripted_house import FILES, GLB

_LARGE = 16 * 2**20  # more than the sockets' buffers
_END = {"Prefer": "wait=60"}


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def door(jobs: Jobs) -> Iterator[Door]:
    def authenticate(headers: Mapping[str, str], peer: str) -> Caller:
        return Caller(headers.get("authorization", peer))

    limits = RestLimits(connections=16, memory_bytes=2 * _LARGE)
    with open_door(RestSettings(authenticate, jobs=jobs, limits=limits)) as opened:
        opened.house.stages = ("find_face",)
        yield opened
        asyncio.run_coroutine_threadsafe(jobs.close(), opened.loop).result(PATIENCE_S)


def _begin(door: Door, **headers: str) -> str:
    """A job's path, which goes on until the house is held no more."""
    door.house.held = True
    return str(door.create(Prefer="respond-async", **headers).headers["Location"])


def _all_told(door: Door, jobs: Jobs) -> bool:
    async def told() -> bool:
        return await asyncio.wait_for(jobs.all_collected(), 0.1) is None

    try:
        return asyncio.run_coroutine_threadsafe(told(), door.loop).result(PATIENCE_S)
    except TimeoutError:
        return False


def _asking(door: Door, path: str, headers: str = "", within: int = 1 << 20) -> socket.socket:
    """A connection on which something was asked for, and nothing is read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, within)
    connection.settimeout(PATIENCE_S)
    connection.connect(("127.0.0.1", door.port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    return connection


def test_a_failure_that_would_come_again_is_told_as_often_as_its_key_comes(door: Door) -> None:
    path = _begin(door, Idempotency_Key="k")
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    door.house.held = False
    assert json.loads(door.ask("GET", path, headers=_END).body)["state"] == "failed"
    for _ in range(2):
        reply = door.create(Idempotency_Key="k")
        assert (reply.status, reply.error["code"]) == (422, "NO_FACE")
    assert door.ask("GET", path).status == 200
    assert len(door.house.calls) == 1


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_a_failure_told_to_who_waits_for_it_is_told(door: Door, jobs: Jobs, accept: str) -> None:
    door.house.stages, door.house.held = (), True
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    release = threading.Timer(0.1, setattr, (door.house, "held", False))
    release.start()
    assert door.create(Idempotency_Key="k", Accept=accept).status == 422
    assert _all_told(door, jobs)


def test_an_end_that_was_not_read_is_not_told(
    door: Door, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILES, "GLB", bytes(_LARGE))
    path = _begin(door)
    door.house.held = False
    door.ask("GET", path, headers=_END)
    assert door.ask("HEAD", f"{path}/result").status == 200
    assert not _all_told(door, jobs)
    with _asking(door, f"{path}/result", within=4096) as leaving:
        assert leaving.recv(1000)
    assert not _all_told(door, jobs)
    assert len(door.ask("GET", f"{path}/result").body) == _LARGE
    assert _all_told(door, jobs)


def test_a_result_takes_its_room_before_it_is_made_for_one_more(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a caller would have a copy in each of a thousand connections, and read none of them."""
    monkeypatch.setitem(FILES, "GLB", bytes(_LARGE * 3 // 4))
    path = _begin(door)
    door.house.held = False
    door.ask("GET", path, headers=_END)
    for accept in ("application/json", "model/gltf-binary", "text/event-stream"):
        place = path if "event" in accept else f"{path}/result"
        while door.ask("GET", f"{path}/result").status != 200:  # whoever left is not noticed yet
            pass
            pass
        with _asking(door, place, f"Accept: {accept}\r\n", 4096) as slow:
            received = b""
            while (b'{"report"' if "event" in accept else b"\r\n") not in received:
                received += slow.recv(4096)
            refused = door.ask("GET", f"{path}/result")
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert door.ask("GET", path).status == 200


def test_who_waits_for_jobs_leaves_connections_to_others(door: Door) -> None:
    path = _begin(door, Authorization="ann")
    with ExitStack() as waiting:
        for form in ("Prefer: wait=60", "Accept: text/event-stream"):
            for _ in range(8):
                waiting.enter_context(_asking(door, path, f"Authorization: ann\r\n{form}\r\n"))
        reply = door.ask("GET", path, headers={"Authorization": "ann", **_END})  # it is preferred only
        assert json.loads(reply.body)["state"] == "running"
        events = door.ask("GET", path, headers={"Authorization": "ann", "Accept": "text/event-stream"})
        assert (events.status, events.error["code"]) == (503, "OVERLOADED")
    door.house.held = False
    assert door.create(Authorization="ann").body == GLB


@pytest.mark.parametrize("prefer", ["handling=strict", "respond-async, wait=60"])
def test_whoever_joins_a_job_has_no_photo_kept(
    door: Door, monkeypatch: pytest.MonkeyPatch, prefer: str
) -> None:
    digest, came, threads = desk._digest, list[weakref.ref[Call]](), list[str]()

    def noted(calls: Sequence[Call]) -> bytes:
        came.extend(map(weakref.ref, calls))
        threads.append(threading.current_thread().name)
        return digest(calls)

    monkeypatch.setattr(desk, "_digest", noted)
    path = _begin(door, Idempotency_Key="k")
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as twin:
        twin.sendall(
            b"POST /v1/avatars HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nConnection: close\r\n"
            b"Content-Length: 5\r\nPrefer: %s\r\n\r\nphoto" % prefer.encode()
        )
        while len(came) < 2 or came[1]() is not None:
            assert json.loads(door.ask("GET", path, headers={"Prefer": "wait=1"}).body)["state"] == "running"
        door.house.held = False
        assert everything(twin).endswith(GLB)
    assert "loop" not in threads  # a photo takes it tens of milliseconds


def test_whoever_joins_a_job_waits_as_long_as_it_says(door: Door) -> None:
    path = _begin(door, Idempotency_Key="k")
    reply = door.create(Idempotency_Key="k", X_Request_Timeout="0.05")
    assert (reply.status, reply.error["code"]) == (504, "DEADLINE_EXCEEDED")
    assert json.loads(door.ask("GET", path).body)["state"] == "running"
