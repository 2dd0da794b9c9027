"""asyncio in a time of its own: sleeping takes none, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


class _Skipping(selectors.SelectSelector):
    """Waits for nothing that happens outside: it moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everybody waits for somebody else")
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer. No threads, no sockets.

    Attributes:
        unhandled: what went wrong where nobody awaits it, in callbacks and forgotten tasks.
    """

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)
        self.unhandled: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.unhandled.append(context))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._skipping.now


def run_in_virtual_time(scenario: Coroutine[Any, Any, _Answer]) -> _Answer:
    """What the scenario gives; fails when nothing can happen any more, and for what nobody handled."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        answer = runner.run(scenario)
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        assert loop.unhandled == []
        return answer
