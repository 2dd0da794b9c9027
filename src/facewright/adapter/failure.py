"""How a request that failed is answered, and what the log says of it. Runs inside Triton's Python stub."""

from __future__ import annotations

import traceback
from typing import Any, Final

import triton_python_backend_utils as pb_utils

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

_STATUS: Final = {
    ErrorCode.BAD_PHOTO: "INVALID_ARG",
    ErrorCode.PHOTO_TOO_LARGE: "INVALID_ARG",
    ErrorCode.NO_FACE: "INVALID_ARG",
    ErrorCode.FACE_TOO_SMALL: "INVALID_ARG",
    ErrorCode.BAD_CODE: "INVALID_ARG",
    ErrorCode.BAD_OPTION: "INVALID_ARG",
    ErrorCode.OVERLOADED: "UNAVAILABLE",
    ErrorCode.DEADLINE_EXCEEDED: "CANCELLED",
    ErrorCode.CANCELLED: "CANCELLED",
    ErrorCode.ENGINE_MISMATCH: "INTERNAL",
    ErrorCode.INTERNAL: "INTERNAL",
}
#: Whoever reads the log shall not take it for an error without words.
_WITHHELD: Final = "(its text is left out of the log: it may quote a photo or a name)"


def failure_of(error: Exception, stage: str) -> FacewrightError:
    """What the caller of ``stage`` is told: its own errors as they are, and of all others the kind alone."""
    if isinstance(error, FacewrightError):
        failure = error
    elif isinstance(error, MemoryError):
        failure = FacewrightError(ErrorCode.OVERLOADED, "the server ran out of memory", "retry later")
    else:
        frames = "".join(traceback.format_tb(error.__traceback__))
        pb_utils.Logger.log_error(f"{stage}: {type(error).__name__} {_WITHHELD}\n{frames}")
        failure = FacewrightError(
            ErrorCode.INTERNAL,
            f"{stage} failed with {type(error).__name__}",
            "the server's log has the traceback",
        )
    failure.stage = failure.stage or stage
    return failure


def error_response(failure: FacewrightError) -> Any:
    """Triton's answer: the error's wire form, under the status that fits."""
    status = getattr(pb_utils.TritonError, _STATUS[failure.code])
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(failure.to_json(), status))
