"""What ``facewright doctor`` counts as a failure, and what it runs to mend one."""

from __future__ import annotations

import hashlib
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from facewright import doctor
from facewright.errors import FacewrightError
from facewright.tensorrt_plan import PlanIdentity, plan_name, write_identity
from facewright_client.contract import ErrorCode

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


def test_an_older_export_environment_is_told_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it has is written as a list of Python's own modules, which are there in any environment."""
    monkeypatch.setattr(doctor, "_EXPORT_PACKAGES", ("json", "no_such_package"))
    assert _examine(doctor._check_export(), monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "exporting networks: no_such_package cannot be imported" in shown
    assert "recommended: scripts/setup --export" in shown
    monkeypatch.setattr(doctor, "_EXPORT_PACKAGES", ("json",))
    assert doctor._check_export() == doctor.Finding("exporting networks")
    monkeypatch.setattr(doctor, "_EXPORT_PACKAGES", ("torch", "json"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor._check_export().problem == "", "a machine that only serves lacks nothing"


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


def test_plans_of_another_tensorrt_are_named_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine with a GPU of 9.0 and TensorRT 11.4, and three plans in its repository."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "compute_capability", lambda: "9.0")
    monkeypatch.setenv("TRT_VERSION", "11.4.0.106")
    for network, capability, tensorrt in (
        ("arcface", "9.0", "11.4.0.106"),
        ("mica", "9.0", "10.16.1.11"),
        ("camera_regressor", "8.6", "10.16.1.11"),
    ):
        folder = tmp_path / "model_repository" / network / "1"
        folder.mkdir(parents=True)
        (folder.parent / "config.pbtxt").touch()
        (folder / "model.onnx").write_bytes(b"network")
        plan = folder / plan_name(capability)
        plan.write_bytes(b"plan")
        sha256 = hashlib.sha256(b"network").hexdigest()
        write_identity(plan, PlanIdentity(network, tensorrt, capability, sha256, "fp16", (1, 4, 16)))
    finding = doctor._check_plans()
    assert "mica" in finding.problem
    assert "10.16.1.11, here is 11.4.0.106" in finding.problem
    assert "arcface" not in finding.problem
    assert "camera_regressor" not in finding.problem
    assert finding.mend.startswith("facewright build")
    (tmp_path / "model_repository/mica/1/model_9.0.plan").unlink()
    assert doctor._check_plans().problem == ""


def test_a_machine_without_a_gpu_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FacewrightError(ErrorCode.ENGINE_MISMATCH, "no NVIDIA driver", "choose the cpu profile")

    monkeypatch.setattr(doctor, "compute_capability", none)
    assert doctor._check_gpu() == doctor.Finding("no GPU, the cpu profile serves (no NVIDIA driver)")
