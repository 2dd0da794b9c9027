"""Who is let in, who is refused and with what words; whoever leaves, however, leaves nothing behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Call, Caller
from facewright.gateway.refusals import Refusal
from facewright_client.contract import ErrorCode
from tests.support.virtual_time import run_in_virtual_time

SERVICE_S = 0.4
ANNA = Caller("anna")
_NUMBERS = itertools.count()


def a_call(
    caller: Caller = ANNA,
    *,
    size: int = 10,
    deadline: float | None = None,
    pipeline: str = "avatar",
    priority: int = 0,
) -> Call:
    return Call(pipeline, bytes(size), f"request {next(_NUMBERS)}", caller, deadline, priority, 0.0)


class AHouse:
    """Answers each call after its time, and writes down who entered when."""

    def __init__(self, **settings: Any) -> None:
        self.admission = Admission(
            AdmissionSettings(**settings),
            {"avatar": SERVICE_S, "refine": 20.0},
            asyncio.get_running_loop().time,
        )
        self.entered: list[tuple[float, str]] = []
        self.service_s = {"avatar": SERVICE_S, "refine": 20.0}

    async def answer(self, call: Call) -> float:
        async with self.admission.admitted(call) as waited_s:
            self.entered.append((asyncio.get_running_loop().time(), call.caller.name))
            await asyncio.sleep(self.service_s[call.pipeline])
        return waited_s

    def call(self, *args: Any, **kwargs: Any) -> asyncio.Task[float]:
        return asyncio.create_task(self.answer(a_call(*args, **kwargs)))

    @property
    def is_empty(self) -> bool:
        figures = self.admission.figures()
        return not any([*figures.inside.values(), *figures.waiting.values(), figures.held_bytes])


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        run_in_virtual_time(test())  # type: ignore[arg-type]

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def refusal_of(task: Awaitable[object]) -> FacewrightError:
    with pytest.raises(FacewrightError) as refused:
        await task
    return refused.value


@in_virtual_time
async def test_as_many_as_may_are_inside_and_the_others_follow_in_order() -> None:
    house = AHouse(at_once=2)
    waited = await asyncio.gather(*(house.call() for _ in range(6)))
    assert waited == pytest.approx([0, 0, 0.4, 0.4, 0.8, 0.8])
    assert house.is_empty


@in_virtual_time
async def test_who_would_wait_too_long_is_refused_at_once_with_a_time_to_come_back() -> None:
    house = AHouse(at_once=1, longest_wait_s=1.0)
    calls = [house.call() for _ in range(6)]
    await asyncio.sleep(0)
    error = await refusal_of(calls[-1])
    assert asyncio.get_running_loop().time() == 0
    assert error.code == ErrorCode.OVERLOADED
    assert error.message == "the call might wait 1.5 s, and nobody waits longer than 1.0 s here"
    assert error.retry_after_s is not None
    assert 0.5 < error.retry_after_s < 2
    assert await asyncio.gather(*calls[:3]) == pytest.approx([0, 0.4, 0.8])
    assert house.admission.figures().refused[Refusal.WAIT] == 3
    assert house.is_empty


@in_virtual_time
async def test_whoever_comes_back_when_told_to_is_let_in() -> None:
    house = AHouse(at_once=1, longest_wait_s=1.0)
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
    house = AHouse(at_once=1, longest_wait_s=1.0)
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
    house = AHouse(at_once=1)
    first, hasty, patient = house.call(), house.call(deadline=0.7), house.call(deadline=1.0)
    error = await refusal_of(hasty)
    assert asyncio.get_running_loop().time() == 0
    assert error.code == ErrorCode.OVERLOADED
    assert error.message == "the call might wait 0.5 s, and its deadline allows 0.3 s"
    assert await patient == pytest.approx(0.4)
    await first


@in_virtual_time
async def test_a_short_deadline_is_let_try_where_it_need_not_wait() -> None:
    """The mean says 0.4 s; this photo may be quicker, and nobody waits because of it."""
    house = AHouse(at_once=2)
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
    error = await refusal_of(AHouse().call(deadline=0.5))
    assert error.code == ErrorCode.DEADLINE_EXCEEDED
    assert error.retry_after_s is None


@in_virtual_time
async def test_a_caller_that_floods_keeps_nobody_else_waiting_for_more_than_a_turn() -> None:
    house = AHouse(at_once=2)
    flood = [house.call(Caller("flooder"), size=1000) for _ in range(200)]
    await asyncio.sleep(0.1)
    lone = house.call(Caller("lone"))
    assert await lone <= 2 * SERVICE_S
    outcomes = await asyncio.gather(*flood, return_exceptions=True)
    answered = [outcome for outcome in outcomes if isinstance(outcome, float)]
    assert 8 <= len(answered) <= 10
    assert house.is_empty


@in_virtual_time
async def test_a_caller_has_no_more_calls_here_than_it_may() -> None:
    house, limited = AHouse(at_once=1), Caller("limited", most_at_once=2)
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
    house = AHouse(at_once=1)
    names = {"first": 0, "background": 2, "ordinary": 1, "urgent": 0}
    await asyncio.gather(*(house.call(Caller(name), priority=priority) for name, priority in names.items()))
    assert [name for _, name in house.entered] == ["first", "urgent", "ordinary", "background"]


@in_virtual_time
async def test_nobody_with_a_photo_waits_for_a_refinement() -> None:
    house = AHouse(at_once=1)
    refinements = [house.call(pipeline="refine") for _ in range(3)]
    assert await house.call() == 0
    error = await refusal_of(refinements[2])
    assert error.retry_after_s is not None
    assert 10 < error.retry_after_s < 60
    assert await refinements[1] == pytest.approx(20)


@in_virtual_time
async def test_memory_for_requests_is_bounded_and_one_caller_has_half_of_it() -> None:
    house = AHouse(at_once=1, photo_budget_bytes=1000)
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
    house = AHouse(at_once=1, longest_wait_s=100.0, photo_budget_bytes=1000)
    floods = [house.call(Caller(f"flooder {number % 4}"), size=20) for number in range(200)]
    await asyncio.sleep(0)
    assert house.admission.figures().held_bytes >= 780
    await house.call(Caller("lone"), size=150)
    assert house.admission.figures().refused[Refusal.MEMORY] >= 100
    await asyncio.gather(*floods, return_exceptions=True)
    assert house.is_empty


@in_virtual_time
async def test_a_request_that_would_never_fit_is_told_so() -> None:
    error = await refusal_of(AHouse(photo_budget_bytes=1000).call(size=1001))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert error.retry_after_s is None


@in_virtual_time
async def test_room_is_reserved_before_a_body_is_read_and_taken_over_by_its_call() -> None:
    house = AHouse(at_once=1, photo_budget_bytes=1000)
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
    house = AHouse(at_once=1, longest_wait_s=0.3)
    busy = house.call()
    await asyncio.sleep(0)
    with (
        pytest.raises(FacewrightError, match=r"might wait 0\.5 s"),
        house.admission.reserve(a_call(), 10),
    ):
        pass
    await busy
    assert house.is_empty


@in_virtual_time
async def test_a_house_that_drains_finishes_what_it_has_and_takes_nothing_new() -> None:
    house = AHouse(at_once=1)
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
async def test_while_triton_is_being_replaced_the_door_knows_when_it_will_be_back() -> None:
    house = AHouse(at_once=2)
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
async def test_a_failure_frees_the_slot_and_teaches_nothing() -> None:
    house = AHouse(at_once=1)

    async def fail() -> None:
        async with house.admission.admitted(a_call()):
            await asyncio.sleep(0.1)
            raise FacewrightError(ErrorCode.NO_FACE, "no face", "another photo")

    assert (await refusal_of(fail())).code == ErrorCode.NO_FACE
    assert house.admission.figures().service_s["avatar"] == SERVICE_S
    assert house.is_empty


@in_virtual_time
async def test_a_stream_that_its_caller_closes_frees_the_slot() -> None:
    house = AHouse(slow_at_once=1)

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
        house = AHouse(at_once=1)
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
    house = AHouse(at_once=1, longest_wait_s=1.0)
    house.service_s["avatar"] = 5.0
    first, second = house.call(), house.call()
    asyncio.get_running_loop().call_at(1.0, second.cancel)
    await asyncio.wait([second])
    await first
    assert house.is_empty


def test_a_house_that_nobody_may_enter_is_refused() -> None:
    with pytest.raises(ValueError, match="at_once is 0"):
        AdmissionSettings(at_once=0)


@in_virtual_time
async def test_figures_say_what_is_going_on() -> None:
    house = AHouse(at_once=1)
    calls = [house.call(size=100) for _ in range(3)]
    await asyncio.sleep(0.1)
    figures = house.admission.figures()
    assert (figures.inside["avatar"], figures.waiting["avatar"], figures.held_bytes) == (1, 2, 300)
    assert figures.wait_s == pytest.approx({"avatar": 1.1, "refine": 0.0})
    assert figures.service_s == {"avatar": SERVICE_S, "refine": 20.0}
    assert set(figures.refused) == set(Refusal)
    await asyncio.gather(*calls)
