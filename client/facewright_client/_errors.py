"""One exception per error code, and how they are read from what Triton answers."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from facewright_client.contract import ErrorCode

#: Codes of failures that no server reports.
WRONG_SERVER: Final = "WRONG_SERVER"
CLIENT_CLOSED: Final = "CLIENT_CLOSED"


class FacewrightClientError(Exception):
    """A request failed.

    Attributes:
        code: the contract's error code, or ``WRONG_SERVER`` or ``CLIENT_CLOSED``.
        message: what was wrong.
        hint: what to do about it.
        stage: the pipeline stage that failed; "" where none was reached.
        retry_after_s: seconds after which the server expects to take the same request; None: it did not say.
    """

    code: str = ""

    def __init__(self, message: str, hint: str = "", stage: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint
        self.stage = stage
        self.retry_after_s: float | None = None


def of_photo(error: FacewrightClientError, number: int) -> FacewrightClientError:
    """The same error with the number, from 1, of the photo that it is about."""
    numbered = type(error)(f"photo {number}: {error.message}", error.hint, error.stage)
    numbered.retry_after_s = error.retry_after_s
    return numbered


class BadPhotoError(FacewrightClientError):
    """The photo cannot be decoded."""

    code = ErrorCode.BAD_PHOTO


class PhotoTooLargeError(FacewrightClientError):
    """The photo has more bytes or pixels than the server takes."""

    code = ErrorCode.PHOTO_TOO_LARGE


class NoFaceError(FacewrightClientError):
    """No human face was found in the photo."""

    code = ErrorCode.NO_FACE


class FaceTooSmallError(FacewrightClientError):
    """The face has too few pixels for an avatar."""

    code = ErrorCode.FACE_TOO_SMALL


class BadCodeError(FacewrightClientError):
    """A code is none, damaged, of a newer version, or of another head model."""

    code = ErrorCode.BAD_CODE


class BadOptionError(FacewrightClientError):
    """An option is unknown, of the wrong type or out of range."""

    code = ErrorCode.BAD_OPTION


class OverloadedError(FacewrightClientError):
    """The server has more work than it can do in time; safe to retry after a pause."""

    code = ErrorCode.OVERLOADED


class DeadlineExceededError(FacewrightClientError):
    """The request's time was over before the answer was there."""

    code = ErrorCode.DEADLINE_EXCEEDED


class CancelledError(FacewrightClientError):
    """The request was cancelled."""

    code = ErrorCode.CANCELLED


class EngineMismatchError(FacewrightClientError):
    """The server's networks do not fit its hardware or libraries."""

    code = ErrorCode.ENGINE_MISMATCH


class InternalServerError(FacewrightClientError):
    """The server has a defect; its log has the details."""

    code = ErrorCode.INTERNAL


class ServerUnavailableError(FacewrightClientError):
    """No server answered, or it is restarting; safe to retry."""

    code = ErrorCode.UNAVAILABLE


class WrongServerError(FacewrightClientError):
    """What answers is no Facewright server, or cannot be trusted: asking again gives the same."""

    code = WRONG_SERVER


class BadRequestError(FacewrightClientError):
    """The request itself was refused: an unknown pipeline, or tensors that are not the contract's."""

    code = ErrorCode.BAD_REQUEST


class UnauthenticatedError(FacewrightClientError):
    """The server asks for an API key, and was given none or one that it does not know."""

    code = ErrorCode.UNAUTHENTICATED


class ClientClosedError(FacewrightClientError):
    """The client was closed before it was asked; nothing was sent."""

    code = CLIENT_CLOSED

    def __init__(
        self, message: str = "the client is closed", hint: str = "open a new one", stage: str = ""
    ) -> None:
        super().__init__(message, hint, stage)


_BY_CODE: Final[dict[str, type[FacewrightClientError]]] = {
    str(error.code): error for error in FacewrightClientError.__subclasses__()
}
#: Failures after which the same request may succeed, and which left nothing half done.
RETRYABLE: Final = (OverloadedError, ServerUnavailableError)

#: What Triton says while a dead stage waits for the restart, and while models are unloaded before it.
_RESTARTING: Final = ("is not healthy", "has no available versions", "Server is stopping")
#: What says more is broken or means "do not come back".
_LONGEST_RETRY_S: Final = 3600.0
#: And of a model that is no pipeline from photos to avatars.
_NO_OUTPUT: Final = re.compile(r"unexpected inference output '(\w+)' for model '([^']+)'")
TIME_HINT: Final = "allow more time: timeout_s, or --timeout"
START_HINT: Final = "start a server with `facewright serve`, or check the address"


def error_from_answer(status: str, message: str) -> FacewrightClientError:
    """The exception for a failed call.

    Args:
        status: gRPC status, such as ``StatusCode.INTERNAL``.
        message: the status message: a stage's JSON somewhere in it, or Triton's own words.
    """
    wire = _wire_form(message)
    if wire is not None:
        kind = _BY_CODE.get(str(wire["code"]), InternalServerError)
        error = kind(*(str(wire[name]) for name in ("message", "hint", "stage")))
        error.retry_after_s = _seconds(wire.get("retry_after_s"))
        return error
    status = status.removeprefix("StatusCode.")
    if status == "UNAVAILABLE" or any(words in message for words in _RESTARTING):
        return ServerUnavailableError(message, START_HINT)
    if status == "DEADLINE_EXCEEDED":
        return DeadlineExceededError("no answer within the time allowed", TIME_HINT)
    if status == "CANCELLED":
        return CancelledError("the request was cancelled")
    if status == "UNIMPLEMENTED":
        return WrongServerError(
            f"another service than Triton answers: {message}",
            "check the address; gRPC's port is 8001 by default",
        )
    no_output = _NO_OUTPUT.search(message)
    if no_output and status in ("INVALID_ARGUMENT", "NOT_FOUND"):
        return BadRequestError(
            f"{no_output[2]} gives no {no_output[1]}: it does not make what is asked of it",
            "use a pipeline that makes avatars of photos: pipelines() lists them",
        )
    if status in ("INVALID_ARGUMENT", "NOT_FOUND"):
        return BadRequestError(
            message,
            "use a pipeline that it serves (pipelines() lists them), and the tensors of the contract",
        )
    return InternalServerError(message, "the server's log has the details")


def has_wire_form(message: str) -> bool:
    """Whether a message holds one of our server's failures."""
    return _wire_form(message) is not None


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 <= value < _LONGEST_RETRY_S else None


def _wire_form(message: str) -> dict[str, Any] | None:
    """The JSON in a status message; ensembles put their name before it."""
    start = message.find("{")
    if start < 0:
        return None
    try:
        fields, _ = json.JSONDecoder().raw_decode(message, start)
    except ValueError:
        return None
    if not (isinstance(fields, dict) and {"code", "stage", "message", "hint"} <= fields.keys()):
        return None
    return fields
