"""What stops an export: what was wrong with the value seen, and what to do about it."""

from __future__ import annotations

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode


class ExportError(FacewrightError):
    """A network could not be exported; nothing was written.

    Args:
        message: what was wrong, with the value seen.
        hint: what the model owner can do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(ErrorCode.INTERNAL, message, hint)
