"""Whose callers have left: told by the gateway to every stage, in a page of memory that they share.

Triton hands a cancellation on between the steps of an ensemble only, so that a request whose caller left
while it stood in line before a step would still be worked on. The page is a state and no message: a stage
that begins later, or was busy, reads the same, in ten microseconds. It is a file beside the socket of marks.
Where there is no gateway there is no page, and Triton's word is all there is.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from facewright.adapter.marks import VARIABLE

#: Of a request, as the gateway gives it: 32 hexadecimal digits. No other is ever on the page.
_ID_BYTES: Final = 32
#: The oldest departure makes room for the next one: many more than a gateway lets in at once.
_MOST: Final = 1024
_SUFFIX: Final = ".left"


class DeparturePage:
    """What the gateway writes. For one thread.

    Args:
        marks: path of the socket of marks; the page is beside it, for this user alone.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, marks: Path) -> None:
        self._path = _page_of(marks)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _MOST * _ID_BYTES)  # no room is told now, and not by SIGBUS
            self._page = mmap.mmap(descriptor, _MOST * _ID_BYTES)
        finally:
            os.close(descriptor)
        self._next = 0

    def write(self, request_id: str) -> None:
        """Nobody waits for this request any more."""
        identity = request_id.encode()
        if len(identity) != _ID_BYTES or self._page.closed:
            return
        start = self._next * _ID_BYTES
        self._page[start : start + _ID_BYTES] = identity
        self._next = (self._next + 1) % _MOST

    def close(self) -> None:
        """Remove the page; who reads it keeps what was written last."""
        self._page.close()
        self._path.unlink(missing_ok=True)


class Departures:
    """What a stage reads: the page of the gateway that it works for, if there is one."""

    def __init__(self) -> None:
        self._page: mmap.mmap | None = None
        marks = os.environ.get(VARIABLE, "")
        if marks:
            with suppress(OSError, ValueError), _page_of(Path(marks)).open("rb") as file:
                self._page = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def include(self, request_id: str) -> bool:
        """Whether a request's caller has left."""
        if self._page is None or len(request_id) != _ID_BYTES:
            return False
        return self._page.find(request_id.encode()) >= 0


def _page_of(marks: Path) -> Path:
    return marks.with_name(marks.name + _SUFFIX)
