"""Times the steps of a stage."""

from __future__ import annotations

import time
from collections.abc import Callable


class LapClock:
    """Milliseconds between laps, by name; started when made.

    Args:
        between_laps: called after each lap; ends the work by raising.
    """

    def __init__(self, between_laps: Callable[[], None] = lambda: None) -> None:
        self.milliseconds: dict[str, float] = {}
        self._between_laps = between_laps
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Ends the step ``name``; the next one begins."""
        now = time.perf_counter()
        self.milliseconds[name] = round(1e3 * (now - self._last), 3)
        self._last = now
        self._between_laps()
