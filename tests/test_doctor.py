"""What ``facewright doctor`` counts as a failure, and what it runs to mend one."""

from __future__ import annotations

import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from facewright import doctor

_Usage = namedtuple("_Usage", "total used free")


def _examine(finding: doctor.Finding, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(doctor, "_CHECKS", (lambda: finding,))
    return doctor.examine(quiet=True)


def test_little_shared_memory_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Containers start with 64 MB; setting up must go on there."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: _Usage(64 << 20, 0, 64 << 20))
    finding = doctor._check_shared_memory()
    assert _examine(finding, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("! /dev/shm: 64 MB free")
    assert "recommended: 256 MB or more" in shown
    assert "--shm-size" in shown


def test_enough_shared_memory_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: _Usage(1 << 30, 0, 1 << 30))
    assert _examine(doctor._check_shared_memory(), monkeypatch) == 0
    assert capsys.readouterr().out == ""


def test_no_shared_memory_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "_SHARED_MEMORY", tmp_path / "none")
    assert _examine(doctor._check_shared_memory(), monkeypatch) == 1
    assert capsys.readouterr().out.startswith("✗")


def test_package_lists_are_fetched_before_a_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh container has none, and finds no package without them."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(doctor, "missing_python_library", lambda: "libpython3.11")
    monkeypatch.setattr(doctor, "installed_runtime", lambda: None)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor.subprocess, "run", run)
    assert doctor._install(quiet=True) == ""
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert commands[1][-1] == "libpython3.11"
