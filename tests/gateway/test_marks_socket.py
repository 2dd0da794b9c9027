"""Marks on their way: real sockets, real processes."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from facewright.adapter.marks import VARIABLE, ExecutionMarks
from facewright.core.errors import FacewrightError
from facewright.gateway.marks import Instance, Marks
from facewright.gateway.marks_socket import MarksSocket

#: Holds a request until it is killed.
_HOLDS = """
import time
from facewright.adapter.marks import ExecutionMarks
with ExecutionMarks("bake_texture", "bake_texture_0_0").holding(["first"]):
    time.sleep(600)
"""


async def _until(holds: Callable[[], bool], within_s: float = 30.0) -> bool:
    """As `tests.server.processes.eventually`, while the loop runs."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within_s
    while not holds() and loop.time() < until:
        await asyncio.sleep(0.01)
    return holds()


def _held(marks: Marks, pid: int) -> tuple[str, ...]:
    return next((instance.request_ids for instance in marks.instances() if instance.pid == pid), ())


def test_a_process_that_dies_is_known_by_what_it_held(tmp_path: Path) -> None:
    path = tmp_path / "marks"
    ended: list[Instance] = []
    began: list[tuple[str, str]] = []

    async def hear() -> None:
        marks = Marks(lambda request_id, stage: began.append((request_id, stage)), ended.append)
        with closing(MarksSocket(path, marks)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            stage = subprocess.Popen([sys.executable, "-c", _HOLDS], env={**os.environ, VARIABLE: str(path)})
            try:
                assert await _until(lambda: _held(marks, stage.pid) == ("first",))
                assert began == [("first", "bake_texture")]
            finally:
                stage.kill()
                stage.wait()
            assert await _until(lambda: bool(ended))
            assert (ended[0].pid, ended[0].request_ids) == (stage.pid, ("first",))
            assert _held(marks, stage.pid) == ("first",)
        assert not path.exists()

    asyncio.run(hear())


def test_a_burst_that_the_loop_was_too_busy_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was lost is put right by the next mark."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "marks"))

    async def hear() -> None:
        marks = Marks()
        with (
            closing(MarksSocket(tmp_path / "marks", marks)),
            closing(ExecutionMarks("bake_texture", "bake_texture_0_0")) as stage,
        ):
            for number in range(1000):  # the loop does not run
                with stage.holding([f"request-{number}"]):
                    pass
            pid = os.getpid()
            assert await _until(lambda: bool(marks.instances()) and marks.instances()[0].number > 100)
            with stage.holding(["last"]):
                assert await _until(lambda: _held(marks, pid) == ("last",))
            assert await _until(lambda: _held(marks, pid) == ())
            stage.close()
            assert await _until(lambda: marks.instances()[0].ended is not None)
            assert marks.malformed == 0

    asyncio.run(hear())


def test_what_is_no_mark_is_ignored(tmp_path: Path) -> None:
    async def hear() -> None:
        marks = Marks()
        with (
            closing(MarksSocket(tmp_path / "marks", marks)),
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger,
        ):
            stranger.connect(str(tmp_path / "marks"))
            for message in (b"GET / HTTP/1.1", b"x" * 100_000, b"1 bake_texture bake_texture_0_0 1 first"):
                stranger.send(message)
            assert await _until(lambda: _held(marks, os.getpid()) == ("first",))
            assert marks.malformed == 2

    asyncio.run(hear())


def test_a_process_that_connects_again_is_heard_anew(tmp_path: Path) -> None:
    async def hear() -> None:
        marks = Marks()
        path = str(tmp_path / "marks")
        with (
            closing(MarksSocket(tmp_path / "marks", marks)),
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second,
        ):
            first.connect(path)
            first.send(b"1 bake_texture bake_texture_0_0 1 first")
            assert await _until(lambda: _held(marks, os.getpid()) == ("first",))
            second.connect(path)
            second.send(b"1 bake_texture bake_texture_0_0 1 second")
            assert await _until(lambda: _held(marks, os.getpid()) == ("second",))
            assert first.recv(1) == b"", "the earlier one was hung up"

    asyncio.run(hear())


def test_a_path_that_cannot_be_listened_at(tmp_path: Path) -> None:
    async def hear() -> None:
        with pytest.raises(FacewrightError, match="marks cannot be heard"):
            MarksSocket(tmp_path / ("long" * 30), Marks())
        with pytest.raises(FacewrightError, match="marks cannot be heard"):
            MarksSocket(tmp_path / "nowhere" / "marks", Marks())

    asyncio.run(hear())
