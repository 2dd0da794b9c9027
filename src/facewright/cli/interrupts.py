"""Signals that end a command: in order and with a word, whichever it is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: What a command says that a signal ended.
_WORDS: Final = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "ended by SIGTERM",
    signal.SIGHUP: "ended by SIGHUP",
}


class Ending:
    """The signal that ended a command."""

    number: signal.Signals = signal.SIGINT

    @property
    def word(self) -> str:
        """What to say of it."""
        return _WORDS[self.number]

    @property
    def status(self) -> int:
        """The exit status, as shells have it."""
        return 128 + self.number


@contextmanager
def ending_in_order() -> Iterator[Ending]:
    """Around a command: SIGTERM and SIGHUP do what Ctrl-C does, which stops servers and requests.

    Where Ctrl-C is ignored, as by a shell's background jobs, they raise KeyboardInterrupt themselves.
    """
    ending = Ending()

    def end(number: int, frame: FrameType | None) -> None:
        ending.number = signal.Signals(number)
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    with _handled((signal.SIGTERM, signal.SIGHUP), end):
        yield ending


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Around imports: libraries in C turn a KeyboardInterrupt in their midst into errors of their own.

    Nothing that would have to be cleaned up may begin inside.
    """
    with _handled(tuple(_WORDS), _leave):
        yield


@contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: object) -> Iterator[None]:
    """Signals handled for a while, but for those that are ignored (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    handled = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in handled:
        signal.signal(number, handler)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old)


def _leave(number: int, _frame: FrameType | None) -> None:
    try:
        os.write(2, f"{_WORDS[signal.Signals(number)]}\n".encode())
    finally:
        os._exit(128 + number)
