"""What breaks is noticed and mended, what cannot be served is refused. Each test has its own server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

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
        outcomes = []
        advised: list[float | None] = []
        for pending in waiting:
            try:
                outcomes.append(len(pending.result(60).glb) > 0)
            except OverloadedError as error:
                advised.append(error.retry_after_s)
                outcomes.append(False)
        assert outcomes.count(True) >= 1, "those whose turn came in time are served to the end"
        assert outcomes.count(False) >= 4
        assert all(advised), "each is told when to come again"
        # Who comes later is served at once: the queue was given up, not worked off.
        assert client.create(photo, texture_size=512).glb


@pytest.fixture
def encrypted(tmp_path: Path) -> ServerSettings:
    """Of a server with a certificate for ``localhost``."""
    if shutil.which("openssl") is None:
        pytest.skip("makes a certificate with openssl")
    shown = make_certificate(tmp_path, "localhost")
    return ServerSettings(
        grpc_port=0,
        http_port=0,
        log=tmp_path / "triton.log",
        tls_certificate=shown.certificate,
        tls_key=shown.key,
    )


def test_encrypted_connections(encrypted: ServerSettings, tmp_path: Path, photo: bytes) -> None:
    certificate = encrypted.tls_certificate
    with Server(encrypted) as server:
        with Client(server.url, Connection(tls=Tls(certificate, server_name="localhost"))) as client:
            made = client.create(photo, texture_size=512).glb
        assert over_rest(server, "/v1/avatars?texture_size=512", photo).body == made
        plain = Connection(timeout_s=3.0, retries=RetryPolicy(attempts=1))
        with Client(server.url, plain) as client, pytest.raises(FacewrightClientError):
            client.create(photo)
        localhost = f"localhost:{server.settings.grpc_port}"
        assert probe(["--tls-authority", str(certificate), localhost, "60"]) == 0
        by_name = ["--tls-authority", str(certificate), "--tls-server-name"]
        assert probe([*by_name, "localhost", server.url, "60"]) == 0
        assert probe([*by_name, "elsewhere.example", server.url, "5"]) == 1
        assert probe([server.url, "5"]) == 1
        arguments = ["create", str(tmp_path / "me.jpg"), "-o", str(tmp_path / "me.glb")]
        (tmp_path / "me.jpg").write_bytes(photo)
        assert main([*arguments, "--server", localhost, "--tls-authority", str(certificate)]) == 0


def test_keys_over_both_protocols(encrypted: ServerSettings, tmp_path: Path, photo: bytes) -> None:
    keys, key = tmp_path / "keys.toml", new_key()
    keys.write_text(KeyHolder("game", hashes=(key_hash(key),)).line())
    keys.chmod(0o600)
    tensor = triton.InferInput("PHOTO", [1, len(photo)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
    with Server(replace(encrypted, pipelines=("avatar_twin",), keys=keys)) as server:
        connection = Connection(tls=Tls(encrypted.tls_certificate, server_name="localhost"))
        with triton.InferenceServerClient(**connection.triton_arguments(server.url)) as raw:

            def status(authorization: dict[str, str]) -> str:
                try:
                    raw.infer("avatar_twin", [tensor], headers=authorization)
                except InferenceServerException as error:
                    return str(error.status())
                return "OK"

            def asked(**authorization: str) -> tuple[str, int]:
                answer = over_rest(server, "/v1/avatars", photo, **authorization)
                return status(authorization), answer.status

            assert asked(authorization=f"Bearer {key}") == ("OK", 200)
            assert asked() == ("StatusCode.UNAUTHENTICATED", 401)
            assert asked(authorization=f"Bearer {new_key()}") == ("StatusCode.UNAUTHENTICATED", 401)
        assert over_rest(server, "/v1/health/ready").status == 200, "probes have no key"
        assert over_rest(server, "/v1/metrics").status == 401
        exported = over_rest(server, "/v1/metrics", authorization=f"Bearer {key}").body.decode()
        assert re.search(r'^facewright_caller_requests_total\{.*caller="game".*\} 2$', exported, re.MULTILINE)


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
