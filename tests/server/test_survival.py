"""What breaks is noticed and mended, what cannot be served is refused. Each test has its own server."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.cli import main
from facewright.server import Server, ServerFailedError, ServerSettings
from facewright.server.probe import main as probe
from facewright_client import (
    Client,
    Connection,
    FacewrightClientError,
    OverloadedError,
    RetryPolicy,
    Tls,
)
from tests.server.processes import alive, answered, command, eventually, living

pytestmark = pytest.mark.server
ONCE = Connection(retries=RetryPolicy(attempts=1))
#: Sends again as long as its time limit allows: how long a restart takes is the machine's affair.
PATIENT = Connection(timeout_s=300.0, retries=RetryPolicy(attempts=1000))


@pytest.fixture
def as_first_process() -> Iterator[None]:
    """As in a container, processes whose parent has died become children of this one."""
    set_child_subreaper = 36
    prctl = ctypes.CDLL(None).prctl
    assert prctl(set_child_subreaper, 1) == 0
    yield
    prctl(set_child_subreaper, 0)


@pytest.mark.usefixtures("as_first_process")
def test_a_killed_stage_is_restarted_and_everyone_is_answered(tmp_path: Path, photo: bytes) -> None:
    log = tmp_path / "triton.log"
    with Server(ServerSettings(grpc_port=0, http_port=0, log=log)) as server:
        first = server.pid
        folder = next(
            path for path in Path(tempfile.gettempdir()).glob("facewright-*") if str(path) in command(first)
        )
        stage = next(pid for pid, command in living(first).items() if "bake_texture" in command)
        before = answered(server.url, "find_face")
        answers: list[int] = []
        failures: list[Exception] = []
        #: Who has been let in never hears of it.
        retried: list[FacewrightClientError] = []

        def player() -> None:
            try:
                with Client(server.url, replace(PATIENT, on_retry=retried.append)) as client:
                    answers.append(len(client.create(photo, texture_size=512).glb))
            except Exception as error:
                failures.append(error)

        players = [threading.Thread(target=player) for _ in range(6)]
        for thread in players:
            thread.start()
        # A request is on its way to the stage.
        assert eventually(lambda: answered(server.url, "find_face") > before, 60)
        os.kill(stage, signal.SIGKILL)
        for thread in players:
            thread.join()
        assert not failures
        assert not [error for error in retried if not isinstance(error, OverloadedError)]
        assert len(answers) == 6
        assert server.restarts == 1
        assert server.pid != first
        assert eventually(lambda: not living(first) and not folder.exists(), 30)

        # Triton itself, too, once it has started: players are answered before every stage has been asked.
        assert server.wait_ready(60)
        second = server.pid
        os.kill(second, signal.SIGKILL)
        with Client(server.url, PATIENT) as client:
            assert client.create(photo, texture_size=512).glb
        assert server.restarts == 2
        assert eventually(lambda: _waited_for(second), 30), "a stage is left that nobody waited for"
        last = server.pid
    assert not Path(f"/proc/{last}").exists()
    assert not list(Path("/dev/shm").glob(f"facewright-{os.getpid()}-*"))


def test_a_probe_without_an_answer_hides_no_death(tmp_path: Path) -> None:
    """A stage hangs, so that a probe waits a minute for it; meanwhile another dies."""
    settings = ServerSettings(grpc_port=0, http_port=0, probe_every_s=1.0, log=tmp_path / "triton.log")
    with Server(settings) as server:
        first = server.pid
        stages = living(first).items()
        package = next(pid for pid, command in stages if "package_avatar" in command)
        preview = next(pid for pid, command in stages if "render_preview" in command)
        os.kill(package, signal.SIGSTOP)
        # A probe is under way: the stage before has worked for it.
        before = answered(server.url, "bake_texture")
        assert eventually(lambda: answered(server.url, "bake_texture") > before, 30)
        os.kill(preview, signal.SIGKILL)
        assert eventually(lambda: server.restarts == 1, 25)
    assert not alive(first)


@pytest.mark.parametrize("raised", [SystemExit("boo"), KeyboardInterrupt("boo"), MemoryError("boo")])
def test_whatever_ends_the_supervisor_reaches_who_waits(
    raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(_names: object) -> None:
        raise raised

    monkeypatch.setattr("facewright.server.supervised_server.served_pipelines", ends)
    server = Server(ServerSettings(grpc_port=0, http_port=0))
    server.launch()
    with pytest.raises((ServerFailedError, MemoryError), match="boo"):
        server.wait_ready(5)


def test_a_server_that_is_stopped_while_it_starts(tmp_path: Path) -> None:
    server = Server(ServerSettings(grpc_port=0, http_port=0, log=tmp_path / "triton.log"))
    failures: list[Exception] = []

    def start() -> None:
        try:
            server.start()
        except ServerFailedError as error:
            failures.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    # While the first photos are under way: Triton itself has started, waits for them and crashes.
    assert eventually(lambda: _is_loaded(server), 60)
    server.stop()
    starting.join(20)
    assert not starting.is_alive()
    assert "Signal" not in (tmp_path / "triton.log").read_text(), "it was asked to end"
    assert "stopped before it was ready" in str(failures[0])
    with pytest.raises(ServerFailedError, match="make another Server"):
        server.start()


def test_waiting_too_long_is_overload(photo: bytes) -> None:
    # One bake at a time, wherever this runs: the queue is many times longer than the longest wait.
    settings = ServerSettings(grpc_port=0, http_port=0, cores=1, longest_wait_s=2.0, log=Path("/dev/null"))
    with Server(settings) as server, Client(server.url, ONCE) as client:
        waiting = [client.submit(photo, texture_size=2048, texture_format="png") for _ in range(16)]
        outcomes = []
        for pending in waiting:
            try:
                outcomes.append(len(pending.result(60).glb) > 0)
            except OverloadedError:
                outcomes.append(False)
        assert outcomes.count(True) >= 1, "those whose turn came in time are served to the end"
        assert outcomes.count(False) >= 4
        # Who comes later is served at once: the queue was given up, not worked off.
        assert client.create(photo, texture_size=512).glb


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_encrypted_connections(tmp_path: Path, photo: bytes) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    settings = ServerSettings(
        grpc_port=0,
        http_port=0,
        log=tmp_path / "triton.log",
        tls_certificate=certificate,
        tls_key=key,
    )
    with Server(settings) as server:
        with Client(server.url, Connection(tls=Tls(authority=certificate))) as client:
            assert client.create(photo, texture_size=512).glb
        plain = Connection(timeout_s=3.0, retries=RetryPolicy(attempts=1))
        with Client(server.url, plain) as client, pytest.raises(FacewrightClientError):
            client.create(photo)
        assert probe(["--tls-authority", str(certificate), server.url, "60"]) == 0
        by_name = ["--tls-authority", str(certificate), "--tls-server-name"]
        assert probe([*by_name, "localhost", server.url, "60"]) == 0
        assert probe([*by_name, "elsewhere.example", server.url, "5"]) == 1
        assert probe([server.url, "5"]) == 1
        arguments = ["create", str(tmp_path / "me.jpg"), "-o", str(tmp_path / "me.glb")]
        (tmp_path / "me.jpg").write_bytes(photo)
        assert main([*arguments, "--server", server.url, "--tls-authority", str(certificate)]) == 0


def test_a_port_in_use_is_an_error_at_once(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = ServerSettings(grpc_port=port, http_port=0, log=tmp_path / "triton.log")
        with pytest.raises(ServerFailedError, match=str(port)):
            Server(settings).start()


def _waited_for(group: int) -> bool:
    try:
        os.waitpid(-group, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def _is_loaded(server: Server) -> bool:
    try:
        return answered(server.settings.http_port, "find_face") >= 0
    except OSError:
        return False
