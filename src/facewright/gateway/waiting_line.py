"""The order in which waiting calls are taken: urgent ones first, callers in turn, each caller's in order."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from facewright.gateway.call import Call


@dataclass(eq=False)
class Place:
    """Where a call stands.

    Attributes:
        call: who stands there.
        priority: 0 is taken before 1.
        turn: the round in which it is taken; a caller has one call in each.
        number: of its arrival.
    """

    call: Call
    priority: int
    turn: int
    number: int

    def __lt__(self, other: Place) -> bool:
        """Whether its turn comes first."""
        return (self.priority, self.turn, self.number) < (other.priority, other.turn, other.number)


@dataclass
class _Turns:
    next: int
    waiting: int = 0


class WaitingLine:
    """Round robin over callers as start-time fair queueing does it, with one call as the unit of work.

    Each call is given its round when it comes: the caller's next one, or the one that is being served where
    that is later. So a sorted list is the order, and a place in it says how many are ahead: joining, leaving
    and being taken cost a binary search and a move of pointers, with ten thousand waiting as with ten.

    Priorities are strict: while urgent calls keep coming, others may wait until they are refused.

    Source: Goyal, Vin, Cheng, "Start-time fair queuing", SIGCOMM 1996: start tags with unit lengths.
    """

    def __init__(self) -> None:
        self._line: list[Place] = []
        self._numbers = 0
        self._served: dict[int, int] = {}  # by priority, the round of the call last taken
        self._turns: dict[tuple[str, int], _Turns] = {}
        self._forget_at = 64

    def __len__(self) -> int:
        return len(self._line)

    def place_of(self, call: Call) -> Place:
        """Where a call would stand that came now."""
        priority = max(call.priority, call.caller.best_priority)
        turns = self._turns.get((call.caller.name, priority))
        turn = max(self._served.get(priority, 0), turns.next if turns else 0)
        self._numbers += 1
        return Place(call, priority, turn, self._numbers)

    def ahead_of(self, call: Call) -> int:
        """How many would be taken before a call that came now."""
        return bisect_left(self._line, self.place_of(call))

    def join(self, call: Call) -> Place:
        """Stand in line."""
        self._forget()
        place = self.place_of(call)
        turns = self._turns.setdefault((call.caller.name, place.priority), _Turns(place.turn))
        turns.next = place.turn + 1
        turns.waiting += 1
        insort(self._line, place)
        return place

    def leave(self, place: Place) -> None:
        """Stop waiting, without having been taken."""
        del self._line[bisect_left(self._line, place)]
        turns = self._turns[place.call.caller.name, place.priority]
        turns.waiting -= 1
        if not turns.waiting:  # whoever gave all its calls up does not stand behind the rounds they had
            turns.next = min(turns.next, self._served.get(place.priority, 0) + 1)

    def take(self) -> Place:
        """Whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        place = self._line.pop(0)
        self._turns[place.call.caller.name, place.priority].waiting -= 1
        self._served[place.priority] = place.turn
        return place

    def _forget(self) -> None:
        """Drops callers whose rounds are over; now and then, so that it costs nothing by the call."""
        if not self._line:
            self._turns.clear()
        elif len(self._turns) > self._forget_at:
            self._turns = {
                (name, priority): turns
                for (name, priority), turns in self._turns.items()
                if turns.waiting or turns.next > self._served.get(priority, 0)
            }
            self._forget_at = 64 + 2 * len(self._turns)
