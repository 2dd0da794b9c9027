"""Slots for calls of one kind, who waits for them, and for how long that will be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from facewright.gateway.call import Call
from facewright.gateway.service_time import ServiceTime
from facewright.gateway.waiting_line import Place, WaitingLine

#: A machine does next about what it did last, for about as long: up to then everything may take twice as long
#: as is predicted, and the ups and downs of what takes longer level out, as the root of its time does. Who
#: would come to its turn in time even so is let wait. At five times the load, on a machine whose speed
#: wanders (tests/gateway/test_admission_under_load.py), one in forty of those refused had waited with a
#: quarter more than is predicted, one in four hundred with this; as many were answered: no slot is empty.
_STEADY_S: Final = 1.0
#: And what is to end next may take so much of a call's time longer, whatever of it is over. This counts where
#: one takes longer than anybody waits: with calls of 6 s five times fewer waited in vain.
_ONE_VARIES: Final = 0.5
#: Nobody is told to come back later than this after the house could take a call: many of those refused never
#: return, and whoever does would wait for ghosts.
_LATEST_RETURN_S: Final = 30.0


@dataclass(frozen=True)
class LaneSettings:
    """Bounds of one lane.

    Args:
        at_once: calls inside.
        longest_wait_s: for a slot.
    """

    at_once: int
    longest_wait_s: float


@dataclass(frozen=True)
class Wait:
    """What awaits a call that comes now.

    Attributes:
        seconds: until work on it begins, prudently.
        allowed_s: longest wait after which it is worth beginning.
        for_deadline: whether it is its deadline that allows no more.
        for_replacement: whether it is Triton's absence that makes it wait longer than allowed.
    """

    seconds: float
    allowed_s: float
    for_deadline: bool
    for_replacement: bool

    @property
    def excess_s(self) -> float:
        """Seconds after which it would be let wait, if nobody else came."""
        return max(self.seconds - self.allowed_s, 0.0)


class _Stay(NamedTuple):
    """Of a call that is inside: since when, and how many were when it came, itself among them."""

    since: float
    among: int


class Lane:
    """Arithmetic of slots and a line; all times are seconds of one monotonic clock. Never waits itself.

    Args:
        settings: its bounds.
        service: service times of the pipelines whose calls come here.
    """

    def __init__(self, settings: LaneSettings, service: Mapping[str, ServiceTime]) -> None:
        self.settings = settings
        self.service = service
        self.line = WaitingLine()
        self.inside: dict[Place, _Stay] = {}
        self.waiting: Counter[str] = Counter()  # by pipeline
        self._resumed = -math.inf  # Triton works on what is inside since then, or from then on
        self._next_return = -math.inf

    @property
    def has_free_slot(self) -> bool:
        """Whether a call that comes now enters at once; while anybody waits there is none."""
        return len(self.inside) < self.settings.at_once

    def hold_until(self, moment: float | None, now: float) -> None:
        """Nothing is worked on before ``moment``, when all that is inside starts anew; None: it did now."""
        self._resumed = min(self._resumed, now) if moment is None else moment

    def wait_of(self, call: Call, now: float) -> Wait:
        """Prediction for a call that comes now.

        A wait of nothing is never too long: where a slot is free, a call that is likely to miss its deadline
        is let try. The mean says little of one photo, and nobody is kept waiting by it.
        """
        absence = max(self._resumed - now, 0.0)
        seconds = self.prudent_wait(0 if self.has_free_slot else self.line.ahead_of(call), now)
        to_deadline = math.inf if call.deadline is None else call.deadline - now
        in_time = to_deadline - self.service[call.pipeline].mean_s
        allowed = max(min(self.settings.longest_wait_s, in_time), 0.0)
        return Wait(seconds, allowed, in_time < self.settings.longest_wait_s, absence > allowed)

    def prudent_wait(self, ahead: int, now: float) -> float:
        """Seconds after which a slot is all but surely free for whoever has ``ahead`` calls before it."""
        absence = max(self._resumed - now, 0.0)
        if self.has_free_slot:
            return absence
        expected = self.wait_behind(ahead, now) - absence
        one = sum(self.service[place.call.pipeline].mean_s for place in self.inside) / len(self.inside)
        return absence + expected + max(min(expected, math.sqrt(expected * _STEADY_S)), _ONE_VARIES * one)

    def wait_behind(self, ahead: int, now: float) -> float:
        """Expected seconds until a slot is free for whoever has ``ahead`` calls before it in line.

        Slot i becomes free at rᵢ, and again each time the mean s of those waiting has passed. The first k
        slots have given n + 1 turns at (Σ rᵢ + (n + (1 - k) / 2) s) / k: exact where they are evenly
        staggered. Slots that become free later than that, such as those of calls that hang, take no part.
        """
        if self.has_free_slot:
            return max(self._resumed - now, 0.0)
        mean, total, wait = self._mean_of_waiting(), 0.0, math.inf
        for k, free in enumerate(self._free_after(now), 1):
            if wait <= free:
                break
            total += free
            wait = max((total + (ahead + (1 - k) / 2) * mean) / k, free)
        return wait

    def return_after(self, call: Call, excess_s: float, now: float) -> float:
        """Seconds after which one that is refused does well to come back: each gets a turn of its own.

        So those refused together do not return together, whatever client they use. They come as far apart
        as calls leave; where that reaches too far, the next ones share the turns of the first.

        Args:
            call: the one that is refused.
            excess_s: `Wait.excess_s` of it; 0 where another reason than its wait refuses it.
            now: the moment.
        """
        first = now + excess_s
        apart = self.service[call.pipeline].mean_s / self.settings.at_once
        self._next_return = max(self._next_return, first) + apart
        if self._next_return > first + _LATEST_RETURN_S:
            self._next_return = first + apart
        return self._next_return - now

    def enter(self, call: Call, now: float) -> Place:
        """Take a slot that nobody waits for."""
        self._next_return = -math.inf  # there is room: those who were told to come later have not
        place = self.line.place_of(call)
        self.inside[place] = _Stay(now, len(self.inside) + 1)
        return place

    def join(self, call: Call) -> Place:
        """Stand in line."""
        self.waiting[call.pipeline] += 1
        return self.line.join(call)

    def give_up(self, place: Place) -> None:
        """Stand in line no more."""
        self.waiting[place.call.pipeline] -= 1
        self.line.leave(place)

    def enter_next(self, now: float) -> Place:
        """Whose turn it is takes a slot."""
        place = self.line.take()
        self.waiting[place.call.pipeline] -= 1
        self.inside[place] = _Stay(now, len(self.inside) + 1)
        return place

    def leave(self, place: Place, succeeded: bool, now: float) -> None:
        """Free the slot, and learn from the time it was taken for.

        What is asked of the service time is how long others wait, and so how long a call takes with every
        slot taken. With fewer it says two things: then it takes as long at least, and longer at most in
        proportion, where all share one thing. So calls that come alone do not make the next crowd be
        promised what a machine that is shared cannot do.

        Of a call that failed only one thing is known, that it would have taken longer than until now. Where
        none succeed any more because all take longer than anybody waits, this is how one finds out. What was
        inside while Triton was away says nothing.
        """
        among = len(self.inside)
        stay, service = self.inside.pop(place), self.service[place.call.pipeline]
        stayed = now - stay.since
        if stay.since >= self._resumed and (succeeded or stayed > service.mean_s):
            service.observe(stayed, stayed * self.settings.at_once / min(among, stay.among))

    def _free_after(self, now: float) -> list[float]:
        """Expected seconds until each slot is free, the first one first.

        A call that is overdue is expected to take as long again as it is overdue.
        """
        began, mean_s = self._resumed - now, {name: service.mean_s for name, service in self.service.items()}
        ages = [(stay.since - now, place.call.pipeline) for place, stay in self.inside.items()]
        return sorted([abs((age if age > began else began) + mean_s[name]) for age, name in ages])

    def _mean_of_waiting(self) -> float:
        """Seconds of one of those in line."""
        if not self.line:
            return 0.0
        return sum(n * self.service[name].mean_s for name, n in self.waiting.items()) / len(self.line)
