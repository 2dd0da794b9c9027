"""How much of bodies the door holds: requests before the house has them, answers until they are read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from facewright.core.errors import FacewrightError
from facewright.gateway.rest.waiting import while_awaited
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
        """Whether a caller's bodies may grow; what is alone may be as large as it is.

        Raises:
            FacewrightError: OVERLOADED.
        """
        own, all_of_them = self._by_caller[caller], self.held
        if (own and own + size > self._most // 2) or (all_of_them and all_of_them + size > self._most):
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
        """Bytes of a request, or of an answer that can be had again.

        Raises:
            FacewrightError: OVERLOADED.
        """
        self._memory.check(self._caller, size)
        self._add(size)

    def cover(self, size: int) -> None:
        """Bytes of an answer in all: they are there, so nothing is refused but what comes next."""
        self._add(max(size - self.size, 0))

    def _add(self, size: int) -> None:
        self._memory.count(self._caller, size)
        self.size += size


Making = Callable[[Share], AbstractAsyncContextManager[Response]]


class HeldResponse(Response):
    """An answer that counts until its client has read it; one that leaves ends the making and the sending.

    Args:
        make: makes it, told what it takes of the memory, and hears whether it was read.
        memory: in which it counts.
        caller: whose it is.
    """

    def __init__(self, make: Making, memory: BodyMemory, caller: str) -> None:
        self._make, self._memory, self._caller = make, memory, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI.

        Raises:
            FacewrightError: it could not be made.
        """
        left, written = False, 0

        async def receiving() -> Message:
            nonlocal left
            message = await receive()
            left = left or message["type"] == "http.disconnect"
            return message

        async def sending(message: Message) -> None:
            nonlocal written
            if message["type"] == "http.response.body":
                written += len(message.get("body", b""))
                share.cover(written)
                message = {**message, "more_body": True}
            await send(message)  # uvicorn waits here until what was sent before is nearly read

        async def answering() -> None:
            async with self._make(share) as answer:
                share.cover(int(answer.headers.get("content-length", 0)))
                await answer(scope, receive, sending)
                await send({"type": "http.response.body", "body": b"", "more_body": True})
                await asyncio.sleep(0)  # who waited there in vain is told here that the client left
                if left:
                    raise ClientDisconnect
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        with self._memory.holding(self._caller) as share, suppress(ClientDisconnect):
            await while_awaited(receiving, answering())
