"""Who is let in, in which order, and who is refused with what words."""

from __future__ import annotations

import asyncio

import pytest

from facewright.gateway.admission import AdmissionSettings
from facewright.gateway.call import Caller
from facewright.gateway.refusals import Refusal
from facewright_client.contract import ErrorCode
from tests.gateway.timed_house import SERVICE_S, TimedHouse, in_virtual_time, refusal_of


@in_virtual_time
async def test_as_many_as_may_are_inside_and_the_others_follow_in_order() -> None:
    house = TimedHouse(at_once=2)
    waited = await asyncio.gather(*(house.call() for _ in range(6)))
    assert waited == pytest.approx([0, 0, 0.4, 0.4, 0.8, 0.8])
    assert house.is_empty


@in_virtual_time
async def test_who_would_wait_too_long_is_refused_at_once_with_a_time_to_come_back() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=2.0)
    calls = [house.call() for _ in range(6)]
    *_, error = [await refusal_of(call) for call in calls[3:]]
    assert asyncio.get_running_loop().time() == 0
    assert error.code == ErrorCode.OVERLOADED
    assert error.message == "the call might wait 2.3 s, and nobody waits longer than 2.0 s here"
    assert error.retry_after_s is not None
    assert 0.5 < error.retry_after_s < 2
    assert await asyncio.gather(*calls[:3]) == pytest.approx([0, 0.4, 0.8])
    assert house.admission.figures().refused[Refusal.WAIT] == 3
    assert house.is_empty


@in_virtual_time
async def test_whoever_comes_back_when_told_to_is_let_in() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=2.0)
    calls = [house.call() for _ in range(6)]
    for call in calls[3:]:
        error = await refusal_of(call)
        assert error.retry_after_s is not None
        asyncio.get_running_loop().call_later(error.retry_after_s, lambda: calls.append(house.call()))
    await asyncio.sleep(10)
    assert len(calls) == 9
    await asyncio.gather(*calls[:3], *calls[6:])


@in_virtual_time
async def test_a_wait_that_was_underestimated_ends_when_it_is_over() -> None:
    house = TimedHouse(at_once=1, longest_wait_s=1.0)
    house.service_s["avatar"] = 5.0
    first, second = house.call(), house.call()
    error = await refusal_of(second)
    assert asyncio.get_running_loop().time() == 1.0
    assert error.code == ErrorCode.OVERLOADED
    assert error.message == "the call's turn did not come within 1.0 s, and nobody waits longer here"
    assert house.admission.figures().refused[Refusal.OUTWAITED] == 1
    await first
    assert house.is_empty


@in_virtual_time
async def test_who_cannot_be_answered_before_its_deadline_is_refused_while_others_are_let_wait() -> None:
    house = TimedHouse(at_once=1)
    first, hasty, patient = house.call(), house.call(deadline=0.7), house.call(deadline=1.3)
    error = await refusal_of(hasty)
    assert asyncio.get_running_loop().time() == 0
    assert error.code == ErrorCode.OVERLOADED
    assert error.message == "the call might wait 0.8 s, and its deadline allows 0.3 s"
    assert await patient == pytest.approx(0.4)
    await first


@in_virtual_time
async def test_a_short_deadline_is_let_try_where_it_need_not_wait() -> None:
    """The mean says 0.4 s; this photo may be quicker, and nobody waits because of it."""
    house = TimedHouse(at_once=2)
    for _ in range(5):
        await house.call()
    now = asyncio.get_running_loop().time()
    assert await house.call(deadline=now + 0.3) == 0
    busy = [house.call(), house.call()]
    await asyncio.sleep(0.1)
    error = await refusal_of(house.call(deadline=now + 0.8))
    assert error.retry_after_s is not None
    await asyncio.sleep(error.retry_after_s)
    now = asyncio.get_running_loop().time()
    assert await house.call(deadline=now + 0.3) == 0
    await asyncio.gather(*busy)


@in_virtual_time
async def test_a_deadline_that_has_passed_is_said_to_have_passed() -> None:
    await asyncio.sleep(1)
    error = await refusal_of(TimedHouse().call(deadline=0.5))
    assert error.code == ErrorCode.DEADLINE_EXCEEDED
    assert error.retry_after_s is None


@in_virtual_time
async def test_a_caller_that_floods_keeps_nobody_else_waiting_for_more_than_a_turn() -> None:
    house = TimedHouse(at_once=2)
    flood = [house.call(Caller("flooder"), size=1000) for _ in range(200)]
    await asyncio.sleep(0.1)
    lone = house.call(Caller("lone"))
    assert await lone <= 2 * SERVICE_S
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    answered = [outcome for outcome in outcomes if isinstance(outcome, float)]
    assert 6 <= len(answered) <= 8
    assert house.is_empty


@in_virtual_time
async def test_a_caller_has_no_more_calls_here_than_it_may() -> None:
    house, limited = TimedHouse(at_once=1), Caller("limited", most_at_once=2)
    first, second, third = (house.call(limited) for _ in range(3))
    error = await refusal_of(third)
    assert error.code == ErrorCode.OVERLOADED
    assert error.message == "this caller has 2 calls here, as many as it may have at once"
    assert error.retry_after_s == SERVICE_S
    other = house.call(Caller("other"))
    await asyncio.gather(first, second, other)
    await house.call(limited)


@in_virtual_time
async def test_urgent_calls_come_first() -> None:
    house = TimedHouse(at_once=1)
    names = {"first": 0, "background": 2, "ordinary": 1, "urgent": 0}
    await asyncio.gather(*(house.call(Caller(name), priority=priority) for name, priority in names.items()))
    assert [name for _, name in house.entered] == ["first", "urgent", "ordinary", "background"]


@in_virtual_time
async def test_nobody_with_a_photo_waits_for_a_refinement() -> None:
    house = TimedHouse(at_once=1)
    refinements = [house.call(pipeline="refine") for _ in range(3)]
    assert await house.call() == 0
    error = await refusal_of(refinements[2])
    assert error.retry_after_s is not None
    assert 10 < error.retry_after_s < 60
    assert await refinements[1] == pytest.approx(20)


def test_a_house_that_nobody_may_enter_is_refused() -> None:
    with pytest.raises(ValueError, match="at_once is 0"):
        AdmissionSettings(at_once=0)


@in_virtual_time
async def test_figures_say_what_is_going_on() -> None:
    house = TimedHouse(at_once=1)
    calls = [house.call(size=100) for _ in range(3)]
    await asyncio.sleep(0.1)
    figures = house.admission.figures()
    assert (figures.inside["avatar"], figures.waiting["avatar"], figures.held_bytes) == (1, 2, 300)
    assert figures.wait_s == pytest.approx({"avatar": 1.1 + 1.1**0.5, "refine": 0.0})
    assert figures.service_s == {"avatar": SERVICE_S, "refine": 20.0}
    assert set(figures.refused) == set(Refusal)
    await asyncio.gather(*calls)
