"""Requests that killed Triton, and thousands of broken ones: the door answers or closes, and says nothing."""

from __future__ import annotations

import json
import logging
import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
from starlette.datastructures import Headers

from facewright.gateway.rest import RestLimits, RestSettings
from tests.gateway.rest_door import PATIENCE_S, Door, open_door

_POST = b"POST /v1/avatars HTTP/1.1\r\nHost: x\r\n"
_FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\nContent-Type: image/jpeg'
    b'\r\n\r\nphoto\r\n--edge\r\nContent-Disposition: form-data; name="lods"\r\n\r\n1\r\n--edge--\r\n'
)
#: Words of Python's that no answer may have.
_LEAKS = (b"Traceback", b"Error:", b"Exception", b"line ", b"facewright/", b"uvicorn", b"starlette", b"h11")


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with open_door(RestSettings(limits=RestLimits(body_s=1.0, discard_s=1.0))) as opened:
        yield opened


def _request(method: bytes, target: bytes, headers: bytes = b"", body: bytes = b"") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body


def _sized(body: bytes, headers: bytes = b"") -> bytes:
    return _POST + headers + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


_CLOSING = b"Connection: close\r\n"
ATTACKS = {
    "deep JSON": (_sized(b"[" * 200_000, b"Content-Type: application/json\r\n"), 415),
    "deep JSON to Triton's own path": (
        _request(
            b"POST", b"/v2/models/avatar_twin/infer", _CLOSING + b"Content-Length: 200000\r\n", b"[" * 200_000
        ),
        404,
    ),
    "600,000 tiny chunks": (
        _POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n",
        400,
    ),
    "a chunk that is no number": (
        _POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nphoto\r\n0\r\n\r\n",
        400,
    ),
    "a chunk of -1": (_POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nphoto\r\n0\r\n\r\n", 400),
    "a chunk of 2^64": (_POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\nphoto", 408),
    "an unknown transfer coding": (_POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "two lengths": (_POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nphoto", 400),
    "a length that is none": (_POST + b"Content-Length: five\r\n\r\nphoto", 400),
    "a length of 100 digits": (_POST + b"Content-Length: " + b"9" * 100 + b"\r\n\r\nphoto", 400),
    "a length below zero": (_POST + b"Content-Length: -1\r\n\r\nphoto", 400),
    "length and chunks": (_POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no host": (b"GET /v1/version HTTP/1.1\r\n\r\n", 400),
    "two hosts": (_request(b"GET", b"/v1/version", b"Host: y\r\n"), 400),
    "a folded header": (_request(b"GET", b"/v1/version", b"X: a\r\n\tb\r\n" + _CLOSING), 200),
    "a header with NUL": (_request(b"GET", b"/v1/version", b"X: a\0b\r\n"), 400),
    "a header without a colon": (_request(b"GET", b"/v1/version", b"nonsense\r\n"), 400),
    "a path that climbs": (_request(b"GET", b"/v1/../../etc/passwd", _CLOSING), 404),
    "a path that climbs, encoded": (_request(b"GET", b"/v1/%2e%2e%2f%2e%2e%2fetc/passwd", _CLOSING), 404),
    "a path with NUL": (_request(b"GET", b"/v1/version%00.json", _CLOSING), 404),
    "a path of broken UTF-8": (_request(b"GET", b"/v1/%ff%fe", _CLOSING), 404),
    "a raw NUL": (_request(b"GET", b"/v1/\0version"), 400),
    "the absolute form": (_request(b"GET", b"http://127.0.0.1/v1/version", _CLOSING), 404),
    "an authority": (_request(b"CONNECT", b"evil.example:443", _CLOSING), 404),
    "an asterisk": (_request(b"OPTIONS", b"*", _CLOSING), 404),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64), 404),
    "HTTP/0.9": (b"GET /v1/version\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), 400),
    "gRPC's content type": (_sized(b"\0\0\0\0\0", b"Content-Type: application/grpc\r\n"), 200),
    "a WebSocket": (
        _request(b"GET", b"/v1/avatars", b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n"),
        405,
    ),
    "an endless query": (_request(b"POST", b"/v1/avatars?" + b"a=1&" * 1000, _CLOSING), 400),
    "a query of broken UTF-8": (_request(b"POST", b"/v1/avatars?lods=%ff", _CLOSING), 400),
    "an option with a newline": (_request(b"POST", b"/v1/avatars?lods=%0d%0aX:%201", _CLOSING), 400),
    "a body in gzip": (_sized(b"\x1f\x8b" + bytes(100), b"Content-Encoding: gzip\r\n"), 415),
    "a form without an end": (
        _sized(_FORM[:-10], b"Content-Type: multipart/form-data; boundary=edge\r\n"),
        400,
    ),
    "a form of boundaries": (
        _sized(b"--edge\r\n" * 100_000, b"Content-Type: multipart/form-data; boundary=edge\r\n"),
        400,
    ),
    "a part of headers": (
        _sized(
            b"--edge\r\n" + b"X: y\r\n" * 100_000, b"Content-Type: multipart/form-data; boundary=edge\r\n"
        ),
        400,
    ),
    "a long boundary": (
        _sized(_FORM, b"Content-Type: multipart/form-data; boundary=" + b"e" * 71 + b"\r\n"),
        400,
    ),
    "a nasty filename": (
        _sized(
            _FORM.replace(b"a.jpg", b"../../etc/passwd\\0"),
            b"Content-Type: multipart/form-data; boundary=edge\r\n",
        ),
        200,
    ),
    "quotes without an end": (
        _sized(
            _FORM.replace(b'"photo"', b';a="' * 300), b"Content-Type: multipart/form-data; boundary=edge\r\n"
        ),
        400,
    ),
    "an Accept of weights": (
        _sized(b"photo", b"Accept: " + b"a/b;q=0.1," * 1000 + b"*/*;q=9\r\n"),
        406,
    ),
}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a chunk that is no number", "the body has a chunk that is malformed"),
        ("two lengths", "there are two lengths in Content-Length"),
        ("a length of 100 digits", "Content-Length is no number of bytes, or has more than 20 digits"),
        ("a length below zero", "Content-Length is no number of bytes, or has more than 20 digits"),
        ("no host", "there is no Host header"),
        ("two hosts", "there are several Host headers"),
        ("a header without a colon", "a header is malformed"),
        ("a raw NUL", "this is not HTTP/1.1"),
        ("TLS", "this is not HTTP/1.1"),
        ("an endless query", "the query has more than 64 parameters"),
        ("a query of broken UTF-8", "the query is not UTF-8"),
    ],
)
def test_what_is_malformed_is_named(door: Door, name: str, words: str) -> None:
    error = json.loads(door.raw(ATTACKS[name][0]).partition(b"\r\n\r\n")[2])
    assert error["message"] == words
    assert error["stage"] == "gateway"


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_answered_and_the_door_stands(door: Door, name: str) -> None:
    sent, status = ATTACKS[name]
    raw = door.raw(sent)
    assert raw.startswith(b"HTTP/1.1 %d " % status), raw[:300]
    _says_nothing(raw)
    assert door.works()


def test_requests_in_a_row_are_answered_in_a_row(door: Door) -> None:
    one = _request(b"GET", b"/v1/version")
    raw = door.raw(one * 300 + _request(b"GET", b"/v1/version", _CLOSING))
    assert raw.count(b"HTTP/1.1 200") == 301


def test_a_thousand_mutated_requests_break_nothing(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(20261130)
    seeds = [
        _sized(b"photo", b"Content-Type: image/jpeg\r\nAccept: application/json\r\nX-Request-Id: a\r\n"),
        _sized(_FORM, b"Content-Type: multipart/form-data; boundary=edge\r\n"),
        _POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nphoto\r\n0\r\n\r\n",
        _request(b"GET", b"/v1/pipelines?x=1", _CLOSING),
        _request(
            b"POST", b"/v1/avatars?texture_size=512&preview=true", _CLOSING + b"Content-Length: 1\r\n", b"x"
        ),
    ]
    answered = 0
    for number in range(1000):
        mutated = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(mutated))
            match chance.randrange(4):
                case 0:
                    mutated[at] = chance.randrange(256)
                case 1:
                    del mutated[at : at + chance.randrange(1, 20)]
                case 2:
                    mutated[at:at] = chance.randbytes(chance.randrange(1, 20))
                case _:
                    other = chance.choice(seeds)
                    cut = chance.randrange(len(other))
                    mutated[at:at] = other[cut : cut + chance.randrange(1, 60)]
            mutated = mutated or bytearray(b"x")
        with socket.create_connection(("127.0.0.1", door.port), PATIENCE_S) as connection:
            with suppress(OSError):
                connection.sendall(mutated)
                connection.shutdown(socket.SHUT_WR)
            raw = b""
            with suppress(ConnectionResetError):
                while piece := connection.recv(65536):
                    raw += piece
        answered += raw.startswith(b"HTTP/1.1 ")
        _says_nothing(raw)
        assert not raw.startswith(b"HTTP/1.1 500"), (number, bytes(mutated), raw[:300])
    assert answered > 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert door.works()


def _says_nothing(raw: bytes) -> None:
    assert not [leak for leak in _LEAKS if leak in raw], raw[:500]


def test_thousands_of_headers_are_looked_through_a_few_times(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each of them, before anybody showed a key, held everybody up for half a second."""
    getlist, passes = Headers.getlist, list[str]()

    def counted(headers: Headers, name: str) -> list[str]:
        passes.append(name)
        return getlist(headers, name)

    monkeypatch.setattr(Headers, "getlist", counted)
    raw = door.raw(_request(b"GET", b"/v1/jobs/x", _CLOSING + b"a:\r\n" * 3000))
    assert raw.startswith(b"HTTP/1.1 404")
    assert len(passes) < 10
