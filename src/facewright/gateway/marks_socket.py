"""Where stages' marks arrive: a Unix socket, read on the event loop."""

from __future__ import annotations

import asyncio
import os
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
_MOST_AT_ONCE: Final = 64
#: unix(7), SO_PEERCRED: process, user and group.
_CREDENTIALS: Final = struct.Struct("3i")
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
        self._connections: dict[int, socket.socket] = {}
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
        self._listen()

    def close(self) -> None:
        """Hear no more: on the event loop. Instances stay known to `Marks` as they were."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for connection in self._connections.values():
            self._loop.remove_reader(connection)
            connection.close()
        self._connections.clear()
        self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left: it would be tried again at once, and for ever
            self._loop.remove_reader(self._listening)
            self._loop.call_later(_REST_S, self._listen)
            return
        connection.setblocking(False)
        pid, user, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        if pid <= 0 or user != os.geteuid() or len(self._connections) >= _MOST_CONNECTIONS:
            connection.close()
            return
        if pid in self._connections:  # its number was given to a new process before its end was read
            self._hang_up(pid)
        self._connections[pid] = connection
        self._marks.connected(pid)
        self._loop.add_reader(connection, self._read, pid)

    def _read(self, pid: int) -> None:
        connection = self._connections[pid]
        for _ in range(_MOST_AT_ONCE):
            try:
                message = connection.recv(MOST_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._hang_up(pid)
                return
            self._marks.said(pid, message)

    def _hang_up(self, pid: int) -> None:
        connection = self._connections.pop(pid)
        self._loop.remove_reader(connection)
        connection.close()
        self._marks.disconnected(pid)
