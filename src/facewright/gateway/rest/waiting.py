"""Work that ends when nobody waits for it any more, and who waits for work that goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

T = TypeVar("T")


async def while_awaited(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is cancelled where the client leaves; its body must have been read.

    Raises:
        ClientDisconnect: it left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Waiters:
    """Who waits for jobs: so many requests, of which no single caller has more than half.

    Each holds a connection, which costs its caller nothing: they could hold all that there may be.

    Args:
        most: requests.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_caller: Counter[str] = Counter()

    def has_room(self, caller: str) -> bool:
        """Whether one more of a caller's requests may wait."""
        return self._by_caller[caller] < self._most // 2 and self._by_caller.total() < self._most

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """For as long as a caller's request waits.

        Raises:
            FacewrightError: OVERLOADED.
        """
        if not self.has_room(caller):
            raise FacewrightError(
                ErrorCode.OVERLOADED,
                f"{self._by_caller[caller]} requests of this caller wait for jobs, as many as may",
                "wait once for each job, or ask for it later",
                retry_after_s=1.0,
            )
        self._by_caller[caller] += 1
        try:
            yield
        finally:
            self._by_caller[caller] -= 1
            if not self._by_caller[caller]:
                del self._by_caller[caller]
