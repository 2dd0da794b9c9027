"""How much of bodies the door holds: requests before the house has them, answers until they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode


class BodyMemory:
    """A budget, of which no single caller has more than half.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_caller: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Bytes."""
        return self._by_caller.total()

    @contextmanager
    def holding(self, caller: str) -> Iterator[Share]:
        """A share for one body, given back at the end."""
        share = Share(self, caller)
        try:
            yield share
        finally:
            self.count(caller, -share.size)

    def count(self, caller: str, size: int) -> None:
        """Note that a caller's bodies grew, or shrank."""
        self._by_caller[caller] += size
        if not self._by_caller[caller]:
            del self._by_caller[caller]

    def check(self, caller: str, size: int) -> None:
        """Whether a caller's bodies may grow.

        Raises:
            FacewrightError: OVERLOADED.
        """
        if self._by_caller[caller] + size > self._most // 2 or self.held + size > self._most:
            raise FacewrightError(
                ErrorCode.OVERLOADED,
                f"{self.held / 2**20:.0f} MiB of photos and answers are on their way",
                "read your answers, and send fewer photos at once",
                retry_after_s=1.0,
            )


class Share:
    """What one body has of a `BodyMemory`.

    Attributes:
        size: bytes.
    """

    def __init__(self, memory: BodyMemory, caller: str) -> None:
        self._memory = memory
        self._caller = caller
        self.size = 0

    def take(self, size: int) -> None:
        """Bytes of a request.

        Raises:
            FacewrightError: OVERLOADED.
        """
        self._memory.check(self._caller, size)
        self.add(size)

    def add(self, size: int) -> None:
        """Bytes of an answer: they are there, so nothing is refused but what comes next."""
        self._memory.count(self._caller, size)
        self.size += size


class HeldResponse(Response):
    """An answer that counts until its client has read it.

    Args:
        answer: itself, whose last message has no bytes: it is sent when those before were read.
        memory: in which it counts.
        caller: whose it is.
        sent: called when all of it was.
    """

    def __init__(
        self, answer: ASGIApp, memory: BodyMemory, caller: str, sent: Callable[[], None] | None = None
    ) -> None:
        self._answer = answer
        self._memory = memory
        self._caller = caller
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        with self._memory.holding(self._caller) as share:

            async def sending(message: Message) -> None:
                share.add(len(message.get("body", b"")))
                await send(message)  # uvicorn waits here until what was sent before is nearly read

            await self._answer(scope, receive, sending)
        if self._sent is not None:
            self._sent()
