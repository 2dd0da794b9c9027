"""Commands that other packages bring: found without loading what they need, told where they are missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from facewright.cli import installed_commands, main

_HELP_OF_CREATE = """
import sys
from facewright.cli import main
try:
    main(["create", "--help"])
finally:
    print("imported:", *{name.split(".")[0] for name in sys.modules})
"""


def _install_only(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(installed_commands, "entry_points", lambda **_group: entries)


def test_the_export_room_brings_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Where this fails, the environment is older than pyproject.toml: install it again."""
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out.split("commands:")[1]
    assert "export    published checkpoints to verified ONNX files" in listed
    assert "build     TensorRT plans" in listed
    assert "parity    how exactly exported files compute" in listed
    assert "not installed" not in listed


def test_help_of_another_command_imports_nothing_large() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HELP_OF_CREATE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split("imported:")[1].split())
    assert "facewright_export" in imported, "its arguments are read"
    assert imported.isdisjoint({"torch", "onnx", "onnxruntime", "numpy", "scipy", "PIL", "rich", "grpc"})


@pytest.mark.parametrize("arguments", [["export", "twin", "--weights", "a.pth", "--check"], ["build"]])
def test_a_command_that_is_not_installed_says_where_it_comes_from(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install_only(monkeypatch)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: facewright {arguments[0]} is not part of this installation")
    assert "mend: scripts/setup --export" in said
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "parity    not installed" in capsys.readouterr().out


def test_a_package_that_cannot_be_imported_takes_no_other_command_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install_only(
        monkeypatch,
        EntryPoint("odd", "no_such_package.commands:add", installed_commands.GROUP),
        EntryPoint("parity", "facewright_export.commands:add_parity", installed_commands.GROUP),
    )
    with pytest.raises(SystemExit) as caught:
        main(["parity", "--help"])
    assert caught.value.code == 0
    assert main(["odd", "--any", "1"]) == 1
    said = capsys.readouterr().err
    assert "facewright odd cannot be imported: No module named 'no_such_package'" in said
    assert "install the package that brings no_such_package.commands:add again" in said


def test_a_package_that_leaves_while_it_is_imported_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "leaving.py").write_text("raise SystemExit('boo')")
    monkeypatch.syspath_prepend(str(tmp_path))
    _install_only(monkeypatch, EntryPoint("odd", "leaving:add", installed_commands.GROUP))
    assert main(["odd"]) == 1
    assert "facewright odd cannot be imported: SystemExit: boo" in capsys.readouterr().err


def test_building_plans_without_onnx_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "facewright_export.tensorrt.build_command", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["build"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: building plans needs onnx, ")
    assert "-m pip install --constraint constraints.txt onnx" in said


@pytest.mark.parametrize("arguments", [["export", "twin", "--weights", "a.pth"], ["parity"]])
def test_exporting_without_torch_says_how_to_get_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "facewright_export"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: exporting networks needs torch, ")
    assert "mend: scripts/setup --export, then .venv-export/bin/facewright" in said
