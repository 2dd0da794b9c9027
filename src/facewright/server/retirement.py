"""Tritons that are not asked any more: they finish what they have while others serve."""

from __future__ import annotations

import threading
from types import TracebackType

from facewright.gateway.gateway import Gateway
from facewright.server.watched_triton import WatchedTriton


class Retirement:
    """Stops Tritons in the background; at its end all of them have been.

    Args:
        gateway: its connections to them are closed after them.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stopping: list[threading.Thread] = []

    def add(self, triton: WatchedTriton, patience_s: float) -> None:
        """Stop a Triton; what it has in its hands it may finish within ``patience_s``."""

        def stop() -> None:
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
        for thread in self._stopping:
            thread.join()
