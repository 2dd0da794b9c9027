"""What breaks is noticed and mended, what cannot be served is refused. Each test has its own server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from facewright.cli import main
from facewright.gateway.api_keys import KeyHolder, key_hash, new_key
from facewright.server import Server, ServerFailedError, ServerSettings
from facewright.server.probe import main as probe
from facewright_client import (
    Client,
    Connection,
    FacewrightClientError,
    OverloadedError,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
    UnauthenticatedError,
)
from tests.server.doors import over_rest
from tests.server.processes import alive, answered, eventually, living
from tests.support.certificates import make_certificate

pytestmark = pytest.mark.server
ONCE = Connection(retries=RetryPolicy(attempts=1))


def test_sigterm_loses_nobody(tmp_path: Path, photo: bytes) -> None:
    """``facewright serve`` with eight in the house or at its door, which lets four in at once."""
    output = tmp_path / "serve.txt"
    ports = ("--grpc-port=0", "--http-port=0", "--cores=2", "--longest-wait=60")
    serve = [sys.executable, "-m", "facewright.cli", "serve", *ports, f"--log={tmp_path / 'triton.log'}"]
    with output.open("w") as file, subprocess.Popen(serve, stdout=file, stderr=file) as process:
        try:
            assert eventually(lambda: "Ctrl-C" in output.read_text(), 120), output.read_text()
            url = output.read_text().split("gRPC")[1].split()[0]
            with Client(url, ONCE) as client:
                before = answered(url, "find_face")
                waiting = [client.submit(photo, texture_size=512) for _ in range(8)]
                assert eventually(lambda: answered(url, "find_face") > before, 30)
                process.send_signal(signal.SIGTERM)
                files = {pending.result(60).glb for pending in waiting}
                assert len(files) == 1
                with pytest.raises(ServerUnavailableError):
                    client.create(photo)
            assert process.wait(60) == 0
        finally:
            process.kill()


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

    others = _tritons()
    starting = threading.Thread(target=start)
    starting.start()
    # While the first photos are under way: Triton itself, asked to end then, crashes.
    assert eventually(lambda: any(len(living(pid)) >= 8 for pid in _tritons() - others), 60)
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
        assert eventually(lambda: any(pending.done() for pending in waiting), 30)
        refused = over_rest(server, "/v1/avatars?texture_size=2048&texture_format=png", photo)
        assert (refused.status, int(refused.headers["Retry-After"]) >= 1) == (503, True)
        told = json.loads(refused.body)
        assert (told["code"], told["stage"]) == ("OVERLOADED", "gateway")
        assert 0 < told["retry_after_s"] <= int(refused.headers["Retry-After"])
        outcomes: list[bool] = []
        told_when: list[float | None] = []
        for pending in waiting:
            try:
                outcomes.append(len(pending.result(60).glb) > 0)
            except OverloadedError as error:
                outcomes.append(False)
                told_when.append(error.retry_after_s)
        assert outcomes.count(True) >= 1, "those whose turn came in time are served to the end"
        assert outcomes.count(False) >= 4
        assert all(told_when), "when to come back"
        # Who comes later is served at once: the queue was given up, not worked off.
        assert client.create(photo, texture_size=512).glb


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_encrypted_connections_with_keys(
    tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, key = make_certificate(tmp_path, "localhost"), new_key()
    certificate = str(shown.certificate)
    (tmp_path / "keys.toml").write_text(KeyHolder("game", (key_hash(key),), metrics=True).line())
    (tmp_path / "keys.toml").chmod(0o600)
    settings = ServerSettings(
        grpc_port=0,
        http_port=0,
        log=tmp_path / "triton.log",
        tls_certificate=shown.certificate,
        tls_key=shown.key,
        keys=tmp_path / "keys.toml",
    )
    tls = Tls(shown.certificate, server_name="localhost")
    with Server(settings) as server:
        with Client(server.url, Connection(tls=tls, key=key)) as client:
            made = client.create(photo, texture_size=512).glb
        answer = over_rest(server, "/v1/avatars?texture_size=512", photo, authorization=f"Bearer {key}")
        assert answer.body == made
        exported = over_rest(server, "/v1/metrics", authorization=f"Bearer {key}").body.decode()
        assert 'facewright_caller_requests_total{caller="game"} 2' in exported.splitlines()

        for stranger in (None, new_key()):
            with (
                Client(server.url, Connection(tls=tls, key=stranger)) as client,
                pytest.raises(UnauthenticatedError),
            ):
                client.create(photo)
            headers = {"authorization": f"Bearer {stranger}"} if stranger else {}
            for path, body in (("/v1/avatars", photo), ("/v1/metrics", None)):
                assert over_rest(server, path, body, **headers).status == 401
        assert over_rest(server, "/v1/health/ready").status == 200, "probes have no key"
        plain = Connection(timeout_s=3.0, retries=RetryPolicy(attempts=1))
        with Client(server.url, plain) as client, pytest.raises(FacewrightClientError):
            client.create(photo)

        localhost = f"localhost:{server.settings.grpc_port}"
        by_name = ["--tls-authority", certificate, "--tls-server-name"]
        assert probe(["--tls-authority", certificate, localhost, "60"]) == 0
        monkeypatch.setenv("FACEWRIGHT_KEY", key)
        assert probe([*by_name, "localhost", server.url, "60"]) == 0
        assert probe([*by_name, "elsewhere.example", server.url, "5"]) == 1
        arguments = ["create", str(tmp_path / "me.jpg"), "-o", str(tmp_path / "me.glb")]
        (tmp_path / "me.jpg").write_bytes(photo)
        assert main([*arguments, "--server", localhost, "--tls-authority", certificate]) == 0


def test_a_port_in_use_is_an_error_at_once(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = ServerSettings(grpc_port=port, http_port=0, log=tmp_path / "triton.log")
        with pytest.raises(ServerFailedError, match=str(port)):
            Server(settings).start()


def _tritons() -> set[int]:
    """Of all servers in this process."""
    return {pid for pid, line in living(os.getpid()).items() if "tritonserver" in line}
