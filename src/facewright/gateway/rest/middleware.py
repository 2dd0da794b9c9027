"""What is true of every answer, whichever route gives it."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright.gateway.faults import log_fault
from facewright.gateway.rest.errors import error_response, fault
from facewright_client.contract import ErrorCode

#: Nothing that is answered may be kept by what lies between, or be taken for something else by a browser.
_ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


class Envelope:
    """Every answer has an ``X-Request-Id``, the caller's where it is sane; faults are logged and say nothing.

    Args:
        application: what answers; it finds the id in its scope's state as ``request_id``.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        given = Headers(scope=scope).get("x-request-id", "")
        identity = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = identity
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = _with(message, {"X-Request-Id": identity, **_ALWAYS})
            await send(message)

        try:
            await self._application(scope, receive, sending)
        except asyncio.CancelledError:
            if not started:
                await error_response(_stopping())(scope, receive, sending)
            raise
        except Exception as error:
            if scope["state"].get("fault") is not error:
                note_fault(scope, error)
            if started:
                raise  # uvicorn ends the connection, so that nobody takes half an answer for a whole one
            await error_response(fault())(scope, receive, sending)


def note_fault(scope: Scope, error: Exception) -> None:
    """Write a fault of ours to the log under its request's id."""
    scope["state"]["fault"] = error
    log_fault(f"request {scope['state']['request_id']}", error)


class UnreadBody:
    """An answer that comes before its request's body was read is seen by whoever still sends that body.

    Closing a connection on which something lies unread resets it, and a reset may overtake the answer (RFC
    9112, section 9.6). So the answer says ``Connection: close``, and what still comes is read and
    thrown away for a while.

    Args:
        application: what answers.
        discard_s: for how long.
    """

    def __init__(self, application: ASGIApp, discard_s: float) -> None:
        self._application = application
        self._discard_s = discard_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        headers = Headers(scope=scope)
        unread = "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""

        async def receiving() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message["type"] == "http.request" and message["more_body"]
            return message

        async def sending(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                message = _with(message, {"Connection": "close"})
            if not unread or message["type"] != "http.response.body" or message.get("more_body"):
                await send(message)
                return
            await send({**message, "more_body": True})
            try:
                async with asyncio.timeout(self._discard_s):
                    while unread:
                        await receiving()
            except TimeoutError:
                pass
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._application(scope, receiving, sending)


def _with(start: Message, headers: Mapping[str, str]) -> Message:
    """An answer's start with further headers; a copy, for some answers are sent many times."""
    added = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {**start, "headers": [*start["headers"], *added]}


def _stopping() -> FacewrightError:
    return FacewrightError(
        ErrorCode.UNAVAILABLE,
        "the server stopped before the answer was there",
        "try again",
        retry_after_s=1.0,
    )
