"""Memory for requests is bounded, shared, and reserved before it is filled."""

from __future__ import annotations

import asyncio

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Caller
from facewright.gateway.refusals import Refusal
from facewright_client.contract import ErrorCode
from tests.gateway.timed_house import TimedHouse, a_call, in_virtual_time, refusal_of


@in_virtual_time
async def test_memory_for_requests_is_bounded_and_one_caller_has_half_of_it() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=3.0, photo_budget_bytes=1000)
    calls = [house.call(size=200) for _ in range(4)]
    error = await refusal_of(calls[3])
    assert error.code == ErrorCode.OVERLOADED
    assert error.retry_after_s is not None
    assert error.message == "200 bytes are more than this caller may hold now; 600 of 1,000 bytes are taken"
    other = house.call(Caller("other"), size=350)
    await asyncio.gather(*calls[:3], other)
    assert house.is_empty
    await house.call(size=1000)


@in_virtual_time
async def test_callers_that_fill_the_memory_leave_room_for_another_one() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=100.0, photo_budget_bytes=1000)
    floods = [house.call(Caller(f"flooder {number % 4}"), size=20) for number in range(200)]
    await asyncio.sleep(0)
    assert house.admission.figures().held_bytes >= 780
    await house.call(Caller("lone"), size=150)
    assert house.admission.figures().refused[Refusal.MEMORY] >= 100
    await asyncio.gather(*floods, return_exceptions=True)
    assert house.is_empty


@in_virtual_time
async def test_a_request_that_would_never_fit_is_told_so() -> None:
    error = await refusal_of(TimedHouse(photo_budget_bytes=1000).call(size=1001))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert error.retry_after_s is None


@in_virtual_time
async def test_room_is_reserved_before_a_body_is_read_and_taken_over_by_its_call() -> None:
    house = TimedHouse(at_once=1, photo_budget_bytes=1000)
    call = a_call(size=510)
    with house.admission.reserve(call, 400) as room:
        assert house.admission.figures().held_bytes == 400
        room.resize(500)
        with pytest.raises(FacewrightError, match="1,200 bytes"):
            room.resize(1200)
        assert (await refusal_of(house.call(size=501))).code == ErrorCode.OVERLOADED
        answer = asyncio.create_task(house.answer(call))
        await asyncio.sleep(0.1)
        assert house.admission.figures().held_bytes == 510
    assert house.admission.figures().held_bytes == 510
    await answer
    with pytest.raises(ConnectionError), house.admission.reserve(a_call(), 300):
        raise ConnectionError("the caller left while it was read")
    assert house.is_empty


@in_virtual_time
async def test_what_will_be_refused_is_not_even_read() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=0.3)
    busy = house.call()
    await asyncio.sleep(0)
    with (
        pytest.raises(FacewrightError, match=r"might wait 0\.8 s"),
        house.admission.reserve(a_call(), 10),
    ):
        pass
    await busy
    assert house.is_empty
