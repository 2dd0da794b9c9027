"""A Triton that gives way is told to stop when it has nothing left to do, and at once where all is to end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from facewright.server import retirement
from facewright.server.retirement import Retirement

_PATIENCE_S = 30.0


@dataclass
class _Triton:
    """As a `WatchedTriton`, and as a `Gateway` that has some calls with it."""

    socket: Path = Path("socket")
    in_its_hands: int = 1
    asked: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def process(self) -> _Triton:
        return self

    def calls(self, _socket: Path) -> int:
        self.asked.set()
        return self.in_its_hands

    def stop(self, _patience_s: float) -> None:
        self.stopped.set()

    def release(self, socket: Path) -> None:
        assert socket == self.socket

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retirement, "_LOOK_EVERY_S", 0.01)


def test_what_has_calls_is_told_to_stop_after_them() -> None:
    triton: Any = _Triton()
    with Retirement(triton) as retiring:
        retiring.add(triton, 1.0, calls_s=3600.0)
        for _ in range(3):
            triton.asked.clear()
            assert triton.asked.wait(_PATIENCE_S)
        assert not triton.stopped.is_set()
        triton.in_its_hands = 0
        assert triton.stopped.wait(_PATIENCE_S)


def test_where_all_is_to_end_nobody_waits_for_calls() -> None:
    triton: Any = _Triton()

    def all_of_it() -> None:
        with Retirement(triton) as retiring:
            retiring.add(triton, 1.0, calls_s=3600.0)

    ending = threading.Thread(target=all_of_it, daemon=True)
    ending.start()
    ending.join(_PATIENCE_S)
    assert triton.stopped.is_set()


def test_what_is_at_fault_is_stopped_whatever_it_has() -> None:
    triton: Any = _Triton()
    with Retirement(triton) as retiring:
        retiring.add(triton, 1.0)
        assert triton.stopped.wait(_PATIENCE_S)
