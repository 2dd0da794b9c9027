"""What counts as alive: an answered photo, and nothing but that when statistics are slow."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facewright.core.options import Option
from facewright.pipelines.stages import Pipeline
from facewright.pipelines.twin import AVATAR_TWIN
from facewright.server.liveness import LivenessProbe
from facewright.server.probe import main as probe
from facewright_client import (
    BadOptionError,
    Client,
    DeadlineExceededError,
    FacewrightClientError,
    InternalServerError,
    OverloadedError,
    ServerUnavailableError,
)


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
    assert LivenessProbe(Path("/nowhere"), {"avatar_twin": AVATAR_TWIN}).alive(1.0) is alive
    assert sent == [1]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nshort", b"nonsense\r\n", b""]
)
def test_a_triton_that_answers_nonsense_is_dead_and_no_surprise(tmp_path: Path, answer: bytes) -> None:
    """Whatever it is that ends the probe, the supervisor must be able to replace the Triton."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "triton"))
        listening.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _address = listening.accept()
                    with connection:
                        connection.recv(1 << 20)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        probe = LivenessProbe(tmp_path / "triton", {"avatar_twin": AVATAR_TWIN})
        assert probe.alive(5.0) is False
        probe.close()
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (OverloadedError("full", stage="gateway"), 0),
        (DeadlineExceededError("given up", stage="bake_texture"), 0),
        (DeadlineExceededError("Triton said nothing", stage="gateway"), 1),
        (DeadlineExceededError("nobody said anything"), 1),
        (ServerUnavailableError("being replaced", stage="gateway"), 0),
        (ServerUnavailableError("nobody listens"), 1),
        (InternalServerError("a stage fails", stage="bake_texture"), 1),
    ],
)
def test_what_the_probe_takes_for_life(
    monkeypatch: pytest.MonkeyPatch, failure: FacewrightClientError, status: int
) -> None:
    def create(*_arguments: object, **_options: object) -> None:
        raise failure

    monkeypatch.setattr(Client, "create", create)
    assert probe(["--pipeline", "avatar_twin", "127.0.0.1:1", "5"]) == status


def test_every_instance_is_warmed_up_for_what_callers_get_who_name_no_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A texture's tables are made at the first use of its size: half a second of it."""
    asked: list[Any] = []

    def create(_probe: LivenessProbe, _row: Any, _outputs: Any, options: Any, _timeout_s: float) -> None:
        asked.append(options)

    monkeypatch.setattr(LivenessProbe, "_create", create)
    LivenessProbe(Path("/nowhere"), {"avatar_twin": AVATAR_TWIN}).warm_up(2, 1.0)
    assert asked == [{}, {}]


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
    probe = LivenessProbe(Path("/nowhere"), {row.name: row for row in (AVATAR_TWIN, large)})
    assert probe.alive(1.0) is False
    assert asked == {"avatar_twin": {"texture_size": 512}, "avatar_large": {"texture_size": 1024}}
