"""What is too large, too slow or too many is refused before it costs anything, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Caller
from facewright.gateway.rest import RestLimits, RestSettings
from facewright_client.contract import MAX_PHOTO_BYTES, ErrorCode
from tests.gateway.rest_door import PATIENCE_S, Door, everything, open_door
from tests.support.certificates import make_certificate
from tests.support.scripted_house import FILES

_POST = b"POST /v1/avatars HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def opened() -> Iterator[Door]:
    with open_door(_limited(discard_s=PATIENCE_S)) as door:
        yield door


@pytest.fixture(scope="module")
def hasty() -> Iterator[Door]:
    """A door that nobody need wait for."""
    with open_door(_limited(headers_s=0.3, body_s=0.3, discard_s=0.2)) as door:
        yield door


def _limited(**limits: float) -> RestSettings:
    return RestSettings(limits=replace(RestLimits(), **limits))  # type: ignore[arg-type]


@pytest.fixture
def door(opened: Door) -> Door:
    opened.house.calls.clear()
    opened.house.held = False
    opened.house.inside.clear()
    opened.house.cancelled.clear()
    return opened


def _eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def _refusal(raw: bytes) -> tuple[int, dict[str, str]]:
    """Status and error form of the one answer in some bytes, which ended the connection."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert b"application/json" in head.lower()
    return int(head.split(b" ", 2)[1]), json.loads(body)


def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(hasty: Door) -> None:
    for expecting in (b"", b"Expect: 100-continue\r\n"):
        with socket.create_connection(("127.0.0.1", hasty.port), PATIENCE_S) as connection:
            connection.sendall(_POST + b"Content-Length: %d\r\n%s\r\n" % (MAX_PHOTO_BYTES + 1, expecting))
            status, error = _refusal(everything(connection))
        assert (status, error["code"]) == (413, "PHOTO_TOO_LARGE")
        assert str(MAX_PHOTO_BYTES + 1) in error["message"]


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not(door: Door) -> None:
    assert door.create(photo=bytes(MAX_PHOTO_BYTES)).status == 200
    assert len(door.house.requests.pop().raw_input_contents[0]) == MAX_PHOTO_BYTES
    assert door.create(photo=bytes(MAX_PHOTO_BYTES + 1)).status == 413


def test_an_answer_that_overtakes_its_body_is_read_by_whoever_sends_on(door: Door) -> None:
    # More than both sockets' buffers, sent by a client that looks at answers only when it has sent all.
    size = 64 * 2**20
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
        connection.sendall(_POST + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
        assert _refusal(everything(connection))[0] == 413


def test_chunks_are_counted(door: Door) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    raw = door.raw(_POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 600 + b"0\r\n\r\n")
    assert _refusal(raw)[0] == 413
    assert not door.house.calls


def test_a_chunked_photo_is_taken(door: Door) -> None:
    assert door.ask("POST", "/v1/avatars", iter([b"pho", b"to"])).status == 200
    assert door.house.requests[-1].raw_input_contents == [b"photo"]


@pytest.fixture(scope="module")
def narrow() -> Iterator[Door]:
    with open_door(_limited(photo_bytes=2**20)) as door:
        yield door


def test_a_form_has_bounds(narrow: Door) -> None:
    def form(*parts: tuple[str, bytes]) -> int:
        body = b"".join(
            b'--e\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
            for name, content in parts
        )
        kind = {"Content-Type": "multipart/form-data; boundary=e", "Accept": "application/json"}
        return narrow.ask("POST", "/v1/avatars", body + b"--e--\r\n", kind).status

    assert form(*[("photo", b"p")] * 8) == 200
    assert form(*[("photo", b"p")] * 9) == 400
    assert form(("photo", b"p"), *[("lods", b"1")] * 80) == 400
    assert form(("photo", b"p"), ("lods", b"1" * 70_000)) == 400
    assert form(("photo", bytes(2**20)), ("lods", b"1")) == 200
    assert form(("photo", bytes(2**20)), ("photo", b"1")) == 413
    assert form(("lods", b"1")) == 400
    assert form(("photo", b"p"), ("lods", b"\xff")) == 400


def test_no_photo_reaches_a_disk(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_named: object) -> None:
        raise AssertionError("a file was opened")

    for name in ("SpooledTemporaryFile", "NamedTemporaryFile", "TemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    photo = bytes(8 * 2**20)
    head = b'--e\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=e"}
    assert door.ask("POST", "/v1/avatars", head + photo + b"\r\n--e--\r\n", kind).status == 200
    assert door.create(photo=photo).status == 200


def test_a_compressed_body_is_refused_unread(door: Door) -> None:
    bomb = gzip.compress(bytes(2**20))
    reply = door.create(photo=bomb, Content_Encoding="gzip")
    assert (reply.status, reply.headers["Accept-Encoding"]) == (415, "identity")


def test_a_slow_body_is_given_up(hasty: Door) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), PATIENCE_S) as connection:
        connection.sendall(_POST + b"Content-Length: 100\r\n\r\nfew")
        assert _refusal(everything(connection))[0] == 408


