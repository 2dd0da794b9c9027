"""What breaks is noticed and mended: dead stages, servers, supervisors. Each test has its own server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facewright.cli import main
from facewright.server import Server, ServerFailedError, ServerSettings
from facewright.server.probe import main as probe
from facewright.server.shared_memory import remove_stale_regions
from facewright_client import (
    Client,
    Connection,
    FacewrightClientError,
    OverloadedError,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
)

pytestmark = pytest.mark.server
SERVE = (
    *(sys.executable, "-m", "facewright.cli", "serve"),
    *("--grpc-port=0", "--http-port=0", "--metrics-port=0"),
)
ONCE = Connection(retries=RetryPolicy(attempts=1))


def _processes(parent: int) -> dict[int, str]:
    """Living children of a process: pid -> command line."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == parent and fields[0] not in "ZX":
                found[int(stat.parent.name)] = stat.with_name("cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def _eventually(holds: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def test_a_killed_stage_is_restarted_and_everyone_is_answered(tmp_path: Path, photo: bytes) -> None:
    log = tmp_path / "triton.log"
    with Server(ServerSettings(grpc_port=0, http_port=0, metrics_port=0, log=log)) as server:
        first = server.pid
        folder = next(
            path for path in Path(tempfile.gettempdir()).glob("facewright-*") if str(path) in _command(first)
        )
        stage = next(pid for pid, command in _processes(first).items() if "bake_texture" in command)
        answers: list[int] = []
        failures: list[Exception] = []

        def player() -> None:
            try:
                with Client(server.url) as client:
                    answers.append(len(client.create(photo, texture_size=512, timeout_s=90).glb))
            except Exception as error:
                failures.append(error)

        players = [threading.Thread(target=player) for _ in range(6)]
        for thread in players:
            thread.start()
        time.sleep(0.3)
        os.kill(stage, signal.SIGKILL)
        for thread in players:
            thread.join()
        assert not failures
        assert len(answers) == 6
        assert server.restarts == 1
        assert server.pid != first
        assert not _processes(first)
        assert not folder.exists()

        # Triton itself, too.
        os.kill(server.pid, signal.SIGKILL)
        with Client(server.url) as client:
            assert client.create(photo, texture_size=512, timeout_s=90).glb
        assert server.restarts == 2
        last = server.pid
    assert not Path(f"/proc/{last}").exists()
    assert not list(Path("/dev/shm").glob(f"facewright-{os.getpid()}-*"))


def test_nothing_is_left_after_everything_was_killed(tmp_path: Path, photo: bytes) -> None:
    """SIGKILL to the supervisor and every stage at once: no process and no shared memory stay."""
    output = tmp_path / "serve.txt"
    with output.open("w") as file:
        supervisor = subprocess.Popen(
            [*SERVE, f"--log={tmp_path / 'triton.log'}"],
            stdout=file,
            stderr=file,
        )
    try:
        assert _eventually(lambda: "ready" in output.read_text(), 120), output.read_text()
        url = output.read_text().split("gRPC")[1].split()[0]
        with Client(url, ONCE) as client:
            assert client.create(photo, texture_size=512).glb
            triton = next(
                pid for pid, command in _processes(supervisor.pid).items() if "tritonserver" in command
            )
            stages = list(_processes(triton))
            assert len(stages) >= 6
            for pid in (supervisor.pid, triton, *stages):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(ServerUnavailableError):
                client.create(photo)
        supervisor.wait()
        assert _eventually(lambda: not any(_alive(pid) for pid in (triton, *stages)), 10)
        assert not list(Path("/dev/shm").glob(f"facewright-{supervisor.pid}-*"))
    finally:
        supervisor.kill()


def test_a_killed_supervisor_takes_its_server_along(tmp_path: Path) -> None:
    output = tmp_path / "serve.txt"
    with output.open("w") as file:
        supervisor = subprocess.Popen(
            [*SERVE, f"--log={tmp_path / 'triton.log'}"],
            stdout=file,
            stderr=file,
        )
    # While stages load: the worst moment, regions still have names.
    assert _eventually(lambda: bool(list(Path("/dev/shm").glob(f"facewright-{supervisor.pid}-*"))), 60)
    triton = next(pid for pid, command in _processes(supervisor.pid).items() if "tritonserver" in command)
    supervisor.kill()
    supervisor.wait()
    assert _eventually(lambda: not _alive(triton), 40)
    # Triton that is stopped while it loads leaves the names of its regions; every server sweeps as it starts.
    remove_stale_regions()
    assert not _left_by(supervisor.pid)


def test_regions_of_dead_servers_are_swept_and_living_ones_kept() -> None:
    dead = Path("/dev/shm/facewright-4194999-123-test")
    living = Path(f"/dev/shm/facewright-{os.getpid()}-{_start_time()}-test")
    for path in (dead, living):
        path.write_bytes(b"")
    try:
        assert remove_stale_regions() >= 1
        assert not dead.exists()
        assert living.exists()
    finally:
        living.unlink()


def test_waiting_too_long_is_overload(photo: bytes) -> None:
    settings = ServerSettings(
        grpc_port=0, http_port=0, metrics_port=0, longest_wait_ms=700, log=Path("/dev/null")
    )
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
        metrics_port=0,
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
        settings = ServerSettings(grpc_port=port, http_port=0, metrics_port=0, log=tmp_path / "triton.log")
        with pytest.raises(ServerFailedError, match=str(port)):
            Server(settings).start()


def _left_by(pid: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"facewright-{pid}-*"))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def _start_time() -> str:
    return Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
