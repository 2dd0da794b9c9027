"""Commands in messages and in the README are named as they can be typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from facewright.core import invocation
from facewright.core.invocation import program, python, runnable


def test_commands_are_named_as_they_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "my env" / "bin"
    environment.mkdir(parents=True)
    for name in ("python", "facewright"):
        (environment / name).write_text("#!/bin/sh\n")
        (environment / name).chmod(0o755)
    monkeypatch.setattr(invocation.sys, "executable", str(environment / "python"))
    monkeypatch.setattr(invocation.sys, "argv", ["/usr/lib/pytest"])
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir("/usr")
    assert program() == f"'{environment}/facewright'"
    monkeypatch.chdir(tmp_path)
    assert (program(), python()) == ("'my env/bin/facewright'", "'my env/bin/python'")
    monkeypatch.chdir(environment)
    assert program() == "./facewright"
    monkeypatch.setattr(invocation.sys, "argv", ["../bin/facewright"])
    assert program() == "../bin/facewright", "as it was called"
    monkeypatch.setenv("PATH", str(environment))
    monkeypatch.setattr(invocation.sys, "argv", [str(environment / "facewright")])
    assert (program(), python()) == ("facewright", "python")
    monkeypatch.setenv("PATH", "/nowhere")
    (environment / "facewright").unlink()
    assert program() == "./python -m facewright.cli"


def test_hints_name_commands_as_they_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "program", lambda: "BIN/facewright")
    monkeypatch.setattr(invocation, "python", lambda: "BIN/python")
    monkeypatch.setenv("PATH", "/nowhere")
    assert (
        runnable("start a server with `facewright serve`, or")
        == "start a server with `BIN/facewright serve`, or"
    )
    assert runnable("run: python -m facewright_export.open_assets") == (
        "run: BIN/python -m facewright_export.open_assets"
    )
    assert runnable("pip install onnx") == "BIN/python -m pip install onnx"
    for other in (
        ".venv-export/bin/facewright export",
        "facewright is here",
        "pip installs",
        "mypython -m x",
    ):
        assert runnable(other) == other


def test_the_readme_s_commands_are_there() -> None:
    """What it prints is typed as it stands, from the root of a clone."""
    root = Path(__file__).parents[2]
    blocks = (root / "README.md").read_text().split("```")[1::2]
    lines = [line for block in blocks if block.startswith("\n") for line in block.splitlines() if line]
    commands = [line.split()[0] for line in lines]
    assert len(commands) > 9
    for command in commands:
        assert command in ("curl", "make", "export", "scripts/setup") or command.startswith(
            (".venv/bin/", ".venv-export/bin/")
        )
