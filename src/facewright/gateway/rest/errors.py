"""Failures as HTTP says them: the one JSON form, and the status code that fits (RFC 9110, section 15)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response

from facewright.core.errors import FacewrightError
from facewright.gateway.faults import internal_error
from facewright.gateway.statuses import STATUS
from facewright_client.contract import ErrorCode

#: What BAD_REQUEST can be beside 400.
BAD_REQUEST_STATUS: Final = (404, 405, 406, 408, 409, 410, 415, 422, 431, 501)

JSON: Final = "application/json"


class RequestError(FacewrightError):
    """BAD_REQUEST with a status code of its own.

    Args:
        status: of `BAD_REQUEST_STATUS`, or 400.
        message, hint: as of every error.
        headers: that this status code wants, such as ``Allow``.
    """

    def __init__(
        self, status: int, message: str, hint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, message, hint)
        self.status = status
        self.headers = dict(headers or {})


class KServeOverHttpError(RequestError):
    """A path of KServe's protocol over HTTP (version 2, or 1), which is spoken over gRPC alone. Its clients,
    Triton's among them, show the member ``error`` of a failure and nothing else.

    Args:
        grpc_port: of the door that speaks it; None: not known.
    """

    def __init__(self, grpc_port: int | None) -> None:
        port = "its gRPC port, 8001 by default" if grpc_port is None else f"port {grpc_port}"
        super().__init__(
            404,
            "KServe's protocol is served over gRPC only, and this is the port of HTTP",
            f"use tritonclient.grpc or another gRPC client at {port}, or POST the photo itself to "
            "/v1/avatars here (GET /v1/docs)",
        )

    def members(self) -> dict[str, str | float]:
        """The wire form's members, and ``error``."""
        return {**super().members(), "error": f"{self.message}; {self.hint}"}


def fault() -> FacewrightError:
    """What a caller is told of a fault of ours: nothing."""
    return internal_error("this answer's X-Request-Id")


def http_status(error: FacewrightError) -> int:
    """The status code of an error."""
    return error.status if isinstance(error, RequestError) else STATUS[error.code].http


def wire_members(error: FacewrightError) -> dict[str, str | float]:
    """An error's members in JSON, wherever it is told; its stage is as over gRPC."""
    return {**error.members(), "stage": error.stage or "gateway"}


def wire_form(error: FacewrightError) -> bytes:
    """The same as text."""
    return json.dumps(wire_members(error), ensure_ascii=False).encode()


def error_response(error: FacewrightError) -> Response:
    """An error as an answer."""
    status = http_status(error)
    headers = dict(error.headers) if isinstance(error, RequestError) else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="facewright"'
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(math.ceil(error.retry_after_s), 1))
    return Response(wire_form(error), status, headers, JSON)
