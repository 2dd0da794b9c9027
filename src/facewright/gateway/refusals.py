"""Why a call is not let in: in words, with a time to come back, and counted."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call
from facewright.gateway.lane import Wait
from facewright_client.contract import ErrorCode

_COME_BACK = "retry after the time that is said, or add servers"


class Refusal(StrEnum):
    """Reasons, as metrics name them."""

    WAIT = "wait"  # it would wait longer than anybody may
    DEADLINE = "deadline"  # it would not be answered before its deadline
    OUTWAITED = "outwaited"  # it was let wait, and its turn did not come
    CALLER = "caller"  # its caller has as many as it may
    MEMORY = "memory"  # the budget of bytes is taken
    SIZE = "size"  # it alone is more than the budget
    REPLACING = "replacing"  # there is no Triton at present
    STOPPING = "stopping"


class Refusals:
    """What callers are told.

    Attributes:
        counted: refusals by reason.
    """

    def __init__(self) -> None:
        self.counted: Counter[Refusal] = Counter()

    def _refusal(
        self, reason: Refusal, message: str, hint: str = _COME_BACK, retry_after_s: float | None = None
    ) -> FacewrightError:
        self.counted[reason] += 1
        return FacewrightError(_CODES.get(reason, ErrorCode.OVERLOADED), message, hint, "", retry_after_s)

    def too_late(self, call: Call, now: float) -> FacewrightError:
        """Its deadline is over already."""
        self.counted[Refusal.DEADLINE] += 1
        return FacewrightError(
            ErrorCode.DEADLINE_EXCEEDED,
            f"the deadline had passed {now - (call.deadline or now):.3f} s before the call came to its turn",
            "allow more time",
        )

    def wait(self, wait: Wait, retry_after_s: float) -> FacewrightError:
        """Its wait is predicted to be too long."""
        expected = f"{wait.seconds:.1f} s"
        if wait.for_replacement:
            message = f"what serves is being replaced and is back in about {expected}"
            return self._refusal(Refusal.REPLACING, message, "another server, or retry later", retry_after_s)
        if wait.for_deadline:
            message = f"the call might wait {expected}, and its deadline allows {wait.allowed_s:.1f} s"
            return self._refusal(Refusal.DEADLINE, message, retry_after_s=retry_after_s)
        message = f"the call might wait {expected}, and nobody waits longer than {wait.allowed_s:.1f} s here"
        return self._refusal(Refusal.WAIT, message, retry_after_s=retry_after_s)

    def outwaited(self, wait: Wait, retry_after_s: float) -> FacewrightError:
        """Its wait is over all the same."""
        why = "its deadline allows no more" if wait.for_deadline else "nobody waits longer here"
        message = f"the call's turn did not come within {wait.allowed_s:.1f} s, and {why}"
        return self._refusal(Refusal.OUTWAITED, message, retry_after_s=retry_after_s)

    def caller(self, call: Call, retry_after_s: float) -> FacewrightError:
        """Its caller has as many calls here as it may."""
        message = f"this caller has {call.caller.most_at_once} calls here, as many as it may have at once"
        hint = "wait for one of them to be answered, or ask for a higher limit"
        return self._refusal(Refusal.CALLER, message, hint, retry_after_s)

    def memory(self, more: int, held: int, budget: int, retry_after_s: float) -> FacewrightError:
        """The memory for requests is taken, or its caller's share of it."""
        message = (
            f"{more:,} bytes are more than this caller may hold now; {held:,} of {budget:,} bytes are taken"
        )
        return self._refusal(Refusal.MEMORY, message, retry_after_s=retry_after_s)

    def size(self, size: int, budget: int) -> FacewrightError:
        """It would never fit."""
        message = f"the request has {size:,} bytes, and this server holds {budget:,} for all requests"
        return self._refusal(Refusal.SIZE, message, "send a smaller photo")

    def stopping(self) -> FacewrightError:
        """The house is emptied."""
        return self._refusal(Refusal.STOPPING, "this server is stopping", "another server, or retry later")


_CODES = {
    Refusal.SIZE: ErrorCode.PHOTO_TOO_LARGE,
    Refusal.REPLACING: ErrorCode.UNAVAILABLE,
    Refusal.STOPPING: ErrorCode.UNAVAILABLE,
}
