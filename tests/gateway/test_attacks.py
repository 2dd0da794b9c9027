"""The gRPC door under attack, a scripted Triton behind it: what `benchmarks.chaos` does, in short form."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from benchmarks.chaos import http2_frames
from benchmarks.chaos.asking import INFER, UNBOUNDED, avatar_request
from benchmarks.chaos.crafted import SEED, message, raw, small_calls
from benchmarks.chaos.crafted_requests import messages
from benchmarks.chaos.http2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame
from benchmarks.chaos.mutated_requests import mutations
from facewright.gateway import kserve, reading_turns
from facewright.gateway.kserve import LARGEST_REQUEST
from tests.gateway.test_kserve import asked, inferred
from tests.support.triton_behind import glb_of

#: A window of nothing, which no answer fits into (RFC 9113, section 6.5.2).
_READS_NOTHING = frame(SETTINGS, struct.pack(">HI", 4, 0))
#: Type, flags and stream of a frame that asks for another connection (RFC 9113, section 6.8).
_GO_AWAY = bytes((7, 0, 0, 0, 0, 0))


def _port(door: str) -> int:
    return int(door.rpartition(":")[2])


def test_no_message_of_a_strangers_ends_the_door(tmp_path: Path) -> None:
    """Nor reaches Triton, where it is no request: those that do are of the form that the protocol has."""

    def attack(door: str) -> dict[str, str]:
        told = {}
        for name, sent in messages().items():
            with grpc.insecure_channel(door, UNBOUNDED) as channel:
                told[name] = message(channel, sent)
        return told

    async def accepts(request: Any) -> Any:
        return service_pb2.ModelInferResponse(model_name=request.model_name)

    told, _ = asked(tmp_path, attack, accepts)
    assert set(told.values()) == {"INVALID_ARGUMENT", "answered"}
    broken = (
        "nothing",
        "a million fields",
        "groups 100,000 deep",
        "100,000 inputs",
        "a region of shared memory",
    )
    assert {told[name] for name in broken} == {"INVALID_ARGUMENT"}


def test_no_frames_of_a_strangers_end_the_door(tmp_path: Path) -> None:
    def attack(door: str) -> list[str]:
        told = []
        for sent in http2_frames.conversations(INFER).values():
            told.append(raw(_port(door), sent))
        assert inferred(door)[0] == b"a photo"
        return told

    told, _ = asked(tmp_path, attack)
    assert "left open" not in told


def test_mutated_calls_end_nothing(tmp_path: Path) -> None:
    def attack(door: str) -> None:
        for sent in mutations(small_calls(), 150, SEED):
            assert raw(_port(door), sent) != "left open"
        requests = [avatar_request(b"a photo", texture_size=512), avatar_request(b"a photo")]
        with grpc.insecure_channel(door, UNBOUNDED) as channel:
            for sent in mutations(requests, 300, SEED):
                message(channel, sent)
        assert inferred(door)[0] == b"a photo"

    asked(tmp_path, attack)


def test_callers_that_stop_in_the_middle_hold_little(tmp_path: Path) -> None:
    """A hundred streams of one connection send all that the door takes of large messages, but their ends."""

    def attack(door: str) -> tuple[int, bytes]:
        with socket.create_connection(("127.0.0.1", _port(door)), 10) as connection:
            taken = _push(connection, streams=100, most=LARGEST_REQUEST // 2)
            # Others are served meanwhile, over REST too; this caller has turns left no more than its share.
            return taken, _health(door)

    (taken, health), _ = asked(tmp_path, attack)
    assert taken < 8 * LARGEST_REQUEST
    assert health == b"\x08\x01"


def test_callers_that_dribble_give_way_to_whole_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold every turn that this address may have, and send no more."""
    monkeypatch.setattr(reading_turns, "_UNDISTURBED_S", 0.1)

    def attack(door: str) -> bytes:
        began = http2_frames.conversation(http2_frames.call(INFER, b"some of it", announced=1000))
        slow = [socket.create_connection(("127.0.0.1", _port(door)), 10) for _ in range(4)]
        for connection in slow:
            connection.sendall(began)
        photo, _ = inferred(door, client_timeout=10)
        for connection in slow:
            connection.close()
        return photo

    assert asked(tmp_path, attack)[0] == b"a photo"


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
def test_answers_that_nobody_reads_are_bounded(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a caller that reads nothing no more photos are taken, once its answers fill its share."""
    size = 40 * 2**20

    async def large(request: Any) -> Any:
        answer = await glb_of(request)
        answer.raw_output_contents[0] = bytes(size)
        return answer

    def attack(door: str) -> bool:
        unread = [_unread_call(_port(door), f"/inference.GRPCInferenceService/{method}") for _ in range(4)]
        try:
            refused = _until(lambda: not _answered(door))
            assert _health(door) == b"\x08\x01"
        finally:
            for connection in unread:
                connection.close()
        assert _until(lambda: _answered(door)), "whoever has gone holds nothing"
        return refused

    refused, triton = asked(tmp_path, attack, large)
    assert refused
    assert len(triton.seen) < 10
    assert "raised by servicer" not in caplog.text, "that a caller leaves is no fault of ours"


@pytest.mark.parametrize("method", ["ServerLive", "ModelMetadata", "ModelInfer"])
def test_oversized_messages_are_refused_by_their_first_bytes(tmp_path: Path, method: str) -> None:
    """A length of 1.5 GB is refused before anything of it has come."""

    def attack(door: str) -> bytes:
        called = http2_frames.call(f"/inference.GRPCInferenceService/{method}", b"", announced=1_500_000_000)
        with socket.create_connection(("127.0.0.1", _port(door)), 10) as connection:
            connection.sendall(http2_frames.conversation(called))
            heard = b""
            while b"larger than max" not in heard:
                piece = connection.recv(65536)
                assert piece, heard
                heard += piece
        return heard

    heard, triton = asked(tmp_path, attack)
    assert b"larger than max" in heard
    assert triton.seen == []


def test_callers_that_leave_end_their_requests(tmp_path: Path) -> None:
    """Those that Triton has are cancelled there; those that wait never come to it."""

    at_work, ended = threading.Event(), threading.Semaphore(0)

    async def never(_request: Any) -> Any:
        at_work.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.release()

    def leave(door: str) -> None:
        with grpc.insecure_channel(door, UNBOUNDED) as channel:
            infer = channel.unary_unary(INFER)
            calls = [infer.future(avatar_request(b"a photo")) for _ in range(40)]
            assert at_work.wait(60)
            time.sleep(0.3)  # for others, too, to come to Triton; none need
            for call in reversed(calls):  # those that wait leave first: none takes the place of one that left
                call.cancel()
            assert ended.acquire(timeout=60)
        time.sleep(0.3)  # for any that would yet come to it

    _, triton = asked(tmp_path, leave, never)
    assert 1 <= len(triton.seen) <= 4
    assert triton.cancelled == len(triton.seen)


def _push(connection: socket.socket, streams: int, most: int) -> int:
    """Send what flow control allows of a message on each stream, until nothing more is taken; bytes sent."""
    peer = http2_frames.Peer(connection)
    head = b"\0" + struct.pack(">I", LARGEST_REQUEST - 1)
    ids = range(1, 2 * streams, 2)
    for stream in ids:
        connection.sendall(frame(HEADERS, http2_frames.grpc_headers(INFER), stream, END_HEADERS))
        connection.sendall(frame(DATA, head, stream))
        peer.sent(stream, len(head))
    sent = 0
    quiet = 0
    while quiet < 10:
        moved = 0
        for stream in ids:
            room = min(peer.room(stream), 16384, most - peer.sent_on[stream])
            if room > 0:
                connection.sendall(frame(DATA, bytes(room), stream))
                peer.sent(stream, room)
                moved += room
        sent += moved
        peer.listen(0.0 if moved else 0.05)
        quiet = 0 if moved else quiet + 1
    return sent


def _unread_call(port: int, method: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 10)
    ended = frame(DATA, b"", 1, END_STREAM)
    called = http2_frames.call(method, avatar_request(b"a photo"))
    connection.sendall(http2_frames.PREFACE + _READS_NOTHING + called + ended)
    return connection


def _answered(door: str) -> bool:
    with grpc.insecure_channel(door, UNBOUNDED) as channel, suppress(grpc.RpcError):
        channel.unary_unary(INFER)(avatar_request(b"a photo"), timeout=10)
        return True
    return False


def _health(door: str) -> bytes:
    with grpc.insecure_channel(door) as channel:
        answer: bytes = channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20)
    return answer


def _until(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 20
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_connections_that_say_nothing_leave_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a door that has all the connections that it takes, a further one is closed, and those there work."""
    limits = dict(kserve._OPTIONS)
    assert limits["grpc.max_allowed_incoming_connections"] <= 1000
    limits["grpc.max_allowed_incoming_connections"] = 20
    monkeypatch.setattr(kserve, "_OPTIONS", tuple(limits.items()))

    def attack(door: str) -> tuple[bytes, bytes, bytes]:
        with grpc.insecure_channel(door, UNBOUNDED) as earlier:
            health = earlier.unary_unary("/grpc.health.v1.Health/Check")
            health(b"", timeout=20)
            silent = [socket.create_connection(("127.0.0.1", _port(door)), 10) for _ in range(30)]
            try:
                heard = []
                for connection in (silent[0], silent[-1]):
                    try:
                        heard.append(connection.recv(4096))
                    except ConnectionResetError:
                        heard.append(b"")
                return heard[0], heard[1], health(b"", timeout=20)
            finally:
                for connection in silent:
                    connection.close()

    (first, last, answer), _ = asked(tmp_path, attack)
    assert first, "the door greets whom it takes"
    assert last == b""
    assert answer == b"\x08\x01"


@pytest.mark.parametrize("option", ["grpc.max_connection_age_ms", "grpc.max_connection_idle_ms"])
def test_connections_are_made_anew_now_and_then_and_no_call_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    limits = dict(kserve._OPTIONS)
    assert 30_000 <= limits[option] <= 600_000
    monkeypatch.setattr(kserve, "_OPTIONS", tuple({**limits, option: 100}.items()))

    def attack(door: str) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", _port(door)), 10) as silent:
            silent.sendall(http2_frames.PREFACE + frame(SETTINGS, b""))
            with grpc.insecure_channel(door, UNBOUNDED) as channel:
                health = channel.unary_unary("/grpc.health.v1.Health/Check")
                healths = []
                for _ in range(20):
                    healths.append(health(b"", timeout=20))
                    time.sleep(0.03)
            heard = b""
            while _GO_AWAY not in heard and (more := silent.recv(4096)):
                heard += more
            assert _GO_AWAY in heard
        return healths

    healths, _ = asked(tmp_path, attack)
    assert set(healths) == {b"\x08\x01"}
