"""HTTP/2 frames by hand, and conversations that no client means well with (RFC 9113, RFC 7541)."""

from __future__ import annotations

import select
import socket
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
(
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION,
) = range(10)
END_STREAM: Final = 1
END_HEADERS: Final = 4
_INITIAL_WINDOW: Final = 4  # of RFC 9113, section 6.5.2


def frame(
    kind: int, payload: bytes = b"", stream: int = 0, flags: int = 0, length: int | None = None
) -> bytes:
    """One frame; ``length`` where it is to lie about its payload (RFC 9113, section 4.1)."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def grpc_headers(method: str, *more: tuple[bytes, bytes]) -> bytes:
    """A header block for a gRPC call: literals without indexing (RFC 7541, section 6.2.2)."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode(errors="surrogateescape")),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    )
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)


def call(method: str, message: bytes, stream: int = 1, announced: int | None = None) -> bytes:
    """A gRPC call on a stream: headers, and its message with a length that may be another one."""
    body = b"\0" + struct.pack(">I", len(message) if announced is None else announced) + message
    pieces = [body[at : at + 16384] for at in range(0, len(body), 16384)]
    data = [frame(DATA, piece, stream) for piece in pieces]
    return frame(HEADERS, grpc_headers(method), stream, END_HEADERS) + b"".join(data)


def conversation(*frames: bytes) -> bytes:
    """What a client says from the beginning."""
    return b"".join((PREFACE, frame(SETTINGS), *frames))


class Peer:
    """A client that sends as much as the server's windows let it (RFC 9113, 5.2), and reads no answer.

    Args:
        connection: it says hello on it.

    Attributes:
        sent_on: bytes of data, by stream.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._heard = b""
        self._initial = 65535
        self._granted: Counter[int] = Counter({0: 65535})
        self._ended: set[int] = set()
        self.sent_on: Counter[int] = Counter()
        connection.sendall(conversation())
        self.listen(1.0)

    def sent(self, stream: int, size: int) -> None:
        """So much data was sent on a stream."""
        self.sent_on[stream] += size
        self._granted[0] -= size

    def room(self, stream: int) -> int:
        """How much data it may have sent now; none where the server has ended it."""
        if stream in self._ended:
            return 0
        return min(self._granted[0], self._initial + self._granted[stream] - self.sent_on[stream])

    def listen(self, patience_s: float) -> None:
        """Take in what the server says of windows, after it has said anything or time is over."""
        while select.select([self._connection], [], [], patience_s)[0]:
            piece = self._connection.recv(2**20)
            if not piece:
                raise ConnectionError("the server has closed the connection")
            self._heard += piece
            patience_s = 0.0
            while len(self._heard) >= 9:
                end = 9 + int.from_bytes(self._heard[:3], "big")
                if len(self._heard) < end:
                    break
                head, payload, self._heard = self._heard[:9], self._heard[9:end], self._heard[end:]
                self._hear(head[3], head[4], int.from_bytes(head[5:], "big"), payload)

    def _hear(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        acknowledges = flags & 1
        if kind == SETTINGS and not acknowledges:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW:
                    self._initial = value
            self._connection.sendall(frame(SETTINGS, flags=1))
        elif kind == PING and not acknowledges:
            self._connection.sendall(frame(PING, payload, flags=1))
        elif kind == WINDOW_UPDATE:
            self._granted[stream] += int.from_bytes(payload, "big")
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self._ended.add(stream)


def conversations(method: str) -> Mapping[str, bytes]:
    """Hostile ones, by what they are."""
    headers = grpc_headers(method)
    opened = frame(HEADERS, headers, 1, END_HEADERS)
    return {
        "a preface and zeros": PREFACE + bytes(4096),
        "settings of an odd length": conversation(frame(SETTINGS, bytes(7))),
        "an acknowledgement with content": conversation(frame(SETTINGS, bytes(6), flags=1)),
        "settings on a stream": conversation(frame(SETTINGS, bytes(6), stream=1)),
        "a window of 2^32 - 1": conversation(frame(SETTINGS, struct.pack(">HI", 4, 2**32 - 1))),
        "frames of 16 MB": conversation(frame(DATA, bytes(1000), 1, length=2**24 - 1)),
        "a method that is no text": conversation(call("/\udcff/\udcc3", b"")),
        "a window that grows by nothing": conversation(opened, frame(WINDOW_UPDATE, bytes(4), 1)),
        "a window that overflows": conversation(
            opened, *[frame(WINDOW_UPDATE, struct.pack(">I", 2**31 - 1), 1)] * 2
        ),
        "10,000 pings": conversation(*[frame(PING, bytes(8))] * 10_000),
        "10,000 settings": conversation(*[frame(SETTINGS)] * 10_000),
        "5,000 streams that are reset at once": conversation(
            *(
                frame(HEADERS, headers, stream, END_HEADERS) + frame(RST_STREAM, bytes(4), stream)
                for stream in range(1, 10_001, 2)
            )
        ),
        "5,000 streams at once": conversation(
            *(frame(HEADERS, headers, stream, END_HEADERS) for stream in range(1, 10_001, 2))
        ),
        "headers without an end": conversation(
            frame(HEADERS, headers, 1), *[frame(CONTINUATION, b"\0\1x\1y" * 200, 1)] * 5000
        ),
        "headers of a megabyte": conversation(
            frame(HEADERS, headers, 1),
            *[frame(CONTINUATION, b"\0\1x\x7f\x81\x7d" + b"y" * 16_000, 1)] * 64,
            frame(CONTINUATION, b"", 1, END_HEADERS),
        ),
        "a header of the table that is not there": conversation(frame(HEADERS, b"\xff\xff\xff\x7f", 1, 4)),
        "a number without an end": conversation(frame(HEADERS, b"\xff" * 1000, 1, 4)),
        "a table of 4 GB": conversation(frame(HEADERS, b"\x3f\xe1\xff\xff\xff\x0f" + headers, 1, 4)),
        "a header that repeats 4,000 times": conversation(
            frame(HEADERS, headers + b"\x40\1x\x7f\xa1\x1f" + b"y" * 4128 + b"\xbe" * 4000, 1, 4)
        ),
        "a body before headers": conversation(frame(DATA, bytes(100), 1)),
        "a stream of the server's": conversation(frame(HEADERS, headers, 2, END_HEADERS)),
        "a stream that depends on itself": conversation(opened, frame(PRIORITY, b"\0\0\0\1\xff", 1)),
        "a promise": conversation(frame(PUSH_PROMISE, bytes(4) + headers, 1, END_HEADERS)),
        "an unknown frame": conversation(frame(0xEE, bytes(1000), 1)),
        "padding longer than the frame": conversation(opened, frame(DATA, b"\xff" + bytes(9), 1, 8)),
        "a farewell and more": conversation(frame(GOAWAY, bytes(8)), call(method, b"late")),
        "a message of 2 GB that never comes": conversation(call(method, bytes(8000), announced=2**31 - 1)),
        "half a message": conversation(call(method, bytes(8000), announced=200_000)),
        "a message that claims to be packed": conversation(
            opened, frame(DATA, b"\1" + struct.pack(">I", 4) + b"\x1f\x8b\0\0", 1, END_STREAM)
        ),
        "two messages in one call": conversation(call(method, b"one"), frame(DATA, bytes(5) * 1000, 1)),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        "HTTP/1.1": b"POST /v2/models/avatar_twin/infer HTTP/1.1\r\nHost: x\r\n\r\n" + b"[" * 200_000,
    }


def _text(value: bytes) -> bytes:
    assert len(value) < 127
    return bytes((len(value),)) + value
