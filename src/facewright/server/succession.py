"""Which Triton serves, which one is to come, and which ones go: one look at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.gateway.gateway import Gateway
from facewright.server.retirement import Retirement
from facewright.server.watched_triton import Fault, StartFailedError, WatchedTriton

_LOG: Final = logging.getLogger("facewright.server")
#: Failed starts in a row after which another cannot help, while nothing serves.
_MOST_FAILED_STARTS: Final = 4
_LONGEST_PAUSE_S: Final = 30.0
#: What a Triton that was replaced has in its hands it may finish in as long; what a dead stage had not.
_FINISHES_WITHIN_S: Final = 60.0
_FAULTY_FINISHES_WITHIN_S: Final = 4.0
#: One that is whole, and gives way to new weights, has refinements of minutes, too.
_CALLS_END_WITHIN_S: Final = 600.0
#: Until the next spare is loaded: what was lost with the one before is computed first, on the same cores.
_SPARE_AFTER_S: Final = 5.0


class Succession:
    """Tritons one after the other: the next loads while what is left of the one before serves.

    For one thread, but for `reload`.

    Args:
        another: starts the next Triton.
        gateway: what asks them.
        retirement: where those go that are not asked any more.
        spare: whether one that nobody asks is kept loaded.
    """

    def __init__(
        self, another: Callable[[], WatchedTriton], gateway: Gateway, retirement: Retirement, spare: bool
    ) -> None:
        self._another, self._gateway, self._retirement, self._spare = another, gateway, retirement, spare
        self.serving: WatchedTriton | None = None
        #: The one that loads; with a spare it stays here, loaded, until it is wanted.
        self._coming: WatchedTriton | None = None
        self._told_spare: WatchedTriton | None = None
        self._wanted = False
        self._asked_to_reload = False
        self._reloading = False
        self._failed_starts = 0
        self._next_start = 0.0
        self._next_spare = 0.0
        self._start_takes_s = 0.0
        #: How often another one had to take over; how often one was asked to, did, and did not.
        self.replaced = 0
        self.reloaded = 0
        self.not_reloaded = 0
        self.why_not = ""

    @property
    def loads(self) -> bool:
        """Whether a Triton is being loaded."""
        return self._coming is not None and self._coming is not self._told_spare

    def reload(self) -> None:
        """Let another Triton take over, which reads weights and configurations anew."""
        self._asked_to_reload = True

    def look(self) -> None:
        """See what is wrong, what has come, and what is to be done next.

        Raises:
            StartFailedError: nothing serves, and trying again cannot help.
            FacewrightError: the same, of the first start: what is missing here.
        """
        self._look_at_serving()
        if self._asked_to_reload:
            self._asked_to_reload = False
            self._begin_reload()
        if self._coming is None and self._is_due():
            self._start()
        if self._coming is not None:
            self._look_at_coming(self._coming)

    def end(self, patience_s: float) -> None:
        """Let all of them go; what they have in their hands they may finish within ``patience_s``."""
        for triton in (self.serving, self._coming):
            if triton is not None:
                self._retirement.add(triton, patience_s if triton is self.serving else 0.0)
        self.serving = self._coming = None

    def _look_at_serving(self) -> None:
        fault = self.serving.fault() if self.serving is not None else None
        if self.serving is None or fault is None:
            return
        if not self._wanted or self._reloading or not fault.serves:
            self._begin_replacement(fault)
        if not fault.serves:
            self._gateway.forget(self.serving.socket, self._start_takes_s)
            self._retirement.add(self.serving, _FAULTY_FINISHES_WITHIN_S)
            self.serving = None

    def _begin_replacement(self, fault: Fault) -> None:
        _LOG.error("replacing Triton: %s", fault.reason)
        self._gateway.blame(fault.request_ids)
        self.replaced += 1
        self._wanted, self._reloading = True, False

    def _begin_reload(self) -> None:
        if self._coming is not None:  # it has read what there was before
            self._retirement.add(self._coming, 0.0)
            self._coming = None
        self._wanted = self._reloading = True
        self._next_start = 0.0

    def _is_due(self) -> bool:
        now = time.monotonic()
        needed = self.serving is None or self._wanted or (self._spare and now >= self._next_spare)
        return needed and now >= self._next_start

    def _start(self) -> None:
        try:
            self._coming = self._another()
        except (FacewrightError, OSError) as error:
            if self.serving is None and not self.replaced:
                raise
            self._start_failed(str(error))

    def _look_at_coming(self, coming: WatchedTriton) -> None:
        try:
            has_come = coming.started()
        except StartFailedError as failure:
            self._coming = None
            self._retirement.add(coming, 0.0)
            self._start_failed(str(failure))
            return
        if not has_come:
            return
        self._start_takes_s = coming.start_took_s
        if self._wanted or self.serving is None:
            self._take_over(coming)
        elif coming.fault() is not None:  # a spare that broke is no spare
            self._coming = None
            self._retirement.add(coming, 0.0)
        elif coming is not self._told_spare:
            self._told_spare = coming
            _LOG.info("a spare Triton is loaded")

    def _take_over(self, coming: WatchedTriton) -> None:
        self._gateway.use(coming.socket, coming.process.metrics_port)
        if self.serving is not None:
            calls_s = _CALLS_END_WITHIN_S if self._reloading else 0.0
            self._retirement.add(self.serving, _FINISHES_WITHIN_S, calls_s)
        if self.replaced:
            self._next_spare = time.monotonic() + _SPARE_AFTER_S
        self.serving, self._coming = coming, None
        if self._reloading:
            self.reloaded += 1
            _LOG.info("Triton was loaded anew")
        self._wanted = self._reloading = False
        self._failed_starts = 0

    def _start_failed(self, why: str) -> None:
        self._failed_starts += 1
        if self.serving is None and (not self.replaced or self._failed_starts >= _MOST_FAILED_STARTS):
            raise StartFailedError(why)
        self._next_start = time.monotonic() + min(2.0**self._failed_starts - 1, _LONGEST_PAUSE_S)
        if self._reloading and self.serving is not None:  # the old one serves on
            self._wanted = self._reloading = False
            self.not_reloaded, self.why_not = self.not_reloaded + 1, why
            _LOG.error("not loaded anew, the one before serves on: %s", why)
            return
        _LOG.error("starting Triton again: %s", why)
