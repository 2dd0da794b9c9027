"""A REST door on a port of its own, on an event loop of its own thread, and ways to speak to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from facewright.gateway.rest import RestServer, RestSettings, rest_application
from facewright.pipelines.registry import pipelines
from facewright.pipelines.stages import Pipeline
from tests.support.scripted_house import ScriptedHouse

#: Of a test, seconds: longer than anything takes that works.
PATIENCE_S = 60.0


@dataclass
class Reply:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The one JSON form."""
        assert self.headers["Content-Type"] == "application/json"
        members: dict[str, Any] = json.loads(self.body)
        assert set(members) - {"retry_after_s"} == {"code", "stage", "message", "hint"}
        return members


@dataclass
class Door:
    """A door that is open."""

    port: int
    house: ScriptedHouse
    server: RestServer
    loop: asyncio.AbstractEventLoop

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        return ask(self.port, method, path, body, headers)

    def create(self, query: str = "", photo: Any = b"photo", **headers: str) -> Reply:
        """An avatar; headers with ``_`` for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", f"/v1/avatars{query}", photo, named)

    def raw(self, sent: bytes) -> bytes:
        """Everything that comes back for some bytes, until the other side closes or an answer is whole."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may have heard enough
                connection.sendall(sent)
            return everything(connection)

    def works(self) -> bool:
        """Whether an ordinary request is answered."""
        return self.create().status == 200


def ask(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return bytes(received)


@contextmanager
def open_door(
    settings: RestSettings | None = None,
    tls: ssl.SSLContext | None = None,
    served: Mapping[str, Pipeline] | None = None,
) -> Iterator[Door]:
    """A door with all of our pipelines behind it, or those that are ``served``."""
    served = pipelines() if served is None else served
    house = ScriptedHouse()
    settings = settings or RestSettings()
    listener = socket.create_server(("127.0.0.1", 0))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop")
    thread.start()

    async def start() -> RestServer:
        server = RestServer(rest_application(house, served, settings), [listener], settings.limits, tls)
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE_S)
    try:
        yield Door(listener.getsockname()[1], house, server, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0.0), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
