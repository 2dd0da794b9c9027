"""Whoever leaves, however, leaves nothing behind; a house that drains; a Triton that is away."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode
from tests.gateway.timed_house import SERVICE_S, TimedHouse, a_call, in_virtual_time, refusal_of
from tests.support.virtual_time import run_in_virtual_time


@in_virtual_time
async def test_a_house_that_drains_finishes_what_it_has_and_takes_nothing_new() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=3.0)
    calls, being_read = [house.call() for _ in range(3)], a_call()
    with house.admission.reserve(being_read, 10):
        await asyncio.sleep(0.1)
        house.admission.draining()
        error = await refusal_of(house.call())
        assert error.code == ErrorCode.UNAVAILABLE
        assert error.hint == "another server, or retry later"
        with pytest.raises(FacewrightError, match="stopping"), house.admission.reserve(a_call(), 10):
            pass
        calls.append(asyncio.create_task(house.answer(being_read)))
        await asyncio.sleep(0)
    await house.admission.empty()
    assert all(call.done() and call.exception() is None for call in calls)
    assert asyncio.get_running_loop().time() == pytest.approx(4 * SERVICE_S)
    await house.admission.empty()


@in_virtual_time
async def test_a_house_where_a_request_is_being_read_is_not_empty() -> None:
    house = TimedHouse()
    house.admission.draining()
    await house.admission.empty()
    house = TimedHouse()
    with house.admission.reserve(a_call(), 10):
        await house.call()
        house.admission.draining()
        empty = asyncio.create_task(house.admission.empty())
        await asyncio.sleep(1)
        assert not empty.done()
    await empty


@in_virtual_time
async def test_while_triton_is_being_replaced_the_door_knows_when_it_will_be_back() -> None:
    house = TimedHouse(at_once=2)
    inside = house.call()
    await asyncio.sleep(0.1)
    house.admission.hold_until(10.1)
    error = await refusal_of(house.call())
    assert error.code == ErrorCode.UNAVAILABLE
    assert error.retry_after_s == pytest.approx(8.2)
    assert error.message == "what serves is being replaced and is back in about 10.0 s"
    house.admission.hold_until(1.1)
    assert (await refusal_of(house.call(deadline=1.2))).code == ErrorCode.UNAVAILABLE
    await house.call()
    house.admission.hold_until(None)
    assert await house.call() == 0
    await inside


@in_virtual_time
async def test_who_waited_when_triton_went_away_is_not_told_to_come_back_before_it_does() -> None:
    house = TimedHouse(at_once=1)
    house.service_s["avatar"] = 15.0
    inside, waiting = house.call(), house.call()
    await asyncio.sleep(0.1)
    house.admission.hold_until(12.0)
    error = await refusal_of(waiting)
    assert asyncio.get_running_loop().time() == 2.0
    assert error.retry_after_s is not None
    assert 2.0 + error.retry_after_s > 12.0 - 2.0
    await inside


@in_virtual_time
async def test_a_failure_frees_the_slot_and_teaches_nothing() -> None:
    house = TimedHouse(at_once=1)

    async def fail() -> None:
        async with house.admission.admitted(a_call()):
            await asyncio.sleep(0.1)
            raise FacewrightError(ErrorCode.NO_FACE, "no face", "another photo")

    assert (await refusal_of(fail())).code == ErrorCode.NO_FACE
    assert house.admission.figures().service_s["avatar"] == SERVICE_S
    assert house.is_empty


@in_virtual_time
async def test_a_stream_that_its_caller_closes_frees_the_slot() -> None:
    house = TimedHouse(slow_at_once=1)

    async def answers() -> Any:
        async with house.admission.admitted(a_call(pipeline="refine")):
            while True:
                yield b"progress"

    stream = answers()
    assert await anext(stream) == b"progress"
    assert house.admission.figures().inside["refine"] == 1
    await stream.aclose()
    assert house.is_empty


@pytest.mark.parametrize("turns", range(4))
def test_a_caller_that_leaves_in_the_moment_of_its_turn_hands_the_slot_on(turns: int) -> None:
    """Cancelled before, while and after the slot is given to it, by so many turns of the loop."""

    async def scenario() -> None:
        house = TimedHouse(at_once=1)
        first, leaves, last = house.call(), house.call(), house.call()
        await asyncio.sleep(0)
        first.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        leaves.cancel()
        assert await last == 0
        assert leaves.cancelled()
        assert house.is_empty

    run_in_virtual_time(scenario())


@in_virtual_time
async def test_a_caller_that_leaves_in_the_moment_its_wait_is_over_leaves_once() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=1.0)
    house.service_s["avatar"] = 5.0
    first, second = house.call(), house.call()
    asyncio.get_running_loop().call_at(1.0, second.cancel)
    await asyncio.wait([second])
    await first
    assert house.is_empty


@in_virtual_time
async def test_a_request_that_was_answered_is_not_kept_by_the_clock_that_bounded_its_wait() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=1000.0)
    call = a_call()
    kept = weakref.ref(call)
    tasks = [house.call(), asyncio.create_task(house.answer(call))]
    del call
    await asyncio.gather(*tasks)
    tasks.clear()
    await asyncio.sleep(0)
    gc.collect()
    assert kept() is None
