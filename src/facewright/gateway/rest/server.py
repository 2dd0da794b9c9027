"""uvicorn on the event loop that runs already, started and stopped by whoever runs that loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from facewright.gateway.rest.connection import Connection
from facewright.gateway.rest.limits import RestLimits

_LOG_NOTHING: Final = "critical"  # what goes wrong is logged by the application; strangers' noise is not


class RestServer:
    """An application on some sockets. To be made, started and stopped on one event loop.

    Args:
        application: ASGI.
        sockets: bound ones, TCP or Unix; closed when the server stops.
        limits: of its connections.
        tls: for HTTPS.
    """

    def __init__(
        self,
        application: ASGIApp,
        sockets: Sequence[socket.socket],
        limits: RestLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        limits = limits or RestLimits()
        self._sockets = list(sockets)
        self._config = uvicorn.Config(
            application,  # type: ignore[arg-type]  # Starlette's messages are plain mappings
            http=functools.partial(Connection, limits),  # type: ignore[arg-type]  # called as a class is
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=_LOG_NOTHING,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=math.ceil(limits.idle_s),
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = _Server(self._config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when connections are taken."""
        self._serving = asyncio.create_task(self._server.serve(self._sockets))
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._serving.done():
            self._serving.result()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.server_state.connections)

    async def stop(self, grace_s: float) -> None:
        """Take nothing more, let what is in flight end within ``grace_s`` seconds, then end it with 503."""
        if self._serving is None:
            return
        self._config.timeout_graceful_shutdown = math.ceil(grace_s)
        self._server.should_exit = True
        await self._serving
        tasks = set(self._server.server_state.tasks)  # cancelled ones, that say so to their callers
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn's, which says when it listens and leaves signals to the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As of uvicorn."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield
