"""Tritons that are not asked any more: they finish what they have while others serve."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final

from facewright.gateway.gateway import Gateway
from facewright.server.watched_triton import WatchedTriton

_LOOK_EVERY_S: Final = 0.25


class Retirement:
    """Stops Tritons in the background; at its end all of them have been.

    Args:
        gateway: its connections to them are closed after them.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stopping: list[threading.Thread] = []
        self._hurry = threading.Event()

    def add(self, triton: WatchedTriton, patience_s: float, calls_s: float = 0.0) -> None:
        """Stop a Triton.

        Args:
            triton: it.
            patience_s: seconds in which it may finish what it has in its hands, once it is told to stop; of
                them Triton itself takes ten (``--exit-timeout-secs``).
            calls_s: for as long it is not told while it has calls, unless this retirement ends.
        """

        def stop() -> None:
            until = time.monotonic() + calls_s
            while self._gateway.calls(triton.socket) and time.monotonic() < until:
                if self._hurry.wait(_LOOK_EVERY_S):
                    break
            triton.process.stop(patience_s)
            self._gateway.release(triton.socket)
            triton.close()

        self._stopping = [thread for thread in self._stopping if thread.is_alive()]
        thread = threading.Thread(target=stop, name="facewright-retirement", daemon=True)
        thread.start()
        self._stopping.append(thread)

    def __enter__(self) -> Retirement:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hurry.set()
        for thread in self._stopping:
            thread.join()
