"""A real Triton server around the stages: `Server` starts, supervises and stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facewright.server.server_settings import ServerSettings
    from facewright.server.supervised_server import Server, ServerFailedError

__all__ = ["Server", "ServerFailedError", "ServerSettings"]


def __getattr__(name: str) -> Any:
    # Loaded at first use: stages import their adapter from this package, and must not pay for gRPC.
    if name == "ServerSettings":
        from facewright.server.server_settings import ServerSettings

        return ServerSettings
    if name in __all__:
        from facewright.server import supervised_server

        return getattr(supervised_server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
