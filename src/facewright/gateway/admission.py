"""Who is let into the house, when, and who is refused in milliseconds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call
from facewright.gateway.lane import Lane, LaneSettings, Wait
from facewright.gateway.photo_budget import PhotoBudget, Reservation
from facewright.gateway.refusals import Refusal, Refusals
from facewright.gateway.service_time import ServiceTime
from facewright.gateway.waiting_line import Place


@dataclass(frozen=True)
class AdmissionSettings:
    """How many calls are let in.

    Work of seconds and work of a minute have slots and lines of their own: nobody with a photo waits for
    somebody's refinement.

    Args:
        at_once: calls inside at a time; about two for each core keep them busy.
        longest_wait_s: how long one may wait for being let in.
        slow_at_once, slow_longest_wait_s: the same, of slow pipelines.
        slow_from_s: pipelines that are expected to take longer are slow.
        photo_budget_bytes: requests that are held, waiting and inside; one caller has half of it at most.
    """

    at_once: int = 4
    longest_wait_s: float = 2.0
    slow_at_once: int = 1
    slow_longest_wait_s: float = 30.0
    slow_from_s: float = 5.0
    photo_budget_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if min(self.at_once, self.slow_at_once) < 1:
            raise ValueError(
                f"at_once is {self.at_once} and slow_at_once {self.slow_at_once}: both need 1 or more"
            )


@dataclass(frozen=True)
class AdmissionFigures:
    """What is going on at the door, by pipeline where it is a mapping.

    Attributes:
        inside, waiting: calls.
        service_s: seconds of one request, from entering to leaving, among as many as are let in.
        wait_s: wait of one more call behind all that wait, prudently predicted, as it is compared with the
            longest one; fairness may let it in earlier.
        refused: so many, by reason, since the start.
        held_bytes: of requests, reserved, waiting and inside.
    """

    inside: Mapping[str, int]
    waiting: Mapping[str, int]
    service_s: Mapping[str, float]
    wait_s: Mapping[str, float]
    refused: Mapping[Refusal, int]
    held_bytes: int


class Admission:
    """The door of the house. On one event loop; nothing of it is called from another thread.

    Args:
        settings: bounds.
        served: pipelines, and the first guess of how many seconds one request takes.
        clock: monotonic seconds, the clock of the calls' deadlines.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        served: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._budget = PhotoBudget(settings.photo_budget_bytes)
        self._refusals = Refusals()
        service = {name: ServiceTime(expected_s) for name, expected_s in served.items()}
        quick = Lane(LaneSettings(settings.at_once, settings.longest_wait_s), service)
        slow = Lane(LaneSettings(settings.slow_at_once, settings.slow_longest_wait_s), service)
        self._lanes = {
            name: slow if expected_s > settings.slow_from_s else quick for name, expected_s in served.items()
        }
        self._turn_came: dict[Place, asyncio.Future[FacewrightError | None]] = {}
        self._reserved: dict[str, Reservation] = {}  # by request id
        self._of_caller: Counter[str] = Counter()  # calls in the house
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def reserve(self, call: Call, size: int) -> Iterator[Reservation]:
        """Room for a request before it is read, and whether its call would be let in at all.

        The call that is admitted later under the same id takes the room over. It is let in though the house
        began to drain meanwhile.

        Args:
            call: the request may be empty still.
            size: bytes that are announced; `Reservation.resize` where more become known.

        Raises:
            FacewrightError: as `admitted`.
        """
        if self._draining:
            raise self._refusals.stopping()
        self._check_wait(call, self._clock())
        reservation = Reservation(lambda total, before: self._take_room(call, total, before))
        reservation.resize(size)
        self._reserved[call.request_id] = reservation
        self._empty.clear()
        try:
            yield reservation
        finally:
            if self._reserved.get(call.request_id) is reservation:
                del self._reserved[call.request_id]
                self._budget.take(call.caller.name, -reservation.size)
                self._tell_if_empty()

    @asynccontextmanager
    async def admitted(self, call: Call) -> AsyncIterator[float]:
        """Lets a call in, for as long as the context lasts; gives the seconds that it waited.

        Raises:
            FacewrightError: at once or after a wait; with ``retry_after_s`` OVERLOADED, and UNAVAILABLE while
                Triton is being replaced; UNAVAILABLE when the house drains; DEADLINE_EXCEEDED when it has
                passed; PHOTO_TOO_LARGE when it exceeds all memory for photos.
        """
        came = self._clock()
        lane = self._lanes[call.pipeline]
        place = self._arrive(call, lane, came)
        succeeded = False
        try:
            if place not in lane.inside:
                refusal = await self._turn_came[place]
                if refusal is not None:
                    raise refusal
            yield self._clock() - came
            succeeded = True
        finally:
            self._depart(place, lane, succeeded)

    def hold_until(self, moment: float | None) -> None:
        """Nothing is answered before about ``moment``, when Triton begins anew with all that is inside.

        Said again as often as one knows better; None: it is back now. Who comes is let in, or not, by the
        wait that this makes.
        """
        for lane in set(self._lanes.values()):
            lane.hold_until(moment, self._clock())

    def draining(self) -> None:
        """Refuse new calls from now on; those inside, those waiting and those being read are finished."""
        self._draining = True

    async def empty(self) -> None:
        """Returns when nobody is inside, waits, or has room reserved."""
        await self._empty.wait()

    def figures(self) -> AdmissionFigures:
        """For metrics and autoscaling."""
        now = self._clock()
        inside = Counter(place.call.pipeline for lane in set(self._lanes.values()) for place in lane.inside)
        return AdmissionFigures(
            inside={name: inside[name] for name in self._lanes},
            waiting={name: lane.waiting[name] for name, lane in self._lanes.items()},
            service_s={name: lane.service[name].mean_s for name, lane in self._lanes.items()},
            wait_s={name: lane.prudent_wait(len(lane.line), now) for name, lane in self._lanes.items()},
            refused={reason: self._refusals.counted[reason] for reason in Refusal},
            held_bytes=self._budget.held,
        )

    def _arrive(self, call: Call, lane: Lane, now: float) -> Place:
        """The call's slot, or its place in line; a future tells it when its turn comes."""
        reservation = self._reserved.get(call.request_id)
        if self._draining and reservation is None:
            raise self._refusals.stopping()
        wait = self._check_wait(call, now)
        if reservation is None:
            self._take_room(call, len(call.request), 0)
        else:  # read and paid for: what the request's form adds to the body is not refused any more
            del self._reserved[call.request_id]
            self._budget.take(call.caller.name, len(call.request) - reservation.size)
        self._of_caller[call.caller.name] += 1
        self._empty.clear()
        if lane.has_free_slot:
            return lane.enter(call, now)
        place = lane.join(call)
        loop = asyncio.get_running_loop()
        turn_came = self._turn_came[place] = loop.create_future()
        timer = loop.call_later(wait.allowed_s, self._outwaited, place, lane, wait)
        turn_came.add_done_callback(lambda _: timer.cancel())
        return place

    def _depart(self, place: Place, lane: Lane, succeeded: bool) -> None:
        """Undoes `_arrive`, at whatever point the call had come to."""
        now, caller = self._clock(), place.call.caller.name
        if place in lane.inside:
            lane.leave(place, succeeded, now)
            while lane.line and lane.has_free_slot:
                turn_came = self._turn_came.pop(lane.enter_next(now))
                if not turn_came.done():  # or else its caller has just left, and departs with the slot
                    turn_came.set_result(None)
        elif self._turn_came.pop(place, None):
            lane.give_up(place)
        self._budget.take(caller, -len(place.call.request))
        self._of_caller[caller] -= 1
        if not self._of_caller[caller]:
            del self._of_caller[caller]
        self._tell_if_empty()

    def _outwaited(self, place: Place, lane: Lane, wait: Wait) -> None:
        """The wait is over, and the turn has not come."""
        turn_came = self._turn_came.get(place)
        if turn_came is None or turn_came.done():  # the turn came, or the caller left, in this very moment
            return
        del self._turn_came[place]
        lane.give_up(place)
        now = self._clock()
        retry_after_s = lane.return_after(place.call, lane.wait_of(place.call, now).excess_s, now)
        turn_came.set_result(self._refusals.outwaited(wait, retry_after_s))

    def _check_wait(self, call: Call, now: float) -> Wait:
        """What the call may count on.

        Raises:
            FacewrightError: there is no point in letting it in.
        """
        lane, most = self._lanes[call.pipeline], call.caller.most_at_once
        if call.deadline is not None and call.deadline <= now:
            raise self._refusals.too_late(call, now)
        if most is not None and self._of_caller[call.caller.name] >= most:
            raise self._refusals.caller(call, lane.service[call.pipeline].mean_s)
        wait = lane.wait_of(call, now)
        if wait.seconds > wait.allowed_s:
            raise self._refusals.wait(wait, lane.return_after(call, wait.excess_s, now))
        return wait

    def _take_room(self, call: Call, total: int, before: int) -> None:
        """Room for ``total`` bytes of a call that has ``before`` of them.

        Raises:
            FacewrightError: there is none.
        """
        budget, caller = self._budget, call.caller.name
        if total > budget.size:
            raise self._refusals.size(total, budget.size)
        if total > before and not budget.has_room(caller, total - before):
            retry_after_s = self._lanes[call.pipeline].return_after(call, 0.0, self._clock())
            raise self._refusals.memory(total - before, budget.held, budget.size, retry_after_s)
        budget.take(caller, total - before)

    def _tell_if_empty(self) -> None:
        if not self._of_caller and not self._reserved:
            self._empty.set()
