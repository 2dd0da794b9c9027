"""The real server under attack: what `benchmarks.chaos` does, in short form."""

from __future__ import annotations

import http.client
import threading

import grpc
import pytest

from benchmarks.chaos.asking import UNBOUNDED, avatar_request
from benchmarks.chaos.crafted import message
from benchmarks.chaos.crafted_requests import messages
from benchmarks.chaos.slow_photos import slow_photo
from facewright.server import Server
from facewright_client import Client

pytestmark = pytest.mark.server
#: Of loopback, too: for the server it is another caller than 127.0.0.1.
_SOMEBODY_ELSE = "127.0.0.2"


def test_no_message_of_a_strangers_ends_a_stage(server: Server, client: Client, photo: bytes) -> None:
    pid = server.pid
    told = {}
    with grpc.insecure_channel(server.url, UNBOUNDED) as channel:
        for name, sent in messages().items():
            told[name] = message(channel, sent)
    assert set(told.values()) == {"INVALID_ARGUMENT"}
    assert client.create(photo, texture_size=512).glb
    assert (server.pid, server.restarts) == (pid, 0)


def test_a_photo_that_takes_seconds_keeps_nobody_out(server: Server, photo: bytes) -> None:
    """59 megapixels in 173 kB, and meanwhile somebody else's photo over REST."""
    pid, told = server.pid, []

    def floods() -> None:
        with grpc.insecure_channel(server.url, UNBOUNDED) as channel:
            told.append(message(channel, avatar_request(slow_photo())))

    flood = threading.Thread(target=floods)
    flood.start()
    port = server.settings.http_port
    connection = http.client.HTTPConnection("127.0.0.1", port, 60, source_address=(_SOMEBODY_ELSE, 0))
    connection.request("POST", "/v1/avatars?texture_size=512", photo)
    answer = connection.getresponse()
    assert (answer.status, answer.read()[:4]) == (200, b"glTF")
    connection.close()
    flood.join()
    assert told == ["INVALID_ARGUMENT"]  # a black photo has no face
    assert (server.pid, server.restarts) == (pid, 0)
