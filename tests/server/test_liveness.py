"""What counts as alive: an answered photo, and nothing but that when statistics are slow."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from facewright.core.options import Option
from facewright.pipelines.stages import Pipeline
from facewright.pipelines.twin import AVATAR_TWIN
from facewright.server.liveness import LivenessProbe
from facewright_client import BadOptionError, FacewrightClientError, OverloadedError, ServerUnavailableError


@pytest.mark.parametrize(
    ("failure", "alive"),
    [
        (None, True),
        (OverloadedError("full", stage="fit_head"), True),
        (ServerUnavailableError("no answer"), False),
        (BadOptionError("the probe itself is refused", stage="find_face"), False),
    ],
)
def test_slow_statistics_leave_it_to_the_photo(
    monkeypatch: pytest.MonkeyPatch, failure: FacewrightClientError | None, alive: bool
) -> None:
    def slow(_probe: LivenessProbe, *_: object) -> int:
        raise ServerUnavailableError("timed out")

    def create(_probe: LivenessProbe, *_: object) -> None:
        sent.append(1)
        if failure is not None:
            raise failure

    sent: list[int] = []
    monkeypatch.setattr(LivenessProbe, "_answers", slow)
    monkeypatch.setattr(LivenessProbe, "_create", create)
    assert LivenessProbe("127.0.0.1:1", {"avatar_twin": AVATAR_TWIN}).alive(1.0) is alive
    assert sent == [1]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", b"nonsense\r\n", b""]
)
def test_a_server_that_dies_in_the_middle_of_an_answer_is_dead_and_no_surprise(answer: bytes) -> None:
    """Whatever it is that ends the probe, the supervisor must be able to restart the server."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for _ in range(2):
                connection, _address = listening.accept()
                with connection:
                    connection.recv(1 << 20)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        probe = LivenessProbe(f"127.0.0.1:{listening.getsockname()[1]}", {"avatar_twin": AVATAR_TWIN})
        assert probe.alive(5.0) is False


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_no_proxy_stands_between_a_server_and_its_supervisor(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: what is asked may be decided when a module is imported."""
    program = """
import sys
from facewright.pipelines.twin import AVATAR_TWIN
from facewright.server.liveness import LivenessProbe
sys.exit(not LivenessProbe(sys.argv[1], {"avatar_twin": AVATAR_TWIN}).ready())
"""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _address = listening.accept()
            with connection:
                connection.recv(1 << 20)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        done = subprocess.run([sys.executable, "-c", program, address], timeout=60, check=False)
    assert done.returncode == 0


def test_statistics_that_are_none_leave_it_to_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LivenessProbe, "_call", lambda *_, **__: b'{"model_stats": []}')
    assert LivenessProbe("127.0.0.1:1", {"avatar_twin": AVATAR_TWIN}).alive(1.0)


def test_every_pipeline_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is asked as small as its own options allow."""
    size = Option(int, 1024, choices=(1024, 2048))
    large = replace(AVATAR_TWIN, name="avatar_large", options={**AVATAR_TWIN.options, "texture_size": size})
    asked: dict[str, Any] = {}

    def create(_probe: LivenessProbe, row: Pipeline, _outputs: Any, options: Any, _timeout_s: float) -> None:
        asked[row.name] = options
        if row is large:
            raise ServerUnavailableError("silence")

    monkeypatch.setattr(LivenessProbe, "_answers", lambda *_: -1)
    monkeypatch.setattr(LivenessProbe, "_create", create)
    probe = LivenessProbe("127.0.0.1:1", {row.name: row for row in (AVATAR_TWIN, large)})
    assert probe.alive(1.0) is False
    assert asked == {"avatar_twin": {"texture_size": 512}, "avatar_large": {"texture_size": 1024}}
