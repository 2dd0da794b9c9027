"""What ``facewright doctor`` counts as a failure, and what it runs to mend one."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from facewright.cli import doctor, mends
from facewright.core.assets import BUILD_COMMAND, cache_folder
from facewright.core.errors import FacewrightError
from facewright.engines.tensorrt_plan import PlanIdentity, open_plan, plan_name, write_identity
from facewright.refine.demo_networks import DEMO_NETWORKS
from facewright_client.contract import ErrorCode
from facewright_kernels._runtime.cpu_library import _compiler, kernel_cache

_Usage = namedtuple("_Usage", "total used free")


def _examine(finding: doctor.Finding, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(doctor, "_CHECKS", (lambda: finding,))
    return doctor.examine(quiet=True)


def test_little_shared_memory_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Containers start with 64 MB; setting up must go on there."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _folder: _Usage(64 << 20, 0, 64 << 20))
    finding = doctor._check_shared_memory()
    assert _examine(finding, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("! /dev/shm: 64 MB free")
    assert "recommended: 256 MB or more" in shown
    assert "--shm-size" in shown


def test_enough_shared_memory_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _folder: _Usage(1 << 30, 0, 1 << 30))
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
    assert "exporting networks: no_such_package missing" in shown
    assert "scripts/setup --export" in shown
    monkeypatch.setattr(doctor, "_EXPORT_PACKAGES", ("json",))
    assert doctor._check_export() == doctor.Finding("exporting networks")
    monkeypatch.setattr(doctor, "_EXPORT_PACKAGES", ("torch", "json"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _name: None)
    assert doctor._check_export().problem == "", "a machine that only serves lacks nothing"


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


def _write_open_plan(name: str, tensorrt: str, content: bytes) -> None:
    plan = open_plan(name, "9.0")
    plan.parent.mkdir(parents=True)
    plan.write_bytes(b"plan")
    sha256 = hashlib.sha256(content).hexdigest()
    write_identity(plan, PlanIdentity(name, tensorrt, "9.0", sha256, "fp32", (1, 4, 8)))


def test_plans_of_the_open_networks_are_looked_at_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the default pipeline, by another TensorRT; of refinement, of another file, and one that fits."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "compute_capability", lambda: "9.0")
    monkeypatch.setenv("TRT_VERSION", "11.4.0.106")
    assert doctor._check_plans() == doctor.Finding("0 exported networks, no TensorRT plans")
    _write_open_plan("face_landmarks", "10.16.1.11", b"network")
    _write_open_plan("perceptual_targets", "11.4.0.106", b"another")
    generator = DEMO_NETWORKS / "generator_forward.onnx"
    _write_open_plan("generator_forward", "11.4.0.106", generator.read_bytes())
    finding = doctor._check_plans()
    first, second = finding.problem.split("; ")
    assert "face_landmarks" in first
    assert "10.16.1.11, here is 11.4.0.106" in first
    assert "perceptual_targets" in second
    assert "from a network with sha256" in second
    assert finding.mend == "facewright build"
    for name in ("face_landmarks", "perceptual_targets"):
        open_plan(name, "9.0").unlink()
    assert doctor._check_plans() == doctor.Finding("0 exported networks, 1 plans")


def test_plans_that_cannot_be_judged_are_not_called_another_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a GPU they are of no use here; with one, and no TensorRT known, nobody can tell."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.delenv("TRT_VERSION", raising=False)
    _write_open_plan("face_landmarks", "11.4.0.106", b"network")
    monkeypatch.setattr(doctor, "compute_capability", _no_gpu)
    assert doctor._check_plans() == doctor.Finding("0 exported networks, 1 plans, which need a GPU")
    monkeypatch.setattr(doctor, "compute_capability", lambda: "9.0")
    finding = doctor._check_plans()
    assert "no TRT_VERSION" in finding.problem
    assert "TRT_VERSION" in finding.mend
    assert finding.warning


def test_a_refinement_folder_without_networks_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(tmp_path))
    finding = doctor._check_plans()
    assert finding.subject == "networks of refinement"
    assert f"which is not in {tmp_path}" in finding.problem
    assert _examine(finding, monkeypatch) == 1


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
    monkeypatch.setattr(doctor, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(doctor.ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name in missing else ModuleSpec(name, None)
    )
    finding = doctor._check_gpu()
    assert problem in finding.problem
    assert finding.mend.split("constraints.txt ")[1] == f"{packages}   (in the source tree)"


def test_an_onnx_runtime_without_cuda_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra of pyproject.toml first, which brings back the package for CPUs; then that goes."""
    monkeypatch.setattr(doctor, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(doctor.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    finding = doctor._check_gpu()
    assert "only the cpu profile serves" in finding.problem
    extra, removal, exchange = finding.mend.split(" && ")
    assert "'.[gpu]'" in extra
    assert removal == "pip uninstall --yes onnxruntime onnxruntime-gpu"
    assert exchange.startswith("pip install --constraint constraints.txt --no-deps onnxruntime-gpu")


def _no_gpu() -> str:
    raise FacewrightError(ErrorCode.ENGINE_MISMATCH, "no NVIDIA driver", "choose the cpu profile")


def test_a_machine_without_a_gpu_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "compute_capability", _no_gpu)
    assert doctor._check_gpu() == doctor.Finding("no GPU, the cpu profile serves (no NVIDIA driver)")


def _mend(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.split("mend: ")[1].strip()


def test_commands_work_in_the_folder_where_they_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By who has no `facewright` on the PATH, outside the source tree, and as root without sudo."""
    root = Path(doctor.__file__).parents[3]
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    _examine(doctor.Finding("it", "broken", "facewright doctor --install"), monkeypatch)
    command = shlex.split(_mend(capsys))
    assert Path(command[0]).is_absolute()
    assert os.access(command[0], os.X_OK)
    monkeypatch.setattr(mends.os, "geteuid", lambda: 1000)
    _examine(doctor.Finding("it", "broken", "scripts/setup; sudo true"), monkeypatch)
    assert _mend(capsys) == f"{root}/scripts/setup; sudo true"
    monkeypatch.setattr(mends.os, "geteuid", lambda: 0)
    _examine(doctor.Finding("it", "broken", "scripts/setup; sudo true"), monkeypatch)
    assert _mend(capsys) == f"{root}/scripts/setup; true"
    _examine(doctor.Finding("it", "broken", f"{doctor._PINNED} -e ."), monkeypatch)
    assert _mend(capsys).startswith(f"cd {root} && ")
    monkeypatch.chdir(root)
    _examine(doctor.Finding("it", "broken", "scripts/setup"), monkeypatch)
    assert _mend(capsys) == "scripts/setup"


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
    assert doctor._check_compiler().problem == ""
    compiler = tmp_path / "compiler"
    if program is not None:
        compiler.write_text(program)
        compiler.chmod(0o755)
    monkeypatch.setenv("CXX", "no-such-compiler" if program is None else str(compiler))
    _compiler.cache_clear()
    try:
        finding = doctor._check_compiler()
        assert [place.problem for place in doctor._check_places()] == [""], "one cause is told once"
    finally:
        _compiler.cache_clear()
    assert said in finding.problem
    assert "CXX" in finding.mend


@pytest.fixture
def copied_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, whose files are this machine's."""
    cache = tmp_path / "cache"
    shutil.copytree(cache_folder() / "open", cache / "open")
    (runtime,) = cache_folder().glob("triton-*")
    shutil.copytree(runtime, cache / runtime.name, copy_function=os.symlink)
    (cache / "kernels").symlink_to(kernel_cache())
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(cache))
    return cache


def test_assets_are_looked_into(copied_cache: Path) -> None:
    """All that is wrong is said at once, as one command mends it."""
    assert doctor._check_open_assets().problem == ""
    (copied_cache / "open" / "head.npz").unlink()
    with (copied_cache / "open" / "person_mask.onnx").open("r+b") as file:
        file.write(b"?")
    finding = doctor._check_open_assets()
    assert finding.problem == "head.npz is missing, person_mask.onnx is damaged"
    assert finding.mend == BUILD_COMMAND
    shutil.rmtree(copied_cache / "open")
    assert doctor._check_open_assets().problem.count("is missing") == 5


def test_an_asset_that_was_put_there_by_hand_is_taken(copied_cache: Path) -> None:
    (copied_cache / "open" / "manifest.json").write_text("{}")
    assert doctor._check_open_assets().problem == ""


def test_a_half_installed_triton_is_found_and_mended(
    copied_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor._check_runtime().problem == ""
    runtime = doctor.installed_runtime()
    (runtime.backends / "python" / "libtriton_python.so").unlink()
    finding = doctor._check_runtime()
    assert (finding.problem, finding.mend) == (
        "the Triton runtime is not installed",
        "facewright doctor --install",
    )
    monkeypatch.setattr(doctor, "fetch_wheel", lambda _wheel, _progress: copied_cache)
    assert doctor._install(quiet=True) is None
    assert doctor._check_runtime().problem == ""


@pytest.mark.parametrize("which", ["binary", "stub"])
@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\necho cannot open shared object file >&2\nexit 127\n"])
def test_a_damaged_program_of_triton_is_told(which: str, content: bytes, copied_cache: Path) -> None:
    path: Path = getattr(doctor.installed_runtime(), which)
    path.unlink()  # a link to the machine's own
    path.write_bytes(content)
    path.chmod(0o755)
    finding = doctor._check_runtime()
    assert finding.problem.startswith(f"{path.name} does not run: ")
    assert "cannot open" in finding.problem or "Exec format" in finding.problem
    assert finding.mend.startswith(f"rm -r {copied_cache}/triton-")


@pytest.mark.usefixtures("copied_cache")
def test_a_cache_whose_programs_may_not_run() -> None:
    """As on a disk that is mounted noexec: installing again would not help."""
    path = doctor.installed_runtime().binary
    path.unlink()
    path.write_bytes(b"")
    finding = doctor._check_runtime()
    assert "may not be run" in finding.problem
    assert "rm -r" not in finding.mend
    assert "FACEWRIGHT_CACHE" in finding.mend


def test_packages_of_other_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._check_packages().problem == ""
    versions = {"numpy": "1.0", "scipy": "", "onnxruntime": ""}
    real = doctor._installed_version
    monkeypatch.setattr(doctor, "_installed_version", lambda name: versions.get(name, real(name)))
    finding = doctor._check_packages()
    assert re.search(
        r"numpy \S+ is wanted, there is 1\.0; onnxruntime \S+ is wanted, there is none", finding.problem
    )
    assert "scipy" in finding.problem
    assert "pillow" not in finding.problem
    versions |= {"onnxruntime-gpu": real("onnxruntime")}
    assert "onnxruntime" not in doctor._check_packages().problem, "the one for GPUs takes its place"


@pytest.mark.parametrize("gpu", [True, False])
def test_two_onnx_runtimes_in_one_folder_are_told(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def capability() -> str:
        if gpu:
            return "9.0"
        raise FacewrightError(ErrorCode.ENGINE_MISMATCH, "no NVIDIA driver", "choose the cpu profile")

    monkeypatch.setattr(doctor, "compute_capability", capability)
    monkeypatch.setattr(doctor, "_installed_version", lambda _name: "1.31.1")
    finding = doctor._check_gpu()
    assert "both installed" in finding.problem
    assert finding.warning
    assert ("[gpu]" in finding.mend) == gpu


def test_what_a_server_cannot_write_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    (finding,) = doctor._check_places()
    assert "TMPDIR=/proc/nowhere cannot be written, so /" in finding.problem
    assert finding.warning
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert [finding.problem for finding in doctor._check_places()] == [""]
    monkeypatch.setenv("FACEWRIGHT_CACHE", "/proc/nowhere")
    (finding,) = doctor._check_places()
    assert "/proc/nowhere/kernels cannot be written" in finding.problem
    assert not finding.warning


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


def test_a_repository_of_stages_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACEWRIGHT_MODEL_REPOSITORY", str(tmp_path))
    finding = doctor._check_model_repository()
    assert f"{tmp_path} holds no " in finding.problem
    assert finding.mend == "unset FACEWRIGHT_MODEL_REPOSITORY"


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
