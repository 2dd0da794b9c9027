"""Whose work the cores did is told apart: this run's with all that it started, and other programs'."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.machine_load import MachineLoad, busy_mark, was_busy
from benchmarks.run_conditions import RunConditions

#: Uses a core for this many seconds of its own processor time, however slowly the machine gives them.
_WORK_S = 1.0
_WORK = f"import time\nwhile time.process_time() < {_WORK_S}: pass"
#: Leaves a child that belongs to nobody here, as another program's process does; its own child works.
_ELSEWHERE = f"""
import os, sys
if os.fork():
    os._exit(0)
os.setsid()
exec({_WORK!r})
print("done", flush=True)
"""


@contextmanager
def _clocked() -> Iterator[list[float]]:
    """Processor seconds of the run and of others within the block."""
    load, seconds = MachineLoad(), list[float]()
    began = os.times().elapsed
    yield seconds
    row = load.as_row()["machine_load"]
    wall = os.times().elapsed - began
    seconds += [row["by_this_run"] * wall, row["by_others"] * wall]


def test_work_of_children_counts_as_the_runs() -> None:
    with _clocked() as seconds:
        subprocess.run([sys.executable, "-c", _WORK], check=True)
    assert 0.9 * _WORK_S < seconds[0] < 3 * _WORK_S


def test_work_of_a_living_child_counts() -> None:
    script = f"{_WORK}\nprint('done', flush=True)\nimport time; time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        with _clocked() as seconds:
            assert child.stdout.readline() == b"done\n"
        assert 0.8 * _WORK_S < seconds[0] < 3 * _WORK_S
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_work_of_other_programs_is_told_apart() -> None:
    with _clocked() as seconds:
        done = subprocess.run([sys.executable, "-c", _ELSEWHERE], capture_output=True, check=True)
        assert done.stdout == b"done\n"
    own, others = seconds
    assert own < 0.6 * _WORK_S
    assert others > 0.9 * _WORK_S


@pytest.mark.parametrize(
    ("machine", "own", "expected"),
    [(17.0, 12.0, (1.2, 0.5)), (12.0, 12.5, (1.25, 0.0))],  # the second: ticks counted a moment later
)
def test_what_this_run_used_is_not_others_work(
    machine: float, own: float, expected: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([(100.0, 1000.0, 50.0), (110.0, 1000.0 + machine, 50.0 + own)])
    monkeypatch.setattr(MachineLoad, "_now", lambda _self: next(readings))
    row = MachineLoad().as_row()["machine_load"]
    assert (row["by_this_run"], row["by_others"]) == expected


def test_a_tenth_of_the_cores_makes_a_machine_busy() -> None:
    def row(others: float) -> dict[str, object]:
        return {"machine_load": {"cores": 4, "by_this_run": 3.5, "by_others": others}}

    assert not was_busy(row(0.4))
    assert was_busy(row(0.41))
    assert busy_mark(row(0.41)) == " †"
    assert busy_mark(row(0.4)) == busy_mark({}) == ""


def test_conditions_tell_the_load_until_they_are_asked() -> None:
    conditions = RunConditions()
    row = conditions.as_row()
    assert row["commit"] == conditions.commit
    assert row["machine_load"]["cores"] == row["cpu_count"]
    subprocess.run([sys.executable, "-c", _WORK], check=True)
    assert conditions.as_row()["machine_load"]["by_this_run"] > 0
