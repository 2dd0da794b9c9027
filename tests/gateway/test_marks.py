"""What the gateway knows of each instance by its marks."""

from __future__ import annotations

import pytest

from facewright.adapter.marks import Mark
from facewright.gateway.marks import Instance, Marks

BAKE, OTHER = 11, 12


class Clock:
    """Seconds, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def began() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def ended() -> list[Instance]:
    return []


@pytest.fixture
def marks(clock: Clock, began: list[tuple[str, str]], ended: list[Instance]) -> Marks:
    """Of two instances of one stage."""
    marks = Marks(lambda request_id, stage: began.append((request_id, stage)), ended.append, clock)
    for pid in (BAKE, OTHER):
        marks.connected(pid)
        _say(marks, pid, 0)
    return marks


def _say(marks: Marks, pid: int, number: int, *request_ids: str) -> None:
    marks.said(pid, Mark("bake_texture", f"bake_texture_0_{pid}", number, request_ids).encoded())


def _of(marks: Marks, pid: int) -> Instance:
    return next(instance for instance in marks.instances() if instance.pid == pid)


def _held(marks: Marks, pid: int) -> tuple[str, ...]:
    return _of(marks, pid).request_ids


def test_an_execution(marks: Marks, clock: Clock, began: list[tuple[str, str]]) -> None:
    assert _of(marks, BAKE) == Instance(BAKE, 0.0, 0.0, "bake_texture", "bake_texture_0_11")
    clock.now = 1.0
    _say(marks, BAKE, 1, "first")
    clock.now = 2.0
    _say(marks, BAKE, 1, "first")  # still here
    assert _held(marks, BAKE) == ("first",)
    assert _held(marks, OTHER) == ()
    assert _of(marks, BAKE) == Instance(BAKE, 1.0, 2.0, "bake_texture", "bake_texture_0_11", 1, ("first",))
    clock.now = 3.0
    _say(marks, BAKE, 1)
    assert _of(marks, BAKE) == Instance(
        BAKE, 3.0, 3.0, "bake_texture", "bake_texture_0_11", 1, (), completed=3.0
    )
    assert began == [("first", "bake_texture")]


def test_a_later_beginning_ends_what_came_before(
    marks: Marks, clock: Clock, began: list[tuple[str, str]]
) -> None:
    _say(marks, BAKE, 1, "first")
    clock.now = 4.0
    _say(marks, BAKE, 2, "second")
    assert _held(marks, BAKE) == ("second",)
    assert _of(marks, BAKE).completed == 4.0
    clock.now = 6.0
    _say(marks, BAKE, 3)  # the end of one whose beginning was lost
    assert _held(marks, BAKE) == ()
    assert _of(marks, BAKE).completed == 6.0
    assert [request_id for request_id, _ in began] == ["first", "second"]


def test_a_beginning_that_was_lost_is_told_by_what_is_said_later(
    marks: Marks, began: list[tuple[str, str]]
) -> None:
    _say(marks, BAKE, 7, "first")
    _say(marks, BAKE, 7, "first")
    assert began == [("first", "bake_texture")]
    assert _held(marks, BAKE) == ("first",)


def test_what_triton_gave_back_nobody_holds(marks: Marks) -> None:
    """The last end was lost, and no other request comes."""
    _say(marks, BAKE, 1, "first", "second")
    marks.returned("first")
    assert _held(marks, BAKE) == ("second",)
    marks.returned("second")
    assert _held(marks, BAKE) == ()
    marks.returned("never heard of")


def test_who_has_ended_is_known_by_what_it_held(marks: Marks, clock: Clock, ended: list[Instance]) -> None:
    _say(marks, BAKE, 1, "first")
    clock.now = 3.0
    marks.disconnected(BAKE)
    assert [(instance.pid, instance.request_ids, instance.ended) for instance in ended] == [
        (BAKE, ("first",), 3.0)
    ]
    marks.returned("first")  # by the Triton that answered it then
    assert _held(marks, BAKE) == ("first",)
    marks.forget([BAKE, OTHER])
    assert [instance.pid for instance in marks.instances()] == [OTHER], "who lives is not forgotten"


def test_a_process_number_is_used_again(marks: Marks) -> None:
    _say(marks, BAKE, 9, "first")
    marks.disconnected(BAKE)
    marks.connected(BAKE)
    assert _held(marks, BAKE) == ()
    _say(marks, BAKE, 1, "second")
    assert _held(marks, BAKE) == ("second",)


def test_the_dead_are_not_kept_for_ever(marks: Marks) -> None:
    for pid in range(1000, 2000):
        marks.connected(pid)
        marks.disconnected(pid)
    assert len(marks.instances()) < 300
    assert marks.instances()[-1].pid == 1999
    assert {BAKE, OTHER} <= {instance.pid for instance in marks.instances()}


def test_what_is_no_mark_changes_nothing(marks: Marks, began: list[tuple[str, str]]) -> None:
    _say(marks, BAKE, 1, "first")
    before = marks.instances()
    for message in (
        b"",
        b"1 bake_texture",
        b"\xff" * 64,
        b"1 bake_texture bake_texture_0_0 2 " + b"x" * 9000,
    ):
        marks.said(BAKE, message)
    assert marks.instances() == before
    assert marks.malformed == 4
    assert began == [("first", "bake_texture")]
