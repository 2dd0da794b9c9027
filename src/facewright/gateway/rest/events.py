"""Progress: an answer as server-sent events (WHATWG HTML, section 9.2).

``began`` for each stage, ``{"stage": …}``; at last ``avatar``, or what else was made, in its JSON form, or
``error``, the wire form. A refinement that tells of its iterations has ``progress``, too. What fails before
any stage began, such as what is not let in, is an ordinary answer with its status code.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright.gateway.rest.errors import error_response, wire_form
from facewright.gateway.rest.job import Work

EVENTS: Final = "text/event-stream"


class EventsResponse(Response):
    """The events of something that is being made, which ends with them.

    Args:
        make: it; a job's goes on though nobody listens.
        heartbeat_s: between two comments that keep proxies from closing a silent connection.
    """

    media_type = EVENTS

    def __init__(self, make: Work, heartbeat_s: float) -> None:
        super().__init__(None, 200, {"X-Accel-Buffering": "no"})  # nginx holds answers back unless told so
        del self.headers["Content-Length"]
        self._make = make
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        told: asyncio.Queue[tuple[str, Mapping[str, Any]] | None] = asyncio.Queue()
        making = asyncio.ensure_future(self._make(lambda name, event: told.put_nowait((name, event))))
        del self._make  # and with it what was sent: it is not kept until the events have been read
        making.add_done_callback(lambda _: told.put_nowait(None))
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
            while not (making.done() and told.empty()):
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        one = await told.get()
                except TimeoutError:
                    if started:
                        await write((b": working\n\n",))
                    continue
                if one is not None:
                    await write(_event(one[0], (json.dumps(one[1]).encode(),)))
            try:
                made = await making
            except FacewrightError as error:
                if not started:
                    await error_response(error)(scope, receive, send)
                    return
                await write(_event("error", (wire_form(error),)))
            else:
                await write(_event(made.event, await asyncio.to_thread(made.json_line)))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            making.cancel()


def _event(name: str, line: Iterable[bytes]) -> Iterable[bytes]:
    """The pieces of one event, whose data is one line."""
    return (f"event: {name}\ndata: ".encode(), *line, b"\n\n")
