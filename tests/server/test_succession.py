"""Which Triton serves, with ones of which a test says how they do: no gap where it can be helped."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from facewright.core.errors import FacewrightError
from facewright.server.succession import Succession
from facewright.server.watched_triton import Fault, StartFailedError
from facewright_client.contract import ErrorCode

_DEAD = Fault("one died", request_ids=frozenset({"held"}))
_HANGS = Fault("one hangs", serves=True, request_ids=frozenset({"held"}))


@dataclass
class Triton:
    """As a `WatchedTriton`."""

    socket: Path
    up: bool = False
    fails: str = ""
    wrong: Fault | None = None
    start_took_s: float = 8.0

    @property
    def process(self) -> Triton:
        return self

    @property
    def metrics_port(self) -> int:
        return 1

    def started(self) -> bool:
        if self.fails:
            raise StartFailedError(self.fails)
        return self.up

    def fault(self) -> Fault | None:
        return self.wrong


@dataclass
class House:
    """As a `Gateway` and a `Retirement`: what is asked, and what was told, in order."""

    told: list[Any] = field(default_factory=list)

    def use(self, socket: Path, _metrics_port: int) -> None:
        self.told.append(f"use {socket}")

    def forget(self, socket: Path, back_in_s: float) -> None:
        self.told.append(f"forget {socket} for {back_in_s}")

    def blame(self, request_ids: frozenset[str]) -> None:
        self.told.append(f"blame {', '.join(request_ids)}")

    def add(self, triton: Triton, _patience_s: float, calls_s: float = 0.0) -> None:
        self.told.append(f"retire {triton.socket}{' after its calls' * bool(calls_s)}")


class Scene:
    """A succession, and every Triton that it has started."""

    def __init__(self, spare: bool = False) -> None:
        self.house = House()
        self.tritons: list[Triton] = []
        self.missing = ""
        self.succession = Succession(self._another, self.house, self.house, spare)  # type: ignore[arg-type]

    def _another(self) -> Any:
        if self.missing:
            raise FacewrightError(ErrorCode.INTERNAL, self.missing, "")
        self.tritons.append(Triton(Path(str(len(self.tritons) + 1))))
        return self.tritons[-1]

    def looks(self, times: int = 1) -> list[Any]:
        """What is told in some looks."""
        self.house.told.clear()
        for _ in range(times):
            self.succession.look()
        return list(self.house.told)

    def serving(self) -> Scene:
        """With the first Triton up."""
        self.looks()
        self.tritons[0].up = True
        assert self.looks() == ["use 1"]
        return self


def test_the_first_serves_when_it_is_up() -> None:
    scene = Scene()
    assert scene.looks(3) == []
    assert scene.succession.serving is None
    scene.tritons[0].up = True
    assert scene.looks(3) == ["use 1"]
    assert len(scene.tritons) == 1


def test_of_a_dead_one_nobody_is_asked_and_the_next_takes_over() -> None:
    scene = Scene().serving()
    scene.tritons[0].wrong = _DEAD
    assert scene.looks(3) == ["blame held", "forget 1 for 8.0", "retire 1"]
    assert scene.succession.serving is None
    scene.tritons[1].up = True
    assert scene.looks(2) == ["use 2"]
    assert scene.succession.replaced == 1


def test_where_one_instance_hangs_the_others_serve_until_the_next_is_up() -> None:
    scene = Scene().serving()
    scene.tritons[0].wrong = _HANGS
    assert scene.looks(5) == ["blame held"]
    assert scene.succession.serving is scene.tritons[0]
    assert len(scene.tritons) == 2
    scene.tritons[1].up = True
    assert scene.looks(2) == ["use 2", "retire 1"]
    assert scene.succession.replaced == 1


def test_what_hangs_may_die_before_the_next_is_up() -> None:
    scene = Scene().serving()
    scene.tritons[0].wrong = _HANGS
    scene.looks()
    scene.tritons[0].wrong = _DEAD
    assert scene.looks() == ["blame held", "forget 1 for 8.0", "retire 1"]
    scene.tritons[1].up = True
    assert scene.looks() == ["use 2"]


def test_a_spare_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "facewright.server"):
        scene = Scene(spare=True).serving()
        scene.looks()
        assert not caplog.messages
        scene.tritons[1].up = True
        scene.looks(3)
    assert caplog.messages.count("a spare Triton is loaded") == 1


def test_a_spare_takes_over_in_the_same_look_and_another_is_loaded_when_that_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("facewright.server.succession.time.monotonic", lambda: now[0])
    scene = Scene(spare=True).serving()
    scene.looks()
    scene.tritons[1].up = True
    assert scene.looks(3) == []
    scene.tritons[0].wrong = _DEAD
    assert scene.looks() == ["blame held", "forget 1 for 8.0", "retire 1", "use 2"]
    scene.looks(3)
    assert len(scene.tritons) == 2, "the cores are for what was lost"
    now[0] += 5.0
    scene.looks()
    assert len(scene.tritons) == 3


def test_a_spare_that_breaks_is_replaced() -> None:
    scene = Scene(spare=True).serving()
    scene.looks()
    scene.tritons[1].up, scene.tritons[1].wrong = True, _HANGS
    assert scene.looks() == ["retire 2"]
    scene.looks()
    assert len(scene.tritons) == 3
    assert scene.succession.replaced == 0


@pytest.mark.parametrize("spare", [False, True])
def test_weights_are_loaded_anew_without_a_gap(spare: bool) -> None:
    """By one that starts now: a spare has read the old ones."""
    scene = Scene(spare).serving()
    scene.looks()
    before = len(scene.tritons)
    scene.succession.reload()
    scene.looks()
    assert len(scene.tritons) == before + 1
    assert scene.succession.serving is scene.tritons[0]
    scene.tritons[-1].up = True
    assert scene.looks() == [f"use {before + 1}", "retire 1 after its calls"]
    assert (scene.succession.reloaded, scene.succession.replaced) == (1, 0)


def test_weights_that_cannot_be_loaded_change_nothing() -> None:
    scene = Scene().serving()
    scene.succession.reload()
    scene.looks()
    scene.tritons[1].fails = "broken weights"
    assert scene.looks(3) == ["retire 2"]
    assert scene.succession.serving is scene.tritons[0]
    assert (scene.succession.not_reloaded, scene.succession.why_not) == (1, "broken weights")
    assert len(scene.tritons) == 2, "nobody asked for another try"
    scene.missing = "no such folder"
    scene.succession.reload()
    scene.looks(2)
    assert (scene.succession.not_reloaded, scene.succession.why_not) == (2, "INTERNAL: no such folder ()")


def test_a_first_start_that_fails_is_the_end() -> None:
    scene = Scene()
    scene.looks()
    scene.tritons[0].fails = "start failed"
    with pytest.raises(StartFailedError, match="start failed"):
        scene.looks()
    missing = Scene()
    missing.missing = "no weights"
    with pytest.raises(FacewrightError, match="no weights"):
        missing.looks()


def test_later_starts_are_tried_again_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("facewright.server.succession.time.monotonic", lambda: now[0])
    scene = Scene().serving()
    scene.tritons[0].wrong = _DEAD
    scene.looks()
    for failure in range(3):
        scene.tritons[-1].fails = f"failure {failure}"
        scene.looks(3)
        assert len(scene.tritons) == failure + 2, "it waits longer each time"
        now[0] += 2.0 ** (failure + 1)
        scene.looks()
        assert len(scene.tritons) == failure + 3
    scene.tritons[-1].fails = "failure 4"
    with pytest.raises(StartFailedError, match="failure 4"):
        scene.looks()
