"""Turns at reading: how many, whose, and what becomes of them when their callers leave."""

from __future__ import annotations

import asyncio

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.reading_turns import ReadingTurns
from facewright_client.contract import ErrorCode
from tests.support.virtual_time import run_in_virtual_time


class _Reading:
    """Callers that read until they are told to stop.

    Attributes:
        readers: whose turn it is, in the order in which they came to it.
    """

    def __init__(self, turns: ReadingTurns) -> None:
        self._turns = turns
        self._over: dict[str, asyncio.Event] = {}
        self.readers: list[str] = []

    def comes(self, name: str) -> asyncio.Task[None]:
        """A message of the caller whom the first letter names."""
        self._over[name] = asyncio.Event()

        async def reads() -> None:
            async with self._turns.turn(name[0]):
                self.readers.append(name)
                try:
                    await self._over[name].wait()
                finally:
                    self.readers.remove(name)

        return asyncio.create_task(reads())

    async def ends(self, name: str) -> None:
        """It has been read."""
        self._over[name].set()
        await asyncio.sleep(0.01)


def test_one_caller_has_half_and_the_next_finds_a_turn() -> None:
    async def scene() -> None:
        reading = _Reading(ReadingTurns(4, patience_s=30))
        tasks = [reading.comes(name) for name in ("a1", "a2", "a3", "b1", "b2")]
        await asyncio.sleep(0.01)
        assert reading.readers == ["a1", "a2", "b1"]
        await reading.ends("a1")
        assert reading.readers == ["a2", "b1", "a3"], "the first who waits and may have one"
        for task in tasks:
            task.cancel()

    run_in_virtual_time(scene())


def test_who_waits_and_leaves_takes_no_turn() -> None:
    async def scene() -> None:
        reading = _Reading(ReadingTurns(2, patience_s=30))
        first, second, third = (reading.comes(name) for name in ("a1", "a2", "a3"))
        await asyncio.sleep(0.01)
        second.cancel()
        await reading.ends("a1")
        assert reading.readers == ["a3"]
        await first
        await reading.ends("a3")
        await third
        reading.comes("a4")
        await asyncio.sleep(0.01)
        assert reading.readers == ["a4"], "no turn was lost"

    run_in_virtual_time(scene())


def test_who_leaves_at_the_moment_of_its_turn_gives_it_on() -> None:
    async def scene() -> None:
        turns = ReadingTurns(2, patience_s=30)
        reading = _Reading(turns)
        reading.comes("a1")
        second, _ = reading.comes("a2"), reading.comes("a3")
        await asyncio.sleep(0.01)
        reading._over["a1"].set()
        await asyncio.sleep(0)  # a1 has left and a2 has been called, but not run
        second.cancel()
        await asyncio.sleep(0.01)
        assert reading.readers == ["a3"]

    run_in_virtual_time(scene())


def test_who_comes_while_a_turn_is_being_given_on_waits_for_it() -> None:
    async def scene() -> None:
        reading = _Reading(ReadingTurns(2, patience_s=30, arrives_within_s=30))
        for name in ("a1", "a2"):
            reading.comes(name)
        await asyncio.sleep(0.01)
        reading._over["a1"].set()
        while reading.readers:
            await asyncio.sleep(0)
        reading.comes("a3")  # a2 has its turn by now, and has not run
        await asyncio.sleep(0.01)
        assert reading.readers == ["a2"]
        await reading.ends("a2")
        assert reading.readers == ["a3"]

    run_in_virtual_time(scene())


def test_patience_ends() -> None:
    async def scene() -> None:
        reading = _Reading(ReadingTurns(2, patience_s=5))
        reading.comes("a1")
        with pytest.raises(FacewrightError) as late:
            await reading.comes("a2")
        assert late.value.code == ErrorCode.OVERLOADED
        assert late.value.retry_after_s
        await reading.ends("a1")
        reading.comes("a3")
        await asyncio.sleep(0.01)
        assert reading.readers == ["a3"]

    run_in_virtual_time(scene())


def test_slow_ones_give_way_where_others_wait_and_nowhere_else() -> None:
    """Of whoever has most turns the oldest, after its five seconds; one for each who waits."""

    async def scene() -> None:
        reading = _Reading(ReadingTurns(4, patience_s=30, arrives_within_s=20))
        slow = {name: reading.comes(name) for name in ("b1", "a1", "a2", "c1")}
        await asyncio.sleep(1)
        waiting = [reading.comes(name) for name in ("d1", "e1")]
        await asyncio.sleep(3.9)
        assert reading.readers == ["b1", "a1", "a2", "c1"]
        await asyncio.sleep(0.2)
        assert reading.readers == ["b1", "a2", "c1", "d1"]
        with pytest.raises(FacewrightError, match="had not arrived after 5 s, and others waited") as way:
            await slow["a1"]
        assert way.value.code == ErrorCode.OVERLOADED
        await asyncio.sleep(1.1)
        assert reading.readers == ["a2", "c1", "d1", "e1"]
        await asyncio.sleep(12)
        assert reading.readers == ["a2", "c1", "d1", "e1"], "nobody waits any more"
        await asyncio.sleep(20)
        with pytest.raises(FacewrightError, match="did not arrive within 20 s") as late:
            await slow["a2"]
        assert late.value.code == ErrorCode.DEADLINE_EXCEEDED
        assert all(task.done() for task in waiting)

    run_in_virtual_time(scene())
