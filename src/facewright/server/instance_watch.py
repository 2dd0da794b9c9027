"""Which instances of stages have died or hang: by what they said last, and what the kernel says of them.

Only silence is death. An instance hangs when, for the whole of `PATIENCE_S`,

- it has said nothing (no mark), *and*
- it has had no processor time, nor waited for any: slow work on a busy machine is work, *and*
- it holds a request, or it is not even idle: stopped (a signal, a debugger) or stuck in the kernel (a dead
  disk). To one that was stopped while it was idle Triton hands the next request all the same, where it stays
  without a mark; whoever is idle sleeps, and is never in such a state.

So a stage that waits for somebody else must not do so for `PATIENCE_S` without a mark, which
`StageRequest.cancelled` and `StageRequest.still_wanted` send. Two kinds of waits there are: for another
process that compiles the same kernel, at its first request (watch when all instances have answered one), and
for a GPU. There the driver spins, unless it is told to block; either way a single kernel of ten seconds is
nothing that a stage launches.

What cannot be found so: a stage that computes for ever. Its request's deadline tells.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from facewright.gateway.marks import PATIENCE_S, Instance

#: Of a processor; less is no work. A thread of Triton's stub that says "I live" to Triton every 0.3 s takes
#: 0.0003 to 0.0004 whatever the stage does.
_IDLE_SHARE: Final = 0.005
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
#: proc_pid_stat(5): by a signal, by a debugger, in an uninterruptible wait.
_FROZEN: Final = frozenset("TtD")
_ENDED: Final = frozenset("ZX")


class Why(StrEnum):
    """What is wrong with an instance."""

    DIED = "has ended"
    HANGS = "holds work, and neither says anything nor computes"
    STOPPED = "is stopped, or stuck in the kernel"


@dataclass(frozen=True)
class Verdict:
    """An instance that is to be replaced.

    Attributes:
        pid: its process.
        stage: its model's name; "" where it never said.
        name: what Triton calls it.
        why: what is wrong.
        request_ids: that are in its hands, which alone can be what it died of.
    """

    pid: int
    stage: str
    name: str
    why: Why
    request_ids: tuple[str, ...]


@dataclass(frozen=True)
class ProcessLook:
    """One look at a process.

    Attributes:
        state: proc_pid_stat(5)'s letter, of the thread that executes requests.
        processor_s: what all its threads have used, seconds.
    """

    state: str
    processor_s: float

    @classmethod
    def at(cls, pid: int) -> ProcessLook | None:
        """A living process now; None for one that has ended."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return None
        if fields[0] in _ENDED:
            return None
        user, system = int(fields[11]), int(fields[12])
        return cls(fields[0], (user + system) / _TICKS_PER_S)


@dataclass(frozen=True)
class _Stillness:
    """Since when a process has done nothing, and since when it is in a state that nobody idle is in."""

    since: float
    processor_s: float
    frozen_since: float | None


class InstanceWatch:
    """Judges instances by looking at them every now and then, from one thread.

    Args:
        patience_s: see `facewright.gateway.marks.PATIENCE_S`; looks must be much closer than that.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._still: dict[int, _Stillness] = {}
        self._looked = float("-inf")

    def look(self, instances: Sequence[Instance], now: float) -> list[Verdict]:
        """Look once.

        Args:
            instances: of `facewright.gateway.marks.Marks`, but for those of a Triton that still starts, that
                is being stopped or that has ended.
            now: of the clock of `Marks`, seconds.

        Returns:
            What is wrong now, at every look until it is right again.
        """
        # The watch itself did not run, as when the whole machine or everything of this user was stopped: what
        # did not happen meanwhile says nothing.
        if now - self._looked > self._patience_s / 2:
            self._still.clear()
        self._looked = now
        seen = {instance.pid for instance in instances}
        self._still = {pid: still for pid, still in self._still.items() if pid in seen}
        verdicts = []
        for instance in instances:
            why = self._judge(instance, now)
            if why is not None:
                held = instance.request_ids
                verdicts.append(Verdict(instance.pid, instance.stage, instance.name, why, held))
        return verdicts

    def _judge(self, instance: Instance, now: float) -> Why | None:
        look = ProcessLook.at(instance.pid) if instance.ended is None else None
        if look is None:
            self._still.pop(instance.pid, None)
            return Why.DIED
        still = self._still.get(instance.pid)
        if still is None or self._moved(still, look, instance):
            still = _Stillness(now, look.processor_s, None)
        if look.state not in _FROZEN:
            still = replace(still, frozen_since=None)
        elif still.frozen_since is None:
            still = replace(still, frozen_since=now)
        self._still[instance.pid] = still
        # To be idle is to be still, too.
        silent_since = still.since if instance.request_ids else still.frozen_since
        if silent_since is None or now - silent_since < self._patience_s:
            return None
        return Why.HANGS if still.frozen_since is None else Why.STOPPED

    def _moved(self, still: _Stillness, look: ProcessLook, instance: Instance) -> bool:
        worked = look.processor_s - still.processor_s > _IDLE_SHARE * self._patience_s
        return worked or look.state == "R" or instance.marked > still.since
