"""How long one request of a pipeline takes, learnt from those that were answered."""

from __future__ import annotations

from typing import Final

#: Weight of the newest request once enough were seen: half of what is believed stems from the last seven.
_NEWEST: Final = 0.1
#: One request counts at most as so many times the mean: an outlier of any length moves it by a fifth, and of
#: a machine that became ten times slower a third is believed after seven, and all but a tenth after thirty.
_LONGEST: Final = 3.0
#: No pipeline is faster; a mean of zero could never rise again.
_SHORTEST_S: Final = 1e-4


class ServiceTime:
    """Exponentially weighted mean of bounded times.

    The mean and not the median: the wait behind a mixture of short and long requests is their sum.

    Args:
        first_guess_s: what is believed before any was seen; it counts as one request.

    Attributes:
        mean_s: seconds that one request takes among as many as are let in.
    """

    def __init__(self, first_guess_s: float) -> None:
        self.mean_s = max(first_guess_s, _SHORTEST_S)
        self._seen = 1

    def observe(self, at_least_s: float, at_most_s: float) -> None:
        """One request would have taken a time between these; the nearest one to what is believed counts."""
        self._seen += 1
        nearest = min(max(self.mean_s, at_least_s), at_most_s)
        bounded = min(max(nearest, _SHORTEST_S), _LONGEST * self.mean_s)
        self.mean_s += max(1 / self._seen, _NEWEST) * (bounded - self.mean_s)
