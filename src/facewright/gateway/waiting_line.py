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

    Each call is given its round when it comes: the one after its caller's last, or the one after that which
    is being served. So a sorted list is the order, and a place in it says how many are ahead: joining,
    leaving and being taken cost a binary search and a move of pointers, with ten thousand waiting as with
    ten. A round that has begun takes nobody in, or ever new callers would make it last for ever.

    Priorities are strict: while urgent calls keep coming, others may wait until they are refused.

    Source: Goyal, Vin, Cheng, "Start-time fair queuing", SIGCOMM 1996: start tags with unit lengths.
    """

    def __init__(self) -> None:
        self._line: list[Place] = []
        self._numbers = 0
        self._served: dict[int, int] = {}  # by priority, the round of the call last taken
        self._turns: dict[tuple[str, int], _Turns] = {}  # by caller and priority, while any waits

    def __len__(self) -> int:
        return len(self._line)

    def place_of(self, call: Call) -> Place:
        """Where a call would stand that came now."""
        priority = max(call.priority, call.caller.best_priority)
        turns = self._turns.get((call.caller.name, priority))
        turn = max(self._served.get(priority, 0) + 1, turns.next if turns else 0)
        self._numbers += 1
        return Place(call, priority, turn, self._numbers)

    def ahead_of(self, call: Call) -> int:
        """How many are likely to be taken before a call that came now.

        Those that stand before it, and at least as many as if all who wait had one in each round until then.
        """
        place = self.place_of(call)
        rounds = place.turn - self._served.get(place.priority, 0) - 1
        return max(bisect_left(self._line, place), rounds * len(self._turns))

    def join(self, call: Call) -> Place:
        """Stand in line."""
        place = self.place_of(call)
        turns = self._turns.setdefault((call.caller.name, place.priority), _Turns(place.turn))
        turns.next = place.turn + 1
        turns.waiting += 1
        insort(self._line, place)
        return place

    def leave(self, place: Place) -> None:
        """Stop waiting, without having been taken."""
        del self._line[bisect_left(self._line, place)]
        self._waits_no_more(place)

    def take(self) -> Place:
        """Whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        place = self._line.pop(0)
        self._served[place.priority] = place.turn
        self._waits_no_more(place)
        return place

    def _waits_no_more(self, place: Place) -> None:
        whose = place.call.caller.name, place.priority
        turns = self._turns[whose]
        turns.waiting -= 1
        if not turns.waiting:
            del self._turns[whose]
        if not self._line:
            self._served.clear()
