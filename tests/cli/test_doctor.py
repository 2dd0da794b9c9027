"""What ``facewright doctor`` prints, what it installs, and that its commands work where they are read."""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from facewright.cli import doctor, machine_checks, mends
from facewright.cli.finding import Finding
from tests.cli.conftest import Examine, Say


def test_package_lists_are_fetched_before_a_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh container has none, and finds no package without them."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(doctor, "missing_python_library", lambda: "libpython3.11")
    monkeypatch.setattr(doctor, "is_unpacked", lambda: True)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor.subprocess, "run", run)
    assert doctor._install(quiet=True) is None
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert commands[1][-1] == "libpython3.11"


def test_a_half_installed_triton_is_found_and_mended(
    copied_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine_checks.check_runtime().problem == ""
    runtime = machine_checks.installed_runtime()
    (runtime.backends / "python" / "libtriton_python.so").unlink()
    finding = machine_checks.check_runtime()
    assert (finding.problem, finding.mend) == (
        f"the Triton runtime is not installed in {runtime.folder}",
        "facewright doctor --install",
    )
    monkeypatch.setattr(doctor, "fetch_wheel", lambda _wheel, _progress: copied_cache)
    assert doctor._install(quiet=True) is None
    assert machine_checks.check_runtime().problem == ""


def _mend(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.split("mend: ")[1].strip()


def test_commands_work_in_the_folder_where_they_are_read(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By who has no `facewright` on the PATH, outside the source tree, and as root without sudo."""
    root = Path(doctor.__file__).parents[3]
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    examine(Finding("it", "broken", "facewright doctor --install"))
    command = shlex.split(_mend(capsys))
    assert Path(command[0]).is_absolute()
    assert os.access(command[0], os.X_OK)
    monkeypatch.setattr(mends.os, "geteuid", lambda: 1000)
    examine(Finding("it", "broken", "scripts/setup; sudo true"))
    assert _mend(capsys) == f"{root}/scripts/setup; sudo true"
    monkeypatch.setattr(mends.os, "geteuid", lambda: 0)
    examine(Finding("it", "broken", "scripts/setup; sudo true"))
    assert _mend(capsys) == f"{root}/scripts/setup; true"
    examine(Finding("it", "broken", f"{machine_checks._PINNED} -e ."))
    assert _mend(capsys).startswith(f"cd {root} && ")
    monkeypatch.chdir(root)
    examine(Finding("it", "broken", "scripts/setup"))
    assert _mend(capsys) == "scripts/setup"


def test_a_user_without_a_home_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.delenv("FACEWRIGHT_CACHE", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert doctor.examine(quiet=True) == 1
    shown = capsys.readouterr().out
    assert shown.count("has no home") == 1
    assert "mend: set FACEWRIGHT_CACHE to a folder" in shown


@pytest.mark.parametrize(
    ("cache", "words"), [("none/cache", "where there is no folder"), ("afile", "which is no")]
)
@pytest.mark.parametrize("line", ["serve --grpc-port 0 --http-port 0", "create me.jpg -o o --embedded"])
def test_a_cache_that_is_no_folder_is_told_by_its_variable(
    cache: str,
    words: str,
    line: str,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Else all that it holds seems to be missing."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", cache)
    status, said = say(line)
    assert status == 1
    assert f"error: FACEWRIGHT_CACHE is {cache}, {words}" in said
    assert "not installed" not in said
    assert doctor.examine(quiet=True) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(f"✗ cache: FACEWRIGHT_CACHE is {cache}, {words}")
    assert shown.count("✗") == 1
    assert Path(cache).is_dir() is False


def test_a_package_that_is_missing_is_told_before_all_else(tmp_path: Path) -> None:
    """An installation that was broken off; other commands need not have it."""
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError('No module named onnxruntime')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "facewright.cli", "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    found, mend = done.stdout.splitlines()
    assert found == "✗ Python packages: No module named onnxruntime"
    assert "-m pip install --constraint constraints.txt" in mend
