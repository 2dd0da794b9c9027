"""HTTP/1.1 connections as uvicorn speaks it with h11, with bounds on time, chunks and number that it lacks.

Without them a connection that never ends its headers stays for ever, and one that does not read its answer
keeps it in memory; 600,000 chunks of one byte cost ten seconds; and malformed HTTP is answered as text.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from facewright.core.errors import FacewrightError
from facewright.gateway.rest.errors import JSON, RequestError, http_status
from facewright.gateway.rest.limits import RestLimits
from facewright_client.contract import MAX_PHOTO_BYTES, ErrorCode

#: Chunks that any body may have, however small.
_FREE_CHUNKS: Final = 1000
#: How often a connection whose answer is not read is looked at.
_LOOK_EVERY_S: Final = 10.0


#: What is told of malformed requests, by what h11's reason has in it.
_MALFORMED: Final = (
    ("illegal request line", "this is not HTTP/1.1", "send HTTP/1.1; gRPC has a port of its own"),
    ("conflicting Content-Length", "there are two lengths in Content-Length", "send one"),
    (
        "Content-Length",
        "Content-Length is no number of bytes, or has more than 20 digits",
        f"send the body's length in digits; at most {MAX_PHOTO_BYTES} are taken",
    ),
    ("Missing mandatory Host", "there is no Host header", "send one; HTTP/1.1 asks for it"),
    ("multiple Host", "there are several Host headers", "send one"),
    ("tiny chunks", "the body comes in too many tiny chunks", "send larger ones, or Content-Length"),
    ("chunk", "the body has a chunk that is malformed", "begin each with its size in hexadecimal digits"),
    ("illegal header line", "a header is malformed", "send Name: value, without control characters"),
)


def _malformed(reason: str) -> tuple[str, str]:
    """A message and a hint for what h11 refuses."""
    for words, message, hint in _MALFORMED:
        if words in reason:
            return message, hint
    return "this is no well-formed HTTP/1.1 request", "look at its Host, Content-Length and chunks"


class Connection(H11Protocol):
    """One connection.

    Args:
        limits: its bounds.
        config, server_state, app_state, _loop: uvicorn's.
    """

    def __init__(
        self,
        limits: RestLimits,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self.conn: _Bounded = _Bounded(limits)
        self._until_headers: asyncio.TimerHandle | None = None
        self._until_read: asyncio.TimerHandle | None = None
        self._refused = False
        self.free_since = 0.0  # of the loop's clock

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many that work."""
        super().connection_made(transport)
        self.free_since = self.loop.time()
        if not self._has_room():
            self._refuse(
                FacewrightError(
                    ErrorCode.OVERLOADED,
                    f"{self._limits.connections} connections are open, which is all that there may be",
                    "use one connection for many requests, or come back",
                    retry_after_s=1.0,
                )
            )
            self.transport.close()  # at once: a refused connection counts for the next ones, too
        else:
            self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        if self._refused or self.transport.is_closing():
            return
        # Not all at once: h11 looks at every header that it has before it counts their bytes.
        most = self._limits.header_bytes
        while len(data) > most and self.conn.their_state is h11.IDLE and not self._refused:
            super().data_received(data[:most])
            data = data[most:]
        if not self._refused:
            super().data_received(data)
        if self.conn.their_state is h11.IDLE and not self._refused:
            self._expect_headers()
        else:
            self._forget_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget_headers()
        self.resume_writing()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def send_400_response(self, msg: str) -> None:
        """Refuse malformed HTTP in the one JSON form; uvicorn's words for it are one sentence for all."""
        del msg
        status = self.conn.status
        if status == 431:
            words = (f"the headers have more than {self._limits.header_bytes} bytes", "send fewer")
        elif status == 501:
            words = ("the body has a transfer coding that is not known here", "send it in chunks, or whole")
        else:
            status, words = 400, _malformed(self.conn.reason)
        self._refuse(RequestError(status, *words))

    def shutdown(self) -> None:
        """As of uvicorn: end now, or after the answer."""
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def on_response_complete(self) -> None:
        """As of uvicorn."""
        self.free_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """An answer waits to be read."""
        super().pause_writing()
        if self._until_read is None:
            waiting = self.transport.get_write_buffer_size()
            self._until_read = self.loop.call_later(_LOOK_EVERY_S, self._look_at_reading, waiting)

    def resume_writing(self) -> None:
        """It was read."""
        super().resume_writing()
        if self._until_read is not None:
            self._until_read.cancel()
            self._until_read = None

    def _has_room(self) -> bool:
        """Whether this connection fits, if need be in the place of one that has been without a request for
        longest, or else of one whose body takes longest.

        So whoever holds connections open for nothing pushes out himself first, and never a request that is
        being answered.
        """
        if len(self.connections) <= self._limits.connections:
            return True
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        waiting = [other for other in others if other.waits and not other.transport.is_closing()]
        if waiting:
            min(waiting, key=lambda other: (not other.is_free, other.free_since)).transport.abort()
        return bool(waiting)

    @property
    def is_free(self) -> bool:
        """Whether it has no request."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def waits(self) -> bool:
        """Whether it has no whole request."""
        return self.is_free or self.cycle.more_body

    def _look_at_reading(self, waited: int) -> None:
        """End a connection whose answer is not read, or no faster than a byte now and then."""
        waits = self.transport.get_write_buffer_size()
        if waits > waited - self._limits.least_bytes_per_s * _LOOK_EVERY_S:
            self.transport.abort()
        else:
            self._until_read = self.loop.call_later(_LOOK_EVERY_S, self._look_at_reading, waits)

    def _expect_headers(self) -> None:
        if self._until_headers is None:
            self._until_headers = self.loop.call_later(self._limits.headers_s, self._headers_late)

    def _forget_headers(self) -> None:
        if self._until_headers is not None:
            self._until_headers.cancel()
            self._until_headers = None

    def _headers_late(self) -> None:
        self._refuse(
            RequestError(
                408, f"the headers were not there after {self._limits.headers_s:g} s", "send them at once"
            )
        )

    def _refuse(self, error: FacewrightError) -> None:
        """Answer without a request that could be answered, and end the connection.

        What is still sent is not heard, for a while, so that it does not reset the connection before the
        answer was read (see `UnreadBody`).
        """
        self._refused = True
        error.stage = error.stage or "gateway"  # as `error_response` does
        self._forget_headers()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error.to_json().encode()
            headers = [("Content-Type", JSON), ("Content-Length", str(len(body))), ("Connection", "close")]
            status = HTTPStatus(http_status(error))
            start = h11.Response(status_code=status, headers=headers, reason=status.phrase)
            for event in (start, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(self._limits.discard_s, self.transport.close)
        else:
            self.transport.close()


class _Bounded(h11.Connection):
    """A server's end that refuses headers that are long although they came at once, and bodies in crumbs.

    Attributes:
        status: that fits the last refusal.
        reason: of it, in h11's words.
    """

    def __init__(self, limits: RestLimits) -> None:
        super().__init__(h11.SERVER, limits.header_bytes)
        self._limits = limits
        self._chunks = self._bytes = 0
        self.status = 400
        self.reason = ""

    def next_event(self) -> Any:
        """As of h11.

        Raises:
            h11.RemoteProtocolError: also where headers are long or chunks are tiny.
        """
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.status, self.reason = error.error_status_hint, str(error)
            raise
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            head = len(event.target) + sum(len(name) + len(value) + 4 for name, value in event.headers)
            if head > self._limits.header_bytes:
                self.status = 431
                raise h11.RemoteProtocolError("long headers")
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > _FREE_CHUNKS + self._bytes / self._limits.least_chunk_bytes:
                self.status, self.reason = 400, "tiny chunks"
                raise h11.RemoteProtocolError("tiny chunks")
        return event
