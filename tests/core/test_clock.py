from __future__ import annotations

import pytest

from facewright.core.clock import LapClock


def test_laps_are_named_in_order() -> None:
    clock = LapClock()
    clock.lap("decode")
    clock.lap("crop")
    assert list(clock.milliseconds) == ["decode", "crop"]
    assert all(time >= 0.0 for time in clock.milliseconds.values())
    plain = LapClock()
    plain.lap("light")
    assert list(plain.milliseconds) == ["light"]


def test_work_ends_between_two_laps_and_the_finished_lap_is_kept() -> None:
    def stop() -> None:
        raise TimeoutError("the client has gone")

    clock = LapClock(stop)
    with pytest.raises(TimeoutError, match="gone"):
        clock.lap("light")
    assert list(clock.milliseconds) == ["light"]
