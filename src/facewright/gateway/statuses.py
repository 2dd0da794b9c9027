"""Every error code as gRPC and HTTP say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from grpc import StatusCode

from facewright_client.contract import ErrorCode


class Status(NamedTuple):
    """One failure on both doors.

    Attributes:
        grpc: its status.
        http: its status code (RFC 9110, section 15).
    """

    grpc: StatusCode
    http: int


#: By error code. gRPC has RESOURCE_EXHAUSTED for OVERLOADED, but it is UNAVAILABLE that clients and proxies
#: try again, as they do after 503, which comes with ``Retry-After``. 422: the body is what it should be, and
#: nothing can be made of it.
STATUS: Final[Mapping[ErrorCode, Status]] = {
    ErrorCode.BAD_PHOTO: Status(StatusCode.INVALID_ARGUMENT, 422),
    ErrorCode.PHOTO_TOO_LARGE: Status(StatusCode.INVALID_ARGUMENT, 413),
    ErrorCode.NO_FACE: Status(StatusCode.INVALID_ARGUMENT, 422),
    ErrorCode.FACE_TOO_SMALL: Status(StatusCode.INVALID_ARGUMENT, 422),
    ErrorCode.BAD_CODE: Status(StatusCode.INVALID_ARGUMENT, 422),
    ErrorCode.BAD_OPTION: Status(StatusCode.INVALID_ARGUMENT, 400),
    ErrorCode.BAD_REQUEST: Status(StatusCode.INVALID_ARGUMENT, 400),
    ErrorCode.UNAUTHENTICATED: Status(StatusCode.UNAUTHENTICATED, 401),
    ErrorCode.OVERLOADED: Status(StatusCode.UNAVAILABLE, 503),
    ErrorCode.UNAVAILABLE: Status(StatusCode.UNAVAILABLE, 503),
    ErrorCode.DEADLINE_EXCEEDED: Status(StatusCode.DEADLINE_EXCEEDED, 504),
    ErrorCode.CANCELLED: Status(StatusCode.CANCELLED, 503),
    ErrorCode.ENGINE_MISMATCH: Status(StatusCode.INTERNAL, 500),
    ErrorCode.INTERNAL: Status(StatusCode.INTERNAL, 500),
}
