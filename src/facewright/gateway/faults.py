"""Failures of ours, which nobody foresaw: the log says where, and the caller is told nothing."""

from __future__ import annotations

import logging
import traceback
from typing import Final

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

_LOG: Final = logging.getLogger("facewright.gateway")


def log_fault(what: str, error: BaseException) -> None:
    """Write a fault to the log: where it was, but not its words, which may quote what was sent.

    Args:
        what: failed, such as ``request 4bf9…``.
        error: that nobody foresaw.
    """
    where = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("%s failed: %s at\n%s", what, type(error).__name__, where)


def internal_error(named: str) -> FacewrightError:
    """What a caller is told of a fault.

    Args:
        named: how the log names it, such as ``this answer's X-Request-Id``.
    """
    return FacewrightError(
        ErrorCode.INTERNAL,
        "the server failed on this request",
        f"try again; the server's log names the fault under {named}",
    )
