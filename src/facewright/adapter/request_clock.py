"""When a request has waited too long: its own deadline, and the server's longest wait."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode


@dataclass(frozen=True)
class RequestClock:
    """The times that travel with a request, in seconds since 1970.

    Args:
        accepted: when the first stage took the photo.
        deadline: when the caller has no more use for the answer; 0: never.
    """

    accepted: float
    deadline: float

    @classmethod
    def from_info(cls, info: bytes) -> RequestClock:
        """The clock in a ``PHOTO_INFO``, or in a ``FIT_INFO``, which carries the former as ``photo``."""
        fields = json.loads(info)
        photo = fields.get("photo", fields)
        return cls(float(photo["accepted_unix_s"]), float(photo["deadline_unix_s"]))

    def check(self, longest_wait_s: float, now: float | None = None) -> None:
        """Refuse work that comes too late.

        Args:
            longest_wait_s: age at which the server gives a request up; 0: never.
            now: for tests.

        Raises:
            FacewrightError: DEADLINE_EXCEEDED after the caller's deadline, OVERLOADED after the longest wait.
        """
        now = time.time() if now is None else now
        age = now - self.accepted
        if self.deadline and now > self.deadline:
            raise FacewrightError(
                ErrorCode.DEADLINE_EXCEEDED,
                f"{1e3 * age:.0f} ms have passed of {1e3 * (self.deadline - self.accepted):.0f} ms allowed",
                "raise deadline_ms, or ask for a smaller texture",
            )
        if longest_wait_s and age > longest_wait_s:
            raise FacewrightError(
                ErrorCode.OVERLOADED,
                f"the request is {age:.1f} s old; this server gives up after {longest_wait_s:.1f} s",
                "retry after a pause, or add servers",
            )
