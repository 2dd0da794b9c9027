"""SIGKILL to ``facewright serve``: no process stays, and what else does is removed by the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from facewright.core.errors import FacewrightError
from facewright.server import Server, ServerSettings
from facewright_client import Client, Connection, RetryPolicy, ServerUnavailableError
from tests.server.processes import alive, answered, eventually, living

pytestmark = pytest.mark.server
ONCE = Connection(retries=RetryPolicy(attempts=1))


class Supervisor:
    """``facewright serve`` in a process of its own.

    Args:
        folder: for what it prints and logs.
    """

    def __init__(self, folder: Path) -> None:
        self._output = folder / "serve.txt"
        ports = ("--grpc-port=0", "--http-port=0")
        with self._output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "facewright.cli", "serve", *ports, f"--log={folder / 'triton.log'}"],
                stdout=file,
                stderr=file,
            )
        self.traces = f"facewright-{self.process.pid}-"

    def await_ready(self) -> None:
        """Wait until every stage has answered."""
        assert eventually(lambda: "ready" in self._output.read_text(), 120), self._output.read_text()

    @property
    def url(self) -> str:
        """For a client."""
        return self._output.read_text().split("gRPC")[1].split()[0]

    def answered(self, stage: str) -> int:
        """Requests that a stage has answered since the start."""
        return answered(self.url, stage)

    def server_processes(self) -> set[int]:
        """Triton and the stages: each has a path or a region of this server among its arguments."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if self.traces in path.read_text():
                    found.add(int(path.parent.name))
            except OSError:
                continue
        return found

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def folders(self) -> list[Path]:
        """The server's folders."""
        return list(Path(tempfile.gettempdir()).glob(f"{self.traces}*"))

    def regions(self) -> list[Path]:
        """The server's regions that have names."""
        return list(Path("/dev/shm").glob(f"{self.traces}*"))


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """One that has just been started."""
    started = Supervisor(tmp_path)
    yield started
    started.kill()


def kill_and_look(supervisor: Supervisor) -> None:
    """No process stays, and when another server starts no folder and no region."""
    processes = supervisor.server_processes()
    assert processes
    supervisor.kill()
    assert eventually(lambda: not any(alive(pid) for pid in processes), 20)
    # One that was about to be started when its parent died ends a moment later.
    assert eventually(lambda: not supervisor.server_processes(), 20)
    # Where Triton died first, its successor may have begun, with a folder of its own.
    assert len(supervisor.folders()) >= 2, "nobody was left to remove the gateway's and Triton's"
    free_ports = ServerSettings(grpc_port=0, http_port=0, networks=Path("/nonexistent"))
    with pytest.raises(FacewrightError, match="holds no exported network"):
        Server(free_ports).start()
    assert not supervisor.folders()
    assert not supervisor.regions()


@pytest.mark.parametrize("processes", [1, 2, 6])
def test_while_stages_load(processes: int, supervisor: Supervisor) -> None:
    assert eventually(lambda: len(supervisor.server_processes()) >= processes, 60)
    kill_and_look(supervisor)


def test_while_a_stage_works(supervisor: Supervisor, photo: bytes) -> None:
    supervisor.await_ready()
    fitted, baked = supervisor.answered("fit_head"), supervisor.answered("bake_texture")
    with Client(supervisor.url, ONCE) as client:
        pending = client.submit(photo, texture_size=2048, texture_format="png")
        assert eventually(lambda: supervisor.answered("fit_head") > fitted, 30)
        assert supervisor.answered("bake_texture") == baked
        assert not supervisor.regions()
        kill_and_look(supervisor)
        with pytest.raises(ServerUnavailableError):
            pending.result(60)


def test_together_with_triton_while_stages_hang(supervisor: Supervisor, photo: bytes) -> None:
    """A stopped process does nothing, whatever it notices or is told."""
    supervisor.await_ready()
    (triton,) = living(supervisor.process.pid)
    with Client(supervisor.url, ONCE) as client:
        for stage in living(triton):
            os.kill(stage, signal.SIGSTOP)
        os.kill(triton, signal.SIGKILL)
        kill_and_look(supervisor)
        with pytest.raises(ServerUnavailableError):
            client.create(photo)
