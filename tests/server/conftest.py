"""One real Triton server for the tests that do not break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from facewright.server import Server, ServerSettings
from facewright_client import Client

PHOTO = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="session")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Triton's log."""
    return tmp_path_factory.mktemp("server") / "triton.log"


@pytest.fixture(scope="session")
def server(server_log: Path) -> Iterator[Server]:
    """A running server on free ports."""
    settings = ServerSettings(grpc_port=0, http_port=0, log=server_log)
    with Server(settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Client]:
    """A client of it."""
    with Client(server.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A portrait, 512 x 512."""
    return PHOTO.read_bytes()


@pytest.fixture
def places() -> Iterator[Path]:
    """For temporary files, by a short name: those of sockets have 107 bytes at most."""
    with TemporaryDirectory(prefix="fw-", dir="/tmp") as folder:
        yield Path(folder)
