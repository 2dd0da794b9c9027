"""The order of the line, against round robin written down as a ring of queues."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facewright.gateway.call import Call, Caller
from facewright.gateway.waiting_line import WaitingLine


def a_call(caller: str, request_id: str = "", priority: int = 0, best_priority: int = 0) -> Call:
    return Call("avatar", b"", request_id, Caller(caller, best_priority), priority=priority)


def a_line(*calls: Call) -> WaitingLine:
    line = WaitingLine()
    for call in calls:
        line.join(call)
    return line


def order(line: WaitingLine) -> str:
    return " ".join(line.take().call.request_id for _ in range(len(line)))


def test_callers_take_turns_and_each_is_served_in_its_own_order() -> None:
    line = a_line(*(a_call(name[0], name) for name in ("a1", "a2", "a3", "b1", "b2", "c1", "a4")))
    assert order(line) == "a1 b1 c1 a2 b2 a3 a4"


def test_who_comes_late_waits_for_one_call_of_each_at_most() -> None:
    line = a_line(*(a_call("a", f"a{i}") for i in range(1, 6)))
    assert [line.take().call.request_id for _ in range(3)] == ["a1", "a2", "a3"]
    line.join(a_call("b", "b1"))
    line.join(a_call("b", "b2"))
    assert order(line) == "a4 b1 a5 b2"


def test_urgent_calls_are_first_as_far_as_their_caller_may_say_so() -> None:
    line = a_line(
        a_call("a", "later", priority=2),
        a_call("b", "claimed", priority=0, best_priority=1),
        a_call("c", "ordinary", priority=1),
        a_call("d", "urgent", priority=0),
    )
    assert order(line) == "urgent claimed ordinary later"


def test_who_asks_again_whenever_it_was_served_does_not_overtake_those_who_wait() -> None:
    line = a_line(a_call("a", "a"), *(a_call("b", f"b{i}") for i in range(3)))
    served = []
    for _ in range(6):
        served.append(line.take().call.request_id)
        if served[-1] == "a":
            line.join(a_call("a", "a"))
    assert served == ["a", "b0", "b1", "a", "b2", "a"]


def test_who_gives_all_its_calls_up_does_not_stand_behind_them() -> None:
    line = a_line(*(a_call("b", f"b{i}") for i in range(5)))
    for place in [line.join(a_call("a", f"given up {i}")) for i in range(20)]:
        line.leave(place)
    line.join(a_call("a", "a"))
    assert order(line).split().index("a") <= 2


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("join"), st.sampled_from("abcd")),
            st.tuples(st.just("take"), st.just("")),
        ),
        max_size=60,
    )
)
def test_the_line_is_a_ring_of_queues(steps: list[tuple[str, str]]) -> None:
    """Each caller's calls in order; and between two calls of one who waits on, no other has more than two."""
    line, queues, taken = WaitingLine(), {name: deque[str]() for name in "abcd"}, 0
    since: dict[str, dict[str, int]] = {name: dict.fromkeys("abcd", 0) for name in "abcd"}
    for number, (step, name) in enumerate(steps):
        if step == "join":
            if not queues[name]:
                since[name] = dict.fromkeys("abcd", 0)
            ahead = line.ahead_of(a_call(name))
            line.join(a_call(name, str(number)))
            assert line.ahead_of(a_call(name)) > ahead
            queues[name].append(str(number))
        elif len(line):
            call = line.take().call
            taken += 1
            assert queues[call.caller.name].popleft() == call.request_id
            since[call.caller.name] = dict.fromkeys("abcd", 0)
            for waiting in (name for name, queue in queues.items() if queue):
                since[waiting][call.caller.name] += 1
                assert since[waiting][call.caller.name] <= 2
    assert len(line) == sum(map(len, queues.values()))


@pytest.mark.parametrize(("caller", "ahead"), [("d", 4), ("c", 4), ("b", 5), ("a", 6)])
def test_a_call_is_predicted_to_be_taken_where_it_stands_or_later_where_others_may_come(
    caller: str, ahead: int
) -> None:
    """What stands there is b c, a b, a, a. A fifth of a is three rounds away, and each has three callers."""
    line = a_line(*(a_call(name, name) for name in "aaaabbc"))
    line.take()
    assert line.ahead_of(a_call(caller)) == (9 if caller == "a" else ahead)
    place = line.join(a_call(caller))
    assert [line.take() for _ in range(ahead + 1)][-1] is place


def test_ever_new_callers_do_not_keep_an_old_one_waiting_and_are_not_remembered() -> None:
    line = a_line(*(a_call("old", "old") for _ in range(100)))
    taken = []
    for number in range(200):
        line.join(a_call(f"new {number}"))
        taken.append(line.take().call.request_id)
    assert taken.count("old") > 15  # the rounds get longer: each takes in those who came during the last
    assert len(line._turns) <= len(line)


def test_taking_from_nobody_is_an_error() -> None:
    with pytest.raises(IndexError):
        WaitingLine().take()
