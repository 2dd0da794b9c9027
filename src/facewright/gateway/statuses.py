"""Every error code as gRPC and HTTP say it."""

from __future__ import annotations

from typing import Final

import grpc

from facewright_client.contract import ErrorCode

#: gRPC has RESOURCE_EXHAUSTED for OVERLOADED, but it is UNAVAILABLE that clients and proxies try again.
GRPC_STATUS: Final = {
    ErrorCode.BAD_PHOTO: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.PHOTO_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.NO_FACE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.FACE_TOO_SMALL: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.BAD_OPTION: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorCode.OVERLOADED: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.DEADLINE_EXCEEDED: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.CANCELLED: grpc.StatusCode.CANCELLED,
    ErrorCode.ENGINE_MISMATCH: grpc.StatusCode.INTERNAL,
    ErrorCode.INTERNAL: grpc.StatusCode.INTERNAL,
}
