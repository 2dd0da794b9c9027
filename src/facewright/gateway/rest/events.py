"""Progress: an answer as server-sent events (WHATWG HTML, section 9.2).

``began`` for each stage, ``{"stage": …}``; at last ``avatar``, the JSON form, or ``error``, the wire form.
What fails before any stage began, such as what is not let in, is an ordinary answer with its status code.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright.gateway.rest.answers import Avatar
from facewright.gateway.rest.waiting import while_awaited

EVENTS: Final = "text/event-stream"

#: Makes an avatar; is given what is told the name of each stage that begins.
Making = Callable[[Callable[[str], None]], Coroutine[Any, Any, Avatar]]


class EventsResponse(Response):
    """The events of one avatar that is being made. A client that leaves ends the making.

    Args:
        make: the avatar.
        heartbeat_s: between two comments that keep proxies from closing a silent connection.
    """

    media_type = EVENTS

    def __init__(self, make: Making, heartbeat_s: float) -> None:
        super().__init__(None, 200, {"X-Accel-Buffering": "no"})  # nginx holds answers back unless told so
        del self.headers["Content-Length"]
        self._make = make
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI.

        Raises:
            FacewrightError: the avatar failed before the first event.
        """
        del scope
        # The stream has begun, so there is nothing else to answer, and nobody to answer it to.
        with suppress(ClientDisconnect):
            await while_awaited(receive, self._events(send))

    async def _events(self, send: Send) -> None:
        stages: asyncio.Queue[str | None] = asyncio.Queue()
        making = asyncio.ensure_future(self._make(stages.put_nowait))
        making.add_done_callback(lambda _: stages.put_nowait(None))
        started = False

        async def write(pieces: Iterable[bytes]) -> None:
            nonlocal started
            if not started:
                head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(head)
                started = True
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})

        try:
            while not (making.done() and stages.empty()):
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        stage = await stages.get()
                except TimeoutError:
                    if started:
                        await write((b": working\n\n",))
                    continue
                if stage is not None:
                    await write(_event("began", (json.dumps({"stage": stage}).encode(),)))
            try:
                avatar = await making
            except FacewrightError as error:
                if not started:
                    raise
                await write(_event("error", (error.to_json().encode(),)))
            else:
                await write(_event("avatar", await asyncio.to_thread(list, avatar.json_pieces())))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            making.cancel()


def _event(name: str, line: Iterable[bytes]) -> Iterable[bytes]:
    """The pieces of one event, whose data is one line."""
    return (f"event: {name}\ndata: ".encode(), *line, b"\n\n")
