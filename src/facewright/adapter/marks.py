"""What a stage says while it works: which requests are in its process's hands, over a Unix socket.

A mark is a state and no event: it names every request that the process holds now, so that each mark puts
right whatever became of the one before. The socket is of packets in order (unix(7), ``SOCK_SEQPACKET``), and
each process has a connection of its own: it displaces nobody else's marks (the senders of a datagram socket
share one queue, which holds ten in a container), the kernel says which process it is, and when it has ended.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

#: Names the socket that listens; unset: nobody does.
VARIABLE: Final = "FACEWRIGHT_MARKS"
#: Of one mark: more than the requests of a GPU's largest batch need.
MOST_BYTES: Final = 8 << 10
#: Stands for a request without an id, or with one that no mark carries.
NAMELESS: Final = "-"
#: Seconds between two marks of a long execution that go without saying anything new.
STILL_HERE_EVERY_S: Final = 1.0

_VERSION: Final = "1"
#: What no separator is part of. Callers choose ids: the length is bounded, too.
_NAME: Final = re.compile("[!-~]{1,128}")
_MARK: Final = re.compile(
    f"{_VERSION} {_NAME.pattern} {_NAME.pattern} [0-9]{{1,18}}(?: {_NAME.pattern})*".encode()
)
_CONNECT_WITHIN_S: Final = 1.0


@dataclass(frozen=True)
class Mark:
    """What an instance of a stage is at.

    Attributes:
        stage: its model's name.
        instance: what Triton calls it, as in ``Stub process 'bake_texture_0_1' is not healthy``.
        number: of its execution, growing; 0 when it has loaded and executed nothing yet.
        request_ids: that it holds; none: the execution has ended.
    """

    stage: str
    instance: str
    number: int
    request_ids: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        """ASCII: version, stage, instance, number, ids, with a space between each two."""
        fields = (_VERSION, self.stage, self.instance, str(self.number), *self.request_ids)
        return " ".join(fields).encode("ascii")

    @classmethod
    def decoded(cls, message: bytes) -> Mark:
        """A mark of `encoded`.

        Raises:
            ValueError: it is none.
        """
        if len(message) > MOST_BYTES or not _MARK.fullmatch(message):
            raise ValueError(f"{len(message)} bytes that are no mark of version {_VERSION}")
        _, stage, instance, number, *request_ids = message.decode("ascii").split(" ")
        return cls(stage, instance, int(number), tuple(request_ids))


def marked_id(request_id: str) -> str:
    """A request's id as marks carry it: of at most 128 printable ASCII characters without a space; any other
    is `NAMELESS`."""
    return request_id if _NAME.fullmatch(request_id) else NAMELESS


class ExecutionMarks:
    """Marks the executions of this process's stage. Never waits, never fails.

    Made when the stage has loaded, which is its first mark.

    Args:
        stage: its model's name.
        instance: what Triton calls this process.
    """

    def __init__(self, stage: str, instance: str) -> None:
        self._socket = _connected(os.environ.get(VARIABLE, ""))
        self._stage, self._instance, self._number = stage, instance, 0
        self._held = b""
        self._marked = 0.0
        self._send(self._mark())

    @contextmanager
    def holding(self, request_ids: Sequence[str]) -> Iterator[None]:
        """One execution: within it the process holds these requests, those of a batch together."""
        if self._socket is None:
            yield
            return
        self._number += 1
        self._held = self._mark(tuple(map(marked_id, request_ids)))
        self._send(self._held)
        try:
            yield
        finally:
            self._held = b""
            self._send(self._mark())

    def still_here(self) -> None:
        """Say once more what is held, if that is a second ago: called by what a long execution calls between
        its steps."""
        if self._held and time.monotonic() - self._marked >= STILL_HERE_EVERY_S:
            self._send(self._held)

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _mark(self, request_ids: tuple[str, ...] = ()) -> bytes:
        return Mark(self._stage, self._instance, self._number, request_ids).encoded()

    def _send(self, mark: bytes) -> None:
        if self._socket is None:
            return
        self._marked = time.monotonic()
        try:
            self._socket.send(mark, socket.MSG_NOSIGNAL)
        except BlockingIOError:  # hundreds wait to be read: the next mark says what holds then
            return
        except OSError:  # who listened has ended, and with it whom this stage works for
            self.close()


def _connected(path: str) -> socket.socket | None:
    """A connection to who listens at a path; None where nobody does."""
    if not path:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(_CONNECT_WITHIN_S)
        connection.connect(path)
        connection.setblocking(False)
    except OSError:
        with suppress(OSError):
            connection.close()
        return None
    return connection
