"""One real Triton server for the tests that do not break it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from facewright.adapter.marks import VARIABLE as MARKS_VARIABLE
from facewright.gateway.marks import Marks
from facewright.gateway.marks_socket import MarksSocket
from facewright.server import Server, ServerSettings
from facewright_client import Client

PHOTO = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="session")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Triton's log."""
    return tmp_path_factory.mktemp("server") / "triton.log"


class HeardMarks:
    """What the stages of a server say, heard on an event loop in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began: list[tuple[str, str]] = []
        self.marks = Marks(lambda request_id, stage: self._began.append((request_id, stage)))

    def stages_of(self, request_id: str) -> list[str]:
        """Those that began to work on a request, in order."""
        return [stage for named, stage in self._began if named == request_id]


@pytest.fixture(scope="session")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeardMarks]:
    """The marks of `server`."""
    heard = HeardMarks(tmp_path_factory.mktemp("marks") / "marks")
    loop = asyncio.new_event_loop()

    async def listen() -> MarksSocket:
        return MarksSocket(heard.path, heard.marks)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    yield heard
    loop.call_soon_threadsafe(listening.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="session")
def server(server_log: Path, heard: HeardMarks) -> Iterator[Server]:
    """A running server on free ports."""
    running = Server(ServerSettings(grpc_port=0, http_port=0, metrics_port=0, log=server_log))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARKS_VARIABLE, str(heard.path))
        running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[Client]:
    """A client of it."""
    with Client(server.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A portrait, 512 x 512."""
    return PHOTO.read_bytes()
