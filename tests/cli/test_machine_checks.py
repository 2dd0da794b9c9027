"""What of a machine counts as missing, as a failure or as a warning, and the command that mends it."""

from __future__ import annotations

import re
import tempfile
from collections import namedtuple
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from facewright.cli import machine_checks
from facewright.cli.finding import Finding
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode
from facewright_kernels._runtime.cpu_library import _compiler
from tests.cli.conftest import Examine
from tests.support.gpu import no_gpu

_Usage = namedtuple("_Usage", "total used free")


def test_little_shared_memory_is_a_warning(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Containers start with 64 MB; setting up must go on there."""
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _folder: _Usage(64 << 20, 0, 64 << 20))
    finding = machine_checks.check_shared_memory()
    assert examine(finding) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("! /dev/shm: 64 MB free")
    assert "recommended: 256 MB or more" in shown
    assert "--shm-size" in shown


def test_enough_shared_memory_says_nothing(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine_checks.shutil, "disk_usage", lambda _folder: _Usage(1 << 30, 0, 1 << 30))
    assert examine(machine_checks.check_shared_memory()) == 0
    assert capsys.readouterr().out == ""


def test_no_shared_memory_is_a_failure(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(machine_checks, "_SHARED_MEMORY", tmp_path / "none")
    assert examine(machine_checks.check_shared_memory()) == 1
    assert capsys.readouterr().out.startswith("✗")


def test_an_older_export_environment_is_told_what_it_lacks(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it has is written as a list of Python's own modules, which are there in any environment."""
    monkeypatch.setattr(machine_checks, "_EXPORT_PACKAGES", ("json", "no_such_package"))
    assert examine(machine_checks.check_export()) == 0
    shown = capsys.readouterr().out
    assert "exporting networks: no_such_package missing" in shown
    assert "scripts/setup --export" in shown
    monkeypatch.setattr(machine_checks, "_EXPORT_PACKAGES", ("json",))
    assert machine_checks.check_export() == Finding("exporting networks")
    monkeypatch.setattr(machine_checks, "_EXPORT_PACKAGES", ("torch", "json"))
    monkeypatch.setattr(machine_checks.importlib.util, "find_spec", lambda _name: None)
    assert machine_checks.check_export().problem == "", "a machine that only serves lacks nothing"


@pytest.mark.parametrize(
    ("missing", "problem", "packages"),
    [
        (
            ("cupy", "tensorrt"),
            "neither the cuda nor the tensorrt profile serves",
            "cupy-cuda13x tensorrt-cu13",
        ),
        (("cupy",), "neither the cuda nor the tensorrt profile serves", "cupy-cuda13x"),
        (("tensorrt",), "so the tensorrt profile does not serve", "tensorrt-cu13"),
    ],
)
def test_what_a_gpu_needs_beside_it_is_named_with_what_does_not_serve(
    missing: tuple[str, ...], problem: str, packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_checks, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(machine_checks.ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        machine_checks.importlib.util,
        "find_spec",
        lambda name: None if name in missing else ModuleSpec(name, None),
    )
    finding = machine_checks.check_gpu()
    assert problem in finding.problem
    assert finding.mend.split("constraints.txt ")[1] == f"{packages}   (in the source tree)"


def test_an_onnx_runtime_without_cuda_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra of pyproject.toml first, which brings back the package for CPUs; then that goes."""
    monkeypatch.setattr(machine_checks, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(machine_checks.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    finding = machine_checks.check_gpu()
    assert "only the cpu profile serves" in finding.problem
    extra, removal, exchange = finding.mend.split(" && ")
    assert "'.[gpu]'" in extra
    assert removal == "pip uninstall --yes onnxruntime onnxruntime-gpu"
    assert exchange.startswith("pip install --constraint constraints.txt --no-deps onnxruntime-gpu")


def test_a_machine_without_a_gpu_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "compute_capability", no_gpu)
    assert machine_checks.check_gpu() == Finding("no GPU, the cpu profile serves (no NVIDIA driver)")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "no C++ compiler 'no-such-compiler'"),
        ("#!/bin/sh\nexit 1\n", "is no compiler that runs"),
        ("#!/bin/sh\n[ $1 = --version ] && exit\necho 'no headers' >&2\nexit 1\n", "no headers"),
    ],
    ids=["missing", "broken", "incomplete"],
)
def test_a_compiler_is_tried(
    program: str | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name in CXX is no compiler yet."""
    assert machine_checks.check_compiler().problem == ""
    compiler = tmp_path / "compiler"
    if program is not None:
        compiler.write_text(program)
        compiler.chmod(0o755)
    monkeypatch.setenv("CXX", "no-such-compiler" if program is None else str(compiler))
    _compiler.cache_clear()
    try:
        finding = machine_checks.check_compiler()
        assert [place.problem for place in machine_checks.check_places()] == [""], "one cause is told once"
    finally:
        _compiler.cache_clear()
    assert said in finding.problem
    assert "CXX" in finding.mend


@pytest.mark.parametrize("which", ["binary", "stub"])
@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\necho cannot open shared object file >&2\nexit 127\n"])
def test_a_damaged_program_of_triton_is_told(which: str, content: bytes, copied_cache: Path) -> None:
    path: Path = getattr(machine_checks.installed_runtime(), which)
    path.unlink()  # a link to the machine's own
    path.write_bytes(content)
    path.chmod(0o755)
    finding = machine_checks.check_runtime()
    assert finding.problem.startswith(f"{path.name} does not run: ")
    assert "cannot open" in finding.problem or "Exec format" in finding.problem
    assert finding.mend.startswith(f"rm -r {copied_cache}/triton-")


@pytest.mark.usefixtures("copied_cache")
def test_a_cache_whose_programs_may_not_run() -> None:
    """As on a disk that is mounted noexec: installing again would not help."""
    path = machine_checks.installed_runtime().binary
    path.unlink()
    path.write_bytes(b"")
    finding = machine_checks.check_runtime()
    assert "may not be run" in finding.problem
    assert "rm -r" not in finding.mend
    assert "FACEWRIGHT_CACHE" in finding.mend


def test_packages_of_other_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine_checks.check_packages().problem == ""
    versions = {"numpy": "1.0", "scipy": "", "onnxruntime": ""}
    real = machine_checks._installed_version
    monkeypatch.setattr(machine_checks, "_installed_version", lambda name: versions.get(name, real(name)))
    finding = machine_checks.check_packages()
    assert re.search(
        r"numpy \S+ is wanted, there is 1\.0; onnxruntime \S+ is wanted, there is none", finding.problem
    )
    assert "scipy" in finding.problem
    assert "pillow" not in finding.problem
    versions |= {"onnxruntime-gpu": real("onnxruntime")}
    assert "onnxruntime" not in machine_checks.check_packages().problem, "the one for GPUs takes its place"


@pytest.mark.parametrize("gpu", [True, False])
def test_two_onnx_runtimes_in_one_folder_are_told(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def capability() -> str:
        if gpu:
            return "9.0"
        raise FacewrightError(ErrorCode.ENGINE_MISMATCH, "no NVIDIA driver", "choose the cpu profile")

    monkeypatch.setattr(machine_checks, "compute_capability", capability)
    monkeypatch.setattr(machine_checks, "_installed_version", lambda _name: "1.31.1")
    finding = machine_checks.check_gpu()
    assert "both installed" in finding.problem
    assert finding.warning
    assert ("[gpu]" in finding.mend) == gpu


def test_what_a_server_cannot_write_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    (finding,) = machine_checks.check_places()
    assert "TMPDIR=/proc/nowhere cannot be written, so /" in finding.problem
    assert finding.warning
    monkeypatch.setenv("TMPDIR", "/tmp")
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert [finding.problem for finding in machine_checks.check_places()] == [""]
    monkeypatch.setenv("FACEWRIGHT_CACHE", "/proc/nowhere")
    (finding,) = machine_checks.check_places()
    assert "/proc/nowhere/kernels cannot be written" in finding.problem
    assert not finding.warning
