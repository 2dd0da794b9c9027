"""gRPC, imported so that its own log stays off standard error.

Its lines ("E0000 …", "WARNING: All log messages before absl::InitializeLog() …", words on forks) tell again
what the typed errors say. Whoever sets ``GRPC_VERBOSITY`` gets them, and a
program that imported gRPC before this package is left as it is.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

_VARIABLE: Final = "GRPC_VERBOSITY"


def import_grpc() -> None:
    """Import gRPC, which reads its verbosity then and never again."""
    if "grpc" in sys.modules or _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = "NONE"
    try:
        import_module("grpc")
    finally:
        # Programs that this one starts decide for themselves.
        del os.environ[_VARIABLE]
