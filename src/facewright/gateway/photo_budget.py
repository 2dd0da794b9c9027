"""How many bytes of requests the house may hold, and whose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class PhotoBudget:
    """Bytes that are shared by whoever is there.

    A caller may hold as much as is left free: one that floods gets half of the budget, two a third each, and
    there is room for the next one always.

    Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM
    Transactions on Networking 6(2), 1998, with α = 1.

    Args:
        size: bytes in all.

    Attributes:
        held: bytes that are taken.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = 0
        self._by_caller: Counter[str] = Counter()

    def has_room(self, caller: str, more: int) -> bool:
        """Whether a caller may hold ``more`` bytes than it does."""
        return self._by_caller[caller] + more <= self.size - self.held

    def take(self, caller: str, more: int) -> None:
        """Hold ``more`` bytes for a caller; fewer where negative."""
        self.held += more
        self._by_caller[caller] += more
        if not self._by_caller[caller]:
            del self._by_caller[caller]


class Reservation:
    """Room for a body that is being read.

    Args:
        take: told the bytes that are wanted in all and those that it has; raises where there is no room.

    Attributes:
        size: bytes that it has.
    """

    def __init__(self, take: Callable[[int, int], None]) -> None:
        self._take = take
        self.size = 0

    def resize(self, size: int) -> None:
        """What is known of the body's size by now, bytes.

        Raises:
            FacewrightError: as `Admission.reserve` for want of memory; what was reserved stays so.
        """
        self._take(size, self.size)
        self.size = size
