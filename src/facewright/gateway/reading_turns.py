"""Whose messages are being read. gRPC tells how long a message is to none but itself, and holds what has come
of it: so many are read at a time, and the others stay with their senders.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from facewright.core.errors import FacewrightError
from facewright.gateway.photo_budget import PhotoBudget
from facewright_client.contract import ErrorCode

_COME_BACK_S = 1.0


class ReadingTurns:
    """Turns, shared by whoever is there as `PhotoBudget` shares bytes: one caller that sends nothing on has
    half of them at most, and there is one for the next caller always. On one event loop.

    Args:
        at_once: how many there are.
        patience_s: how long a caller waits for one.
    """

    def __init__(self, at_once: int, patience_s: float) -> None:
        self._taken = PhotoBudget(at_once)
        self._patience_s = patience_s
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """A turn for as long as it is entered.

        Raises:
            FacewrightError: OVERLOADED: none came in time, for this caller holds all that it may.
        """
        if self._taken.has_room(caller, 1):
            self._taken.take(caller, 1)
        else:
            await self._wait(caller)
        try:
            yield
        finally:
            self._leave(caller)

    async def _wait(self, caller: str) -> None:
        """Until whoever leaves has taken a turn for this caller; its first comer is first."""
        came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(caller, deque())
        line.append(came)
        try:
            async with asyncio.timeout(self._patience_s):
                await came
        except BaseException as ended:
            if not came.cancelled():  # it came just now
                self._leave(caller)
            elif came in line:
                line.remove(came)
            if isinstance(ended, TimeoutError):
                raise FacewrightError(
                    ErrorCode.OVERLOADED,
                    "as many messages of this caller are being read or answered as may be",
                    "send whole messages at once, or fewer at a time",
                    retry_after_s=_COME_BACK_S,
                ) from None
            raise

    def _leave(self, caller: str) -> None:
        self._taken.take(caller, -1)
        for other, line in tuple(self._waiting.items()):
            while line and self._taken.has_room(other, 1):
                came = line.popleft()
                if not came.done():  # else whoever waited has gone
                    self._taken.take(other, 1)
                    came.set_result(None)
            if not line:
                del self._waiting[other]
