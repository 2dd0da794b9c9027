"""Which processes hang: real ones that are stopped, sleep, compute and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from facewright.gateway.marks import Instance
from facewright.server import instance_watch
from facewright.server.instance_watch import InstanceWatch, ProcessLook, Verdict, Why
from tests.server.processes import eventually

_PATIENCE_S = 0.4
_SLEEPS = "print(flush=True); import time; time.sleep(600)"
_COMPUTES = "print(flush=True)\nwhile True: pass"
#: As a deadlock: waits for a lock that nobody gives back.
_WAITS = "print(flush=True); import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()"


@dataclass
class Stages:
    """Processes of this test."""

    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, program: str) -> int:
        """A process that runs a program, once it does."""
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        self.started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid


@pytest.fixture
def stages() -> Iterator[Stages]:
    stages = Stages()
    yield stages
    for process in stages.started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _instance(pid: int, *request_ids: str, marked: float | None = None) -> Instance:
    now = time.monotonic() if marked is None else marked
    return Instance(pid, now, now, "bake_texture", "bake_texture_0_1", 1, request_ids)


def _verdicts(instances: Sequence[Instance], awaited: int) -> list[Verdict]:
    """What a watch says once it says something of ``awaited`` instances."""
    watch = InstanceWatch(_PATIENCE_S)
    found: list[Verdict] = []

    def all_found() -> bool:
        found[:] = watch.look(instances, time.monotonic())
        return len(found) >= awaited

    assert eventually(all_found, 60)
    return found


def test_who_holds_work_and_does_nothing_hangs(stages: Stages) -> None:
    waits, idle, computes = (stages.start(program) for program in (_WAITS, _SLEEPS, _COMPUTES))
    instances = [_instance(waits, "first"), _instance(idle), _instance(computes, "second")]
    assert _verdicts(instances, 1) == [
        Verdict(waits, "bake_texture", "bake_texture_0_1", Why.HANGS, ("first",))
    ]


def test_who_is_stopped_is_found_idle_and_at_work(stages: Stages) -> None:
    at_work, idle, well = (stages.start(program) for program in (_COMPUTES, _SLEEPS, _COMPUTES))
    for pid in (at_work, idle):
        os.kill(pid, signal.SIGSTOP)
    instances = [_instance(at_work, "first"), _instance(idle), _instance(well, "second")]
    assert _verdicts(instances, 2) == [
        Verdict(at_work, "bake_texture", "bake_texture_0_1", Why.STOPPED, ("first",)),
        Verdict(idle, "bake_texture", "bake_texture_0_1", Why.STOPPED, ()),
    ]


def test_who_goes_on_is_well_again(stages: Stages) -> None:
    pid = stages.start(_COMPUTES)
    os.kill(pid, signal.SIGSTOP)
    watch = InstanceWatch(_PATIENCE_S)
    instances = [_instance(pid, "first")]
    assert eventually(lambda: bool(watch.look(instances, time.monotonic())), 60)
    os.kill(pid, signal.SIGCONT)
    assert eventually(lambda: not watch.look(instances, time.monotonic()), 60)


def test_who_has_died_is_told_with_what_it_held(stages: Stages) -> None:
    dead, gone = stages.start(_SLEEPS), stages.start(_SLEEPS)
    os.kill(dead, signal.SIGKILL)  # nobody has waited for it yet
    hung_up = Instance(gone, 0.0, 0.0, "fit_head", "fit_head_0_0", 3, ("second",), ended=1.0)
    assert _verdicts([_instance(dead, "first"), hung_up], 2) == [
        Verdict(dead, "bake_texture", "bake_texture_0_1", Why.DIED, ("first",)),
        Verdict(gone, "fit_head", "fit_head_0_0", Why.DIED, ("second",)),
    ]


@dataclass
class Kernel:
    """What the kernel says of processes, by the test."""

    state: str = "S"
    processor_s: float = 0.0

    def at(self, _pid: int) -> ProcessLook:
        return ProcessLook(self.state, self.processor_s)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(instance_watch.ProcessLook, "at", kernel.at)
    return kernel


def _found(watch: InstanceWatch, instance: Instance, begin: int, end: int) -> list[int]:
    """Seconds at which a watch that looks every second finds something wrong."""
    return [second for second in range(begin, end) if watch.look([instance], float(second))]


@pytest.mark.usefixtures("kernel")
def test_it_takes_the_whole_of_ten_seconds() -> None:
    held = _instance(1, "first", marked=3.5)
    assert _found(InstanceWatch(), held, 0, 20) == [14, 15, 16, 17, 18, 19]


def test_what_triton_does_in_every_stage_is_no_work(kernel: Kernel) -> None:
    watch, held = InstanceWatch(), _instance(1, "first", marked=0.0)
    for second in range(60):
        kernel.processor_s = 0.0004 * second
        found = watch.look([held], float(second))
    assert [verdict.why for verdict in found] == [Why.HANGS]


def test_one_hundredth_of_a_processor_is_work(kernel: Kernel) -> None:
    watch, held = InstanceWatch(), _instance(1, "first", marked=0.0)
    for second in range(60):
        kernel.processor_s = 0.01 * second
        assert not watch.look([held], float(second))


def test_who_waits_for_a_processor_does_not_hang(kernel: Kernel) -> None:
    kernel.state = "R"
    assert not _found(InstanceWatch(), _instance(1, "first", marked=0.0), 0, 60)


def test_who_was_idle_for_long_is_found_when_it_is_stopped(kernel: Kernel) -> None:
    watch, idle = InstanceWatch(), _instance(1, marked=0.0)
    assert not _found(watch, idle, 0, 100)
    kernel.state = "T"
    assert _found(watch, idle, 100, 115) == [110, 111, 112, 113, 114]
    kernel.state = "S"
    assert not _found(watch, idle, 115, 140)


def test_a_debugger_that_looks_now_and_then_stops_nobody(kernel: Kernel) -> None:
    watch, idle = InstanceWatch(), _instance(1, marked=0.0)
    for second in range(60):
        kernel.state = "t" if second % 8 else "S"
        assert not watch.look([idle], float(second))


@pytest.mark.usefixtures("kernel")
def test_when_the_watch_was_stopped_too_nobody_hangs() -> None:
    watch, held = InstanceWatch(), _instance(1, "first", marked=0.0)
    assert not _found(watch, held, 0, 9)
    assert _found(watch, held, 900, 920) == list(range(910, 920))
