"""Whose messages are being read. gRPC tells how long a message is to none but itself, and holds what has come
of it: so many are read at a time, and the others stay with their senders.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.gateway.photo_budget import PhotoBudget
from facewright_client.contract import ErrorCode

#: A message has as long to arrive, whoever waits: for 32 MiB 50 Mbit/s.
_UNDISTURBED_S: Final = 5.0
_LOOKS_AGAIN_S: Final = 1.0
_COME_BACK_S: Final = 1.0


@dataclass(eq=False)
class _Reader:
    """Who has a turn.

    Attributes:
        caller: its name.
        since: the event loop's time.
        ends: its turn's end; never where it may take as long as it likes.
        gives_way: whether its turn is ended for another's sake.
    """

    caller: str
    since: float
    ends: asyncio.Timeout
    gives_way: bool = False


class ReadingTurns:
    """Turns, shared by whoever is there as `PhotoBudget` shares bytes: one caller that sends nothing on has
    half of them at most, and there is one for the next caller always. On one event loop.

    Args:
        at_once: how many there are.
        patience_s: how long a caller waits for one.
        arrives_within_s: the longest turn, which is cut short where others wait; None: as long as it takes.
    """

    def __init__(self, at_once: int, patience_s: float, arrives_within_s: float | None = None) -> None:
        self._taken = PhotoBudget(at_once)
        self._patience_s = patience_s
        self._arrives_within_s = arrives_within_s
        self._readers: dict[_Reader, None] = {}  # who has read the longest is first
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, caller: str) -> AsyncIterator[None]:
        """A turn for as long as it is entered.

        Raises:
            FacewrightError: OVERLOADED: none came in time, for this caller holds all that it may, or others
                waited for this one to end; DEADLINE_EXCEEDED: it took too long.
        """
        if self._taken.has_room(caller, 1):
            self._taken.take(caller, 1)
        else:
            await self._wait(caller)
        reader = _Reader(caller, asyncio.get_running_loop().time(), asyncio.timeout(self._arrives_within_s))
        self._readers[reader] = None
        try:
            async with reader.ends:
                yield
        except TimeoutError:
            if not reader.ends.expired():
                raise
            raise _given_way() if reader.gives_way else _late(self._arrives_within_s or 0.0) from None
        finally:
            del self._readers[reader]
            self._leave(caller)

    async def _wait(self, caller: str) -> None:
        """Until whoever leaves has taken a turn for this caller; its first comer is first."""
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        line = self._waiting.setdefault(caller, deque())
        line.append(came)
        until = loop.time() + self._patience_s
        try:
            while not came.done() and loop.time() < until:
                moment = min(self._make_way(loop.time()), until)
                await asyncio.wait((came,), timeout=moment - loop.time())
        except BaseException:
            if came.done():  # it came just now
                self._leave(caller)
            raise
        finally:
            if not came.done():
                line.remove(came)
        if not came.done():
            raise _none_came()

    def _make_way(self, now: float) -> float:
        """End a turn that has lasted long enough, of whoever has most the oldest; says when to look again."""
        turns_end = self._arrives_within_s is not None
        if not turns_end or not self._readers or any(reader.gives_way for reader in self._readers):
            return now + _LOOKS_AGAIN_S  # or as soon as a turn comes
        turns = Counter(reader.caller for reader in self._readers)
        reader = max(self._readers, key=lambda reader: (turns[reader.caller], -reader.since))
        if now < reader.since + _UNDISTURBED_S:
            return reader.since + _UNDISTURBED_S
        reader.gives_way = True
        reader.ends.reschedule(now)
        return now + _LOOKS_AGAIN_S

    def _leave(self, caller: str) -> None:
        self._taken.take(caller, -1)
        for other, line in tuple(self._waiting.items()):
            while line and self._taken.has_room(other, 1):
                self._taken.take(other, 1)
                line.popleft().set_result(None)
            if not line:
                del self._waiting[other]


def _none_came() -> FacewrightError:
    return FacewrightError(
        ErrorCode.OVERLOADED,
        "as many messages of this caller are being read or answered as may be",
        "send whole messages at once, or fewer at a time",
        retry_after_s=_COME_BACK_S,
    )


def _given_way() -> FacewrightError:
    return FacewrightError(
        ErrorCode.OVERLOADED,
        f"the request had not arrived after {_UNDISTURBED_S:.0f} s, and others waited",
        "send it at once, or a smaller photo",
        retry_after_s=_COME_BACK_S,
    )


def _late(after_s: float) -> FacewrightError:
    return FacewrightError(
        ErrorCode.DEADLINE_EXCEEDED,
        f"the request did not arrive within {after_s:.0f} s",
        "send it at once",
    )
