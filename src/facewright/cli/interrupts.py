"""Ctrl-C before any work was begun: the process ends there and then."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: The exit status of a program that Ctrl-C ended.
INTERRUPTED = 130


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Around imports: libraries in C turn a KeyboardInterrupt in their midst into errors of their own.

    Nothing that would have to be cleaned up may begin inside.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
