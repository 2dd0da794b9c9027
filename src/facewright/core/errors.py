"""One error hierarchy; its wire form, ``{"code", "stage", "message", "hint"}``: see the client's contract.

Where it is worth to come back, the wire form has ``retry_after_s``, too.
"""

from __future__ import annotations

import json
from typing import Self

from facewright_client.contract import ErrorCode


class FacewrightError(Exception):
    """A failure with a code, in words that say what was wrong (with the value seen) and what to do about it.

    Args:
        code: one of the contract's error codes.
        message: what was wrong, with the value seen. Never contains a photo's bytes.
        hint: what the caller can do.
        stage: the pipeline stage that failed; adapters fill it in.
        retry_after_s: seconds after which the same request is likely to be taken.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        hint: str,
        stage: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.stage = stage
        self.retry_after_s = retry_after_s

    def members(self) -> dict[str, str | float]:
        """The wire form's members."""
        form: dict[str, str | float] = {
            "code": str(self.code),
            "stage": self.stage,
            "message": self.message,
            "hint": self.hint,
        }
        if self.retry_after_s is not None:
            form["retry_after_s"] = round(self.retry_after_s, 3)
        return form

    def to_json(self) -> str:
        """The wire form, one line of JSON."""
        return json.dumps(self.members())

    def afresh(self) -> Self:
        """The same failure without where it came from: a traceback keeps what its frames hold, photos among
        it, and grows each time that it is raised.
        """
        another = type(self).__new__(type(self), *self.args)
        another.__dict__.update(self.__dict__)
        return another

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.hint})"
