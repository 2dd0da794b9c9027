"""Predicted waits, against slots that are given away one by one."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facewright.gateway.call import Call, Caller
from facewright.gateway.lane import Lane, LaneSettings
from facewright.gateway.service_time import ServiceTime

SERVICE_S = 0.4


def a_call(name: str = "a", deadline: float | None = None) -> Call:
    return Call("avatar", b"", name, Caller(name), deadline)


def a_lane(entered: list[float], waiting: int = 0, at_once: int = 0) -> Lane:
    lane = Lane(LaneSettings(at_once or len(entered), 2.0), {"avatar": ServiceTime(SERVICE_S)})
    for moment in entered:
        lane.enter(a_call(), moment)
    for number in range(waiting):
        lane.join(a_call(f"waiting {number}"))
    return lane


def exact_wait(free: list[float], ahead: int) -> float:
    """Whoever is first takes the slot that is free first."""
    slots = list(free)
    heapq.heapify(slots)
    for _ in range(ahead):
        heapq.heappush(slots, heapq.heappop(slots) + SERVICE_S)
    return slots[0]


@given(st.lists(st.floats(0, SERVICE_S), min_size=1, max_size=12), st.integers(0, 40))
def test_the_wait_is_predicted_to_half_a_service_time(ages: list[float], ahead: int) -> None:
    lane = a_lane([10 - age for age in ages], ahead)
    exact = exact_wait([SERVICE_S - age for age in ages], ahead)
    assert lane.wait_behind(ahead, 10.0) == pytest.approx(exact, abs=SERVICE_S / 2 + 1e-9)


@pytest.mark.parametrize("ahead", range(13))
def test_slots_that_are_evenly_staggered_are_predicted_exactly(ahead: int) -> None:
    ages = [0.3, 0.2, 0.1, 0.0]
    lane = a_lane([10 - age for age in ages], ahead)
    assert lane.wait_behind(ahead, 10.0) == pytest.approx(
        exact_wait([SERVICE_S - age for age in ages], ahead), abs=0.051
    )


def test_slots_of_calls_that_hang_take_no_part() -> None:
    """Two of four have been inside for a minute."""
    lane = a_lane([-60.0, -60.0, 9.7, 9.9], 4)
    assert lane.wait_behind(4, 10.0) == pytest.approx(exact_wait([0.1, 0.3], 4), abs=SERVICE_S / 2)


def test_where_all_hang_nobody_is_promised_anything_soon() -> None:
    assert a_lane([0.0, 0.0]).wait_behind(0, 10.0) > 9


def test_while_triton_is_away_everything_begins_when_it_is_back() -> None:
    lane = a_lane([9.9], at_once=2)
    lane.hold_until(15.0, 10.0)
    assert lane.wait_of(a_call(), 10.0).seconds == pytest.approx(5.0)
    lane.enter(a_call(), 10.0)
    assert lane.wait_of(a_call(), 10.0).seconds == pytest.approx(5.0 + 2 * SERVICE_S)
    lane.hold_until(None, 12.0)
    assert lane.wait_of(a_call(), 12.1).seconds == pytest.approx(2 * (SERVICE_S - 0.1))


def test_a_call_that_is_about_to_end_may_take_half_as_long_again() -> None:
    """Where one takes longer than anybody waits, it is the only one that is waited for."""
    assert a_lane([9.61]).wait_of(a_call(), 10.0).seconds == pytest.approx(0.01 + SERVICE_S / 2)


def test_what_was_inside_while_triton_was_away_says_nothing_of_the_service_time() -> None:
    lane = a_lane([], at_once=2)
    before, during = lane.enter(a_call(), 0.0), None
    lane.hold_until(30.0, 0.1)
    during = lane.enter(a_call(), 5.0)
    lane.hold_until(None, 20.0)
    for place in (before, during):
        lane.leave(place, succeeded=True, now=20.4)
    assert lane.service["avatar"].mean_s == SERVICE_S
    lane.leave(lane.enter(a_call(), 21.0), succeeded=True, now=21.1)
    assert lane.service["avatar"].mean_s == pytest.approx(0.3), "0.2 at most, with both slots taken"


def test_calls_that_come_alone_promise_nothing_of_a_full_house() -> None:
    """Four slots, of which one was taken: with all four it may take the same time, or four times as long."""
    lane = a_lane([], at_once=4)
    for moment in range(40):
        lane.leave(lane.enter(a_call(), moment), succeeded=True, now=moment + SERVICE_S / 2)
    assert lane.service["avatar"].mean_s == SERVICE_S
    for moment in range(40):
        lane.leave(lane.enter(a_call(), moment), succeeded=True, now=moment + SERVICE_S / 8)
    assert lane.service["avatar"].mean_s == pytest.approx(SERVICE_S / 2, rel=0.1)


def test_a_quick_failure_is_no_sign_of_speed_and_a_slow_one_is_a_sign_of_slowness() -> None:
    lane = a_lane([], at_once=1)
    lane.leave(lane.enter(a_call(), 0.0), succeeded=False, now=0.01)
    assert lane.service["avatar"].mean_s == SERVICE_S
    lane.leave(lane.enter(a_call(), 1.0), succeeded=False, now=2.0)
    assert lane.service["avatar"].mean_s > SERVICE_S


def test_those_refused_together_are_told_times_as_far_apart_as_calls_leave() -> None:
    """The wait is prudently 1.4 s, of which this caller has 0.3."""
    lane = a_lane([0.0, 0.2], 3)
    hasty = a_call("hasty", deadline=1.0)
    excess_s = lane.wait_of(hasty, 0.3).excess_s
    assert excess_s == pytest.approx(1.4 - 0.3)
    told = [lane.return_after(hasty, excess_s, 0.3) for _ in range(20)]
    assert told == pytest.approx([excess_s + 0.2 * (i + 1) for i in range(20)])


def test_nobody_is_told_to_come_back_in_an_hour() -> None:
    lane = a_lane([0.0, 0.2])
    told = [lane.return_after(a_call(), 0.1, 0.3) for _ in range(5000)]
    assert max(told) <= 31
    assert min(told) > 0.1


def test_while_triton_is_away_nobody_is_told_to_come_back_before_it_does() -> None:
    lane = a_lane([0.0, 0.2])
    lane.hold_until(20.0, 0.3)
    assert lane.wait_of(a_call(), 0.3).excess_s > 20 - 0.3 - 2.0


def test_once_there_is_room_again_old_promises_are_void() -> None:
    lane = a_lane([0.0], at_once=1)
    for _ in range(50):
        lane.return_after(a_call(), 0.0, 0.0)
    (place,) = lane.inside
    lane.leave(place, succeeded=True, now=0.4)
    lane.enter(a_call(), 0.5)
    assert lane.return_after(a_call(), 0.0, 0.5) == pytest.approx(0.4)
