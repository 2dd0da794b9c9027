"""What each instance of each stage is at, by the marks that it sends (`facewright.adapter.marks`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from facewright.adapter.marks import Mark

#: For how long an instance that holds work may say nothing, seconds.
PATIENCE_S: Final = 10.0
#: Of instances that have ended and that nobody has called `Marks.forget` for.
_MOST_ENDED: Final = 256


@dataclass(frozen=True)
class Instance:
    """A process of a stage. Times are of the clock of `Marks`, seconds.

    Attributes:
        pid: as the kernel says.
        since: since when it holds what it holds, or nothing.
        marked: when it last said something.
        stage: its name; "" before the first mark, which it sends when it has loaded.
        name: what Triton calls the instance, such as ``bake_texture_0_1``.
        number: of its last execution.
        request_ids: that are in its hands; of one that has ended, those that were.
        completed: when it last completed an execution; None: never.
        ended: when it was gone; None: it is there.
    """

    pid: int
    since: float
    marked: float
    stage: str = ""
    name: str = ""
    number: int = 0
    request_ids: tuple[str, ...] = ()
    completed: float | None = None
    ended: float | None = None

    def after(self, mark: Mark, now: float) -> Instance:
        """The same when it has said something.

        A mark tells all: one of a later execution ends the earlier one, though its end was never heard of.
        """
        another = mark.number != self.number
        completed = bool(self.request_ids) if another else not mark.request_ids and mark.number > 0
        return Instance(
            self.pid,
            since=now if another or completed else self.since,
            marked=now,
            stage=mark.stage,
            name=mark.instance,
            number=mark.number,
            request_ids=mark.request_ids,
            completed=now if completed else self.completed,
        )


def _nobody_asks(_request_id: str, _stage: str) -> None:
    return


def _nobody_is_told(_request_id: str) -> None:
    return


def _nobody_mourns(_instance: Instance) -> None:
    return


class Marks:
    """The instances of one or more Tritons. Changed on the event loop alone; `instances` is for every thread.

    A process whose last mark was lost looks as if it held what it has given back. Marks are lost only where
    hundreds of one process wait to be read; its next one puts that right, and so does `returned`.

    Args:
        began: told the id of each request that a stage begins to work on, and the stage.
        ended: told of each instance that has ended, with what it held. Only those whose Triton lives on died
            of that: where Triton dies or is stopped, all of its instances end soon after.
        clock: seconds, as `time.monotonic`.
        finished: as `began`, of each request that a stage has no more.
        left: told the id of each request that nobody waits for any more, for the stages to know.
    """

    def __init__(
        self,
        began: Callable[[str, str], None] = _nobody_asks,
        ended: Callable[[Instance], None] = _nobody_mourns,
        clock: Callable[[], float] = time.monotonic,
        finished: Callable[[str, str], None] = _nobody_asks,
        left: Callable[[str], None] = _nobody_is_told,
    ) -> None:
        self._began, self._finished, self._ended, self._clock = began, finished, ended, clock
        self.left = left
        self._instances: dict[int, Instance] = {}
        #: Messages that were no marks.
        self.malformed = 0

    def instances(self) -> list[Instance]:
        """All that are connected, and those that have ended and were not forgotten."""
        return list(self._instances.values())

    def connected(self, pid: int) -> None:
        """A process will send marks; one of the same id that ended before is forgotten."""
        self._instances.pop(pid, None)
        now = self._clock()
        self._instances[pid] = Instance(pid, since=now, marked=now)

    def said(self, pid: int, message: bytes) -> None:
        """Note a message of a process that is connected; what is no mark is counted as `malformed`."""
        before = self._instances[pid]
        try:
            mark = Mark.decoded(message)
        except ValueError:
            self.malformed += 1
            return
        self._instances[pid] = before.after(mark, self._clock())
        for request_id in set(before.request_ids) - set(mark.request_ids):
            self._finished(request_id, mark.stage)
        if mark.number != before.number:
            for request_id in mark.request_ids:
                self._began(request_id, mark.stage)

    def disconnected(self, pid: int) -> None:
        """A process has ended; what it held is kept until `forget`."""
        instance = self._instances[pid] = replace(self._instances[pid], ended=self._clock())
        gone = [other.pid for other in self._instances.values() if other.ended is not None]
        self.forget(gone[:-_MOST_ENDED])
        self._ended(instance)

    def forget(self, pids: Collection[int]) -> None:
        """Keep nothing more of processes that have ended, such as those of a Triton that was stopped."""
        for pid in pids:
            if pid in self._instances and self._instances[pid].ended is not None:
                del self._instances[pid]

    def returned(self, request_id: str) -> None:
        """A stage has answered or refused a request, and nobody holds it any more, whatever mark is missing.

        Not to be called for one that was given up on, here or by Triton (``Stub process … is not healthy``):
        its holder may be what hangs.
        """
        for instance in self.instances():
            if request_id in instance.request_ids and instance.ended is None:
                left = tuple(other for other in instance.request_ids if other != request_id)
                self._instances[instance.pid] = replace(instance, request_ids=left, since=self._clock())