def test_headers_that_never_end_are_given_up_however_they_trickle(hasty: Door) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), PATIENCE_S) as connection:
        stop = threading.Event()

        def trickle() -> None:
            sent = _POST + b"X-Slow: "
            while not stop.wait(0.02):
                try:
                    connection.sendall(sent)
                except OSError:
                    return
                sent = b"a"

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            status, error = _refusal(everything(connection))
        finally:
            stop.set()
            thread.join()
    assert (status, error["message"]) == (408, "the headers were not there after 0.3 s")


def test_a_connection_that_says_nothing_is_given_up(hasty: Door) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), PATIENCE_S) as connection:
        assert _refusal(everything(connection))[0] == 408


def test_a_second_request_on_a_connection_has_its_time_too(hasty: Door) -> None:
    with socket.create_connection(("127.0.0.1", hasty.port), PATIENCE_S) as connection:
        connection.sendall(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /v1/ver")
        assert _refusal(everything(connection))[0] == 408


def test_long_headers_are_refused_even_at_once(door: Door) -> None:
    for header in (
        b"X-Long: " + b"a" * 100_000 + b"\r\n",
        b"X: y\r\n" * 10_000,
        b"X: %b\r\n" % (b"a" * 20_000),
    ):
        status, error = _refusal(door.raw(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n"))
        assert (status, error["code"]) == (431, "BAD_REQUEST")


def test_connections_beyond_the_limit_take_the_place_of_silent_ones_and_of_no_others() -> None:
    settings = _limited(connections=5, headers_s=60, body_s=60)
    with open_door(settings) as door, ExitStack() as held:

        def connected() -> socket.socket:
            return held.enter_context(socket.create_connection(("127.0.0.1", door.port), PATIENCE_S))

        silent = []
        for number in range(5):
            silent.append(connected())
            _eventually(lambda number=number: door.server.connections == number + 1)  # type: ignore[misc]
        assert door.works()
        assert everything(silent[0]) == b""
        _eventually(lambda: door.server.connections == 4)
        for connection in silent[1:]:
            connection.sendall(_POST + b"Content-Length: 5\r\n\r\nphot")
        silent.append(connected())
        _eventually(lambda: door.server.connections == 5)
        assert door.works()
        assert everything(silent[5]) == b""  # the only one without a request
        silent[1].sendall(b"o")
        assert silent[1].recv(65536).startswith(b"HTTP/1.1 200")

        door.house.held = True
        for number in range(5):
            door.house.inside.clear()
            connected().sendall(_POST + b"Content-Length: 1\r\n\r\nx")
            assert door.house.inside.wait(PATIENCE_S), number
        status, error = _refusal(everything(connected()))
        assert (status, error["code"]) == (503, "OVERLOADED")
        assert not door.house.cancelled.is_set()


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
@pytest.mark.parametrize("photos", [1, 2])
def test_a_client_that_leaves_cancels_its_calls(door: Door, accept: str, photos: int) -> None:
    door.house.held = True
    part = b'--e\r\nContent-Disposition: form-data; name="photo"\r\n\r\nphoto\r\n'
    body = part * photos + b"--e--\r\n"
    kind = b"Content-Type: multipart/form-data; boundary=e\r\nContent-Length: %d\r\n" % len(body)
    if photos == 2:
        accept = "application/json"
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
        connection.sendall(_POST + kind + b"Accept: %s\r\n\r\n" % accept.encode() + body)
        assert door.house.inside.wait(PATIENCE_S)
        assert not door.house.cancelled.is_set()
    assert door.house.cancelled.wait(PATIENCE_S)


def test_a_client_that_leaves_amid_events_cancels_its_call(door: Door) -> None:
    door.house.held = True
    door.house.stages = ("find_face",)
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
        connection.sendall(_POST + b"Accept: text/event-stream\r\nContent-Length: 1\r\n\r\nx")
        assert b"200" in connection.recv(65536)
    door.house.stages = ()
    assert door.house.cancelled.wait(PATIENCE_S)


def test_silent_events_have_a_heartbeat() -> None:
    with open_door(_limited(heartbeat_s=0.05)) as door:
        door.house.held = True
        door.house.stages = ("find_face",)
        with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
            connection.sendall(_POST + b"Accept: text/event-stream\r\nContent-Length: 1\r\n\r\nx")
            received = b""
            while b": working\n\n" not in received:
                piece = connection.recv(65536)
                assert piece
                received += piece


def test_a_server_that_stops_lets_calls_end_and_ends_the_late_ones() -> None:
    with open_door() as door:
        door.house.held = True
        with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
            connection.sendall(_POST + b"Content-Length: 1\r\n\r\nx")
            assert door.house.inside.wait(PATIENCE_S)
            asyncio.run_coroutine_threadsafe(door.server.stop(0.0), door.loop).result(PATIENCE_S)
            raw = everything(connection)
        assert raw.startswith(b"HTTP/1.1 503")
        assert json.loads(raw.partition(b"\r\n\r\n")[2])["code"] == "UNAVAILABLE"
        assert door.house.cancelled.is_set()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", door.port), PATIENCE_S)


def test_a_server_that_stops_waits_for_what_is_in_flight() -> None:
    with open_door() as door:
        release = threading.Event()

        async def answer_late(call: object, answer=door.house.answer) -> bytes:  # type: ignore[no-untyped-def]
            door.house.inside.set()
            await asyncio.to_thread(release.wait)
            answered: bytes = await answer(call)
            return answered

        door.house.answer = answer_late  # type: ignore[method-assign]
        with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
            connection.sendall(_POST + b"Content-Length: 1\r\n\r\nx")
            assert door.house.inside.wait(PATIENCE_S)
            stopping = asyncio.run_coroutine_threadsafe(door.server.stop(PATIENCE_S), door.loop)
            release.set()
            assert everything(connection).startswith(b"HTTP/1.1 200")
        stopping.result(PATIENCE_S)


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 32 * 2**20  # more than the sockets' buffers
    monkeypatch.setattr("facewright.gateway.rest.connection._LOOK_EVERY_S", 0.1)
    monkeypatch.setitem(FILES, "GLB", bytes(size))
    with (
        open_door(_limited()) as door,
        socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection,
    ):
        connection.sendall(_POST + b"Content-Length: 1\r\n\r\nx")
        _eventually(lambda: bool(door.house.calls))
        _eventually(lambda: door.server.connections == 0)
        assert len(everything(connection)) < size


def test_a_failure_in_flight_is_no_leak(door: Door) -> None:
    door.house.failures.append(FacewrightError(ErrorCode.NO_FACE, "no face", "show one", "find_face"))
    assert door.create().status == 422
    _eventually(lambda: door.server.connections == 0)


def test_bodies_have_a_budget_and_no_caller_more_than_half_of_it() -> None:
    def authenticate(headers: Mapping[str, str], _peer: str) -> Caller:
        return Caller(headers["x-me"])

    settings = replace(_limited(memory_bytes=2 * 2**20), authenticate=authenticate)
    with open_door(settings) as door, socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as slow:
        half = 2**20
        slow.sendall(_POST + b"X-Me: slow\r\nContent-Length: %d\r\n\r\n" % (half + 1) + bytes(half - 1))
        # No form, so that no answer takes the room of what still comes.
        form = "multipart/form-data; boundary=e"
        _eventually(lambda: door.create(photo=b"more", X_Me="slow", Content_Type=form).status == 503)
        refused = door.create(photo=b"more", X_Me="slow")
        assert (refused.error["code"], refused.headers["Retry-After"]) == ("OVERLOADED", "1")
        assert door.create(photo=bytes(half), X_Me="quick").status == 200
        slow.close()
        _eventually(lambda: door.create(photo=b"more", X_Me="slow").status == 200)


def test_an_answer_counts_until_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 32 * 2**20  # more than the sockets' buffers
    monkeypatch.setitem(FILES, "GLB", bytes(size))
    with open_door(_limited(memory_bytes=size)) as door:
        with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
            connection.sendall(_POST + b"Content-Length: 1\r\nConnection: close\r\n\r\nx")
            _eventually(lambda: door.create().status == 503)
            assert len(everything(connection)) > size
        _eventually(door.works)


def test_a_caller_that_expects_100_is_told_to_go_on(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
        connection.sendall(_POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"photo")
        assert everything(connection).startswith(b"HTTP/1.1 200")


def test_the_same_over_tls(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "127.0.0.1")
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(made.certificate, made.key)
    trusting = ssl.create_default_context(cafile=str(made.certificate))
    with open_door(_limited(headers_s=0.3), shown) as door:

        def connected() -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", door.port), PATIENCE_S)
            return trusting.wrap_socket(plain, server_hostname="127.0.0.1")

        with connected() as connection:
            connection.sendall(_POST + b"Connection: close\r\nContent-Length: 5\r\n\r\nphoto")
            assert everything(connection).startswith(b"HTTP/1.1 200")
        with connected() as connection:
            connection.sendall(_POST)
            assert _refusal(everything(connection))[0] == 408
