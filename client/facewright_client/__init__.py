"""Photo bytes in, a game-ready 3D head avatar out: the client of a Facewright server."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from facewright_client._async_client import AsyncClient
    from facewright_client._avatar import Avatar, RelitAvatar
    from facewright_client._client import Client
    from facewright_client._connection import Connection, RetryPolicy, Tls
    from facewright_client._errors import (
        BadCodeError,
        BadOptionError,
        BadPhotoError,
        BadRequestError,
        CancelledError,
        ClientClosedError,
        DeadlineExceededError,
        EngineMismatchError,
        FaceTooSmallError,
        FacewrightClientError,
        InternalServerError,
        NoFaceError,
        OverloadedError,
        PhotoTooLargeError,
        ServerUnavailableError,
        UnauthenticatedError,
        WrongServerError,
    )
    from facewright_client._metrics import ClientMetrics
    from facewright_client._pending import AsyncPendingAvatar, PendingAvatar
    from facewright_client._refinement import Refinement, RefinementProgress, RefinementStart

#: Loaded at first use: the server's stages import this package for its contract, and must not pay for gRPC.
_MODULES: Final = {
    "AsyncClient": "_async_client",
    "AsyncPendingAvatar": "_pending",
    "Avatar": "_avatar",
    "BadCodeError": "_errors",
    "BadOptionError": "_errors",
    "BadPhotoError": "_errors",
    "BadRequestError": "_errors",
    "CancelledError": "_errors",
    "Client": "_client",
    "ClientClosedError": "_errors",
    "ClientMetrics": "_metrics",
    "Connection": "_connection",
    "DeadlineExceededError": "_errors",
    "EngineMismatchError": "_errors",
    "FaceTooSmallError": "_errors",
    "FacewrightClientError": "_errors",
    "InternalServerError": "_errors",
    "NoFaceError": "_errors",
    "OverloadedError": "_errors",
    "PendingAvatar": "_pending",
    "PhotoTooLargeError": "_errors",
    "Refinement": "_refinement",
    "RefinementProgress": "_refinement",
    "RefinementStart": "_refinement",
    "RelitAvatar": "_avatar",
    "RetryPolicy": "_connection",
    "ServerUnavailableError": "_errors",
    "Tls": "_connection",
    "UnauthenticatedError": "_errors",
    "WrongServerError": "_errors",
}

__all__ = [
    "AsyncClient",
    "AsyncPendingAvatar",
    "Avatar",
    "BadCodeError",
    "BadOptionError",
    "BadPhotoError",
    "BadRequestError",
    "CancelledError",
    "Client",
    "ClientClosedError",
    "ClientMetrics",
    "Connection",
    "DeadlineExceededError",
    "EngineMismatchError",
    "FaceTooSmallError",
    "FacewrightClientError",
    "InternalServerError",
    "NoFaceError",
    "OverloadedError",
    "PendingAvatar",
    "PhotoTooLargeError",
    "Refinement",
    "RefinementProgress",
    "RefinementStart",
    "RelitAvatar",
    "RetryPolicy",
    "ServerUnavailableError",
    "Tls",
    "UnauthenticatedError",
    "WrongServerError",
]


#: Those that load gRPC.
_WITH_GRPC: Final = ("_async_client", "_client", "_pending", "_refinement")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _MODULES[name] in _WITH_GRPC:
        from facewright_client._quiet_grpc import import_grpc

        import_grpc()
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
