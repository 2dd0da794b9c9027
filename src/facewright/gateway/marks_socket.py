"""Where stages' marks arrive: a Unix socket, read on the event loop."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from pathlib import Path
from typing import Final

from facewright.adapter.marks import MOST_BYTES
from facewright.core.errors import FacewrightError
from facewright.gateway.marks import Marks
from facewright_client.contract import ErrorCode

#: Of all Tritons together; each instance has one.
_MOST_CONNECTIONS: Final = 512
#: Of one process, before others have their turn.
_MOST_AT_ONCE: Final = 128
#: unix(7), SO_PEERCRED: process, user and group.
_CREDENTIALS: Final = struct.Struct("3i")
#: For how long marks may gather before they are read. A turn of the event loop costs more than ten marks, and
#: a process may leave hundreds unread.
_GATHER_S: Final = 0.02
#: Until connections are taken again, where no descriptor was left for one.
_REST_S: Final = 1.0


class MarksSocket:
    """Hears the processes of this user that connect; what they say goes to `Marks`.

    Args:
        path: of the socket, in a folder that nobody else can enter.
        marks: told everything, on the running event loop.

    Raises:
        FacewrightError: INTERNAL: the path cannot be listened at.
    """

    def __init__(self, path: Path, marks: Marks) -> None:
        self._marks, self._path = marks, path
        self._loop = asyncio.get_running_loop()
        self._connections: dict[int, tuple[int, socket.socket]] = {}
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.setblocking(False)
        try:
            self._listening.bind(str(path))
            path.chmod(0o600)
            self._listening.listen(_MOST_CONNECTIONS)
        except OSError as error:
            self._listening.close()
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"stages' marks cannot be heard at {path}: {error.strerror or error}",
                "set TMPDIR to a folder that you may write; a socket's whole name has 107 bytes at most",
            ) from error
        self._readable = select.epoll()
        self._readable.register(self._listening, select.EPOLLIN)
        self._gathering: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._readable, self._gather)

    def close(self) -> None:
        """Hear no more: on the event loop. Instances stay known to `Marks` as they were."""
        if self._gathering is not None:
            self._gathering.cancel()
        self._loop.remove_reader(self._readable)
        self._readable.close()
        self._listening.close()
        for _, connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._path.unlink(missing_ok=True)

    def hear(self) -> bool:
        """Read what has come, on the event loop, which does so itself every 20 ms as long as something comes.

        Returns:
            Whether anything had.
        """
        readable = self._readable.poll(0)
        for descriptor, _ in readable:
            if descriptor == self._listening.fileno():
                self._accept()
            elif descriptor in self._connections:  # else hung up in this very turn
                self._read(descriptor)
        return bool(readable)

    def _gather(self) -> None:
        self._loop.remove_reader(self._readable)
        self._gathering = self._loop.call_later(_GATHER_S, self._gathered)

    def _gathered(self) -> None:
        if self.hear():
            self._gathering = self._loop.call_later(_GATHER_S, self._gathered)
        else:  # sleep until something comes
            self._loop.add_reader(self._readable, self._gather)

    def _listen(self) -> None:
        if not self._readable.closed:
            self._readable.register(self._listening, select.EPOLLIN)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left: it would be tried again at once, and for ever
            self._readable.unregister(self._listening)
            self._loop.call_later(_REST_S, self._listen)
            return
        connection.setblocking(False)
        pid, user, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if pid <= 0 or user != os.geteuid() or len(self._connections) >= _MOST_CONNECTIONS:
            connection.close()
            return
        earlier = [descriptor for descriptor, (other, _) in self._connections.items() if other == pid]
        for descriptor in earlier:  # its number was given to a new process before its end was read
            self._hang_up(descriptor)
        self._connections[connection.fileno()] = pid, connection
        self._marks.connected(pid)
        self._readable.register(connection, select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        pid, connection = self._connections[descriptor]
        for _ in range(_MOST_AT_ONCE):
            try:
                message = connection.recv(MOST_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._hang_up(descriptor)
                return
            self._marks.said(pid, message)

    def _hang_up(self, descriptor: int) -> None:
        pid, connection = self._connections.pop(descriptor)
        self._readable.unregister(connection)
        connection.close()
        self._marks.disconnected(pid)
