"""How a caller wants to be answered: ``Prefer`` (RFC 7240) and ``Idempotency-Key``
(draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers

from facewright.gateway.rest.errors import RequestError

#: No preference makes anybody wait longer, seconds.
_LONGEST_WAIT_S: Final = 60.0
_WAIT: Final = re.compile(r"wait\s*=\s*\"?([0-9]{1,6})\"?")
#: A string as RFC 8941 writes it, which the draft asks for, or bare, as many send it.
_KEY: Final = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~]{1,255})')


@dataclass(frozen=True)
class Handling:
    """What a request's headers say.

    Attributes:
        asynchronous: whether a job is wanted in place of an answer that would take longer than `wait_s`.
        wait_s: seconds.
        key: under which the same request is done once; None: none.
    """

    asynchronous: bool
    wait_s: float
    key: str | None

    @classmethod
    def of(cls, headers: Headers) -> Handling:
        """Preferences that are not understood are ignored, as RFC 7240 has it.

        Raises:
            RequestError: 400: the key is none.
        """
        preferences = [
            one.partition(";")[0].strip().lower()
            for header in headers.getlist("prefer")
            for one in header.split(",")
        ]
        waits = [float(found[1]) for one in preferences if (found := _WAIT.fullmatch(one))]
        keys = headers.getlist("idempotency-key")
        found = _KEY.fullmatch(keys[0].strip()) if len(keys) == 1 else None
        if keys and found is None:
            raise RequestError(
                400,
                "Idempotency-Key is no key, or there are several",
                'send one of 1 to 255 characters, such as a UUID: "8e03978e-40d5-43dd-bc93-6894a57f9324"',
            )
        wait_s = min(waits[0], _LONGEST_WAIT_S) if waits else 0.0
        return cls("respond-async" in preferences, wait_s, None if found is None else found[1] or found[2])
