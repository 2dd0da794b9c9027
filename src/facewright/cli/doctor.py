"""``facewright doctor``: what serving needs, whether it is there, and the command that mends what is not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from facewright.core.assets import (
    BUILD_COMMAND,
    asset_path,
    cache_folder,
    model_repository_folder,
    open_assets_folder,
)
from facewright.core.errors import FacewrightError
from facewright.core.invocation import runnable
from facewright.core.wheels import PYTRITON, WheelError, fetch_wheel
from facewright.engines.onnx_engine import INSTALL_GPU
from facewright.engines.tensorrt_plan import (
    compute_capability,
    content_hash,
    open_plan,
    plan_name,
    read_identity,
    require_fit,
    serving_tensorrt,
)
from facewright.pipelines.registry import networks, pipelines, stages
from facewright.pipelines.stages import Network, Pipeline
from facewright.refine.networks import refinement_files
from facewright.refine.service import refinement_folder
from facewright.server.server_traces import remove_stale_folders, remove_stale_regions
from facewright.server.triton_runtime import (
    VERSION,
    RuntimeMissingError,
    install_runtime,
    installed_runtime,
    missing_python_library,
)

#: Room in /dev/shm for the regions of a server with many stages: a few megabytes each, more for large photos.
#: Containers start with 64 MB and may serve a few requests with it: less is no failure.
_AMPLE_SHARED_MEMORY = 256 << 20
_SHARED_MEMORY = Path("/dev/shm")
#: What `scripts/setup --export` brings; an environment of an earlier version may lack some.
_EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "onnx_graphsurgeon", "polygraphy")
#: The versions that pyproject.toml and constraints.txt pin.
_PINNED = "pip install --constraint constraints.txt"


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Args:
        subject: what was looked at.
        problem: what is wrong; "" when nothing is.
        mend: the command that mends it.
        warning: whether everything works all the same, as long as little is asked for.
    """

    subject: str
    problem: str = ""
    mend: str = ""
    warning: bool = False


def examine(install: bool = False, quiet: bool = False) -> int:
    """Run all checks and print them; returns 0 when nothing is wrong but for warnings, else 1.

    Args:
        install: first install what this user may: the Triton runtime, as root also a missing libpython.
        quiet: print only what is wrong.
    """
    if install:
        problem = _install(quiet)
        if problem:
            print(f"✗ {problem}")
            return 1
    findings = [*(check() for check in _CHECKS), *_check_table()]
    for finding in findings:
        if finding.problem:
            mark, what = ("!", "recommended") if finding.warning else ("✗", "mend")
            print(runnable(f"{mark} {finding.subject}: {finding.problem}\n  {what}: {finding.mend}"))
        elif not quiet:
            print(f"✓ {finding.subject}")
    regions, folders = remove_stale_regions(), remove_stale_folders()
    if (regions or folders) and not quiet:
        print(f"✓ removed {regions} shared-memory regions and {folders} folders of servers that were killed")
    return int(any(finding.problem and not finding.warning for finding in findings))


def _install(quiet: bool) -> str:
    """Install what is missing; returns what went wrong."""
    package = missing_python_library()
    if package and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package}")
        # A fresh container has no package lists. Whether all went well is what the checks say.
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=False)
    try:
        installed_runtime()
        return ""
    except RuntimeMissingError:
        pass
    try:
        wheel = fetch_wheel(PYTRITON, _show_progress if sys.stderr.isatty() else _no_progress)
        if not quiet or sys.stderr.isatty():
            print(f"unpacking Triton {VERSION}")
        install_runtime(wheel)
    except (WheelError, RuntimeMissingError, OSError) as error:
        return f"the Triton runtime could not be installed: {error}"
    return ""


def _show_progress(share: float, what: str) -> None:
    print(f"\r{what} {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)


def _no_progress(share: float, what: str) -> None:
    return


def _check_platform() -> Finding:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Finding(
            system, "the server runs on Linux x86-64", "use such a machine, or the container image"
        )
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        return Finding(
            system, "needs Python 3.11 or 3.12", "PYTHON=python3.12 make demo   (remove .venv first)"
        )
    return Finding(system)


def _check_compiler() -> Finding:
    if shutil.which("g++") or os.environ.get("CXX"):
        return Finding("C++ compiler, for the CPU kernels")
    return Finding("C++ compiler", "g++ is missing, the CPU kernels need it", "sudo apt-get install g++")


def _check_python_library() -> Finding:
    package = missing_python_library()
    if package:
        return Finding(
            "Python's shared library", "Triton's stages cannot load it", f"sudo apt-get install {package}"
        )
    return Finding("Python's shared library")


def _check_runtime() -> Finding:
    subject = f"Triton {VERSION}"
    try:
        runtime = installed_runtime()
    except RuntimeMissingError as error:
        return Finding(subject, str(error).split(". Mend")[0], error.mend)
    probe = subprocess.run(
        [str(runtime.binary), "--help"],
        env=runtime.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if "model-repository" not in probe.stdout + probe.stderr:
        said = (probe.stderr or probe.stdout).strip().splitlines()[-1:]
        return Finding(subject, f"it does not run: {' '.join(said)}", f"rm -r {runtime.folder} && make setup")
    return Finding(subject)


def _check_table() -> list[Finding]:
    """What the pipelines need: stages, weights, plans."""
    try:
        rows = pipelines().values()
    except FacewrightError as error:
        return [Finding("pipelines", error.message, error.hint)]
    return [_check_model_repository(), *map(_check_pipeline, rows), _check_plans()]


def _check_pipeline(row: Pipeline) -> Finding:
    subject = f"pipeline {row.name}"
    try:
        for weights in row.weights:
            asset_path(weights.file)
    except FacewrightError as error:
        return Finding(subject, error.message, BUILD_COMMAND)
    brought = [step.name for step in row.steps if isinstance(step, Network) and not step.weights]
    if brought:
        return Finding(f"{subject}: weights open; serve --networks must bring {', '.join(brought)}")
    return Finding(f"{subject}: weights open")


def _check_model_repository() -> Finding:
    source = model_repository_folder()
    missing = [
        name
        for name, stage in stages(pipelines()).items()
        if stage.model is None and not isinstance(stage, Network)
        if not (source / name / "1" / "model.py").is_file()
    ]
    if not missing:
        return Finding("model repository")
    return Finding(
        "model repository",
        f"{source} holds no {', '.join(missing)}",
        "export FACEWRIGHT_MODEL_REPOSITORY=<clone>/model_repository",
    )


def _check_shared_memory() -> Finding:
    folder = _SHARED_MEMORY
    if not folder.is_dir():
        return Finding(str(folder), "it does not exist", f"mount -t tmpfs tmpfs {folder}")
    free = shutil.disk_usage(folder).free
    if free < _AMPLE_SHARED_MEMORY:
        return Finding(
            str(folder),
            f"{free >> 20} MB free, too few for many requests at once or large photos",
            f"{_AMPLE_SHARED_MEMORY >> 20} MB or more: mount -o remount,size=1g {folder}   "
            "(containers: --shm-size=1g)",
            warning=True,
        )
    return Finding(f"{folder}: {free >> 20} MB free")


def _check_gpu() -> Finding:
    """With a GPU, what the cuda and tensorrt profiles need beside it."""
    try:
        capability = compute_capability()
    except FacewrightError as error:
        return Finding(f"no GPU, the cpu profile serves ({error.message})")
    subject = f"GPU of compute capability {capability}"
    providers = onnxruntime.get_available_providers()
    if "CUDAExecutionProvider" not in providers:
        return Finding(
            subject,
            f"ONNX Runtime {onnxruntime.__version__} has no CUDA provider, so only the cpu profile serves",
            INSTALL_GPU,
            warning=True,
        )
    packages = {"cupy": "cupy-cuda13x", "tensorrt": "tensorrt-cu13"}
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        # Refinement, which every profile serves, computes in CuPy's arrays on a GPU.
        lost = "neither the cuda nor the tensorrt profile serves"
        return Finding(
            subject,
            f"{' and '.join(missing)} missing, so "
            + (lost if "cupy" in missing else "the tensorrt profile does not serve"),
            f"{_PINNED} {' '.join(packages[name] for name in missing)}   (in the source tree)",
            warning=True,
        )
    return Finding(subject)


def _check_plans() -> Finding:
    """Exported networks in the default repository, and plans that this GPU refuses: theirs, and the open
    networks'.
    """
    repository = cache_folder() / "model_repository"
    exported = {plan: plan.with_name("model.onnx") for plan in sorted(repository.glob("*/*/model_*.plan"))}
    try:
        opened = _open_plans()
    except FacewrightError as error:  # and no server starts
        return Finding("networks of refinement", error.message, error.hint)
    plans = len(exported) + len(opened)
    networks = len(list(repository.glob("*/config.pbtxt")))
    if not plans:
        return Finding(f"{networks} exported networks, no TensorRT plans")
    try:
        capability = compute_capability()
        tensorrt = serving_tensorrt()
    except FacewrightError:
        return Finding(f"{networks} exported networks, {plans} plans for another machine")
    refused: list[str] = []
    commands: list[str] = []
    for files, command in ((opened, "facewright build"), (exported, f"facewright build {repository}")):
        problems = _refused_plans(files, capability, tensorrt)
        refused += problems
        commands += [command] if problems else []
    if refused:
        return Finding("TensorRT plans", "; ".join(refused), " && ".join(commands), warning=True)
    return Finding(f"{networks} exported networks, {plans} plans")


def _open_plans() -> dict[Path, Path]:
    """The plans, for any GPU, of the networks of the default pipeline and of refinement, each with its ONNX
    file.

    Raises:
        FacewrightError: ENGINE_MISMATCH when one of refinement's networks is missing.
    """
    files = {
        name: open_assets_folder() / network.weights[0].file
        for name, network in sorted(networks(pipelines()).items())
        if network.weights
    }
    files |= refinement_files(refinement_folder())
    return {
        plan: onnx_file
        for name, onnx_file in files.items()
        for plan in sorted(open_plan(name, "").parent.glob("model_*.plan"))
    }


def _refused_plans(files: Mapping[Path, Path], capability: str, tensorrt: str) -> list[str]:
    """What is wrong with the plans for this kind of GPU, each given with its ONNX file."""
    refused = []
    for plan, onnx_file in files.items():
        if plan.name != plan_name(capability):
            continue  # of another kind of GPU in the same fleet
        try:
            content = content_hash(onnx_file) if onnx_file.is_file() else None
            require_fit(plan, read_identity(plan), tensorrt, capability, content)
        except FacewrightError as error:
            refused.append(error.message)
    return refused


def _check_export() -> Finding:
    missing = [name for name in _EXPORT_PACKAGES if importlib.util.find_spec(name) is None]
    if "torch" in missing:
        return Finding("serving only; exporting networks needs: scripts/setup --export")
    if missing:
        problem = f"{', '.join(missing)} cannot be imported"
        return Finding("exporting networks", problem, "scripts/setup --export", warning=True)
    return Finding("exporting networks")


_CHECKS: tuple[Callable[[], Finding], ...] = (
    _check_platform,
    _check_compiler,
    _check_python_library,
    _check_runtime,
    _check_shared_memory,
    _check_gpu,
    _check_export,
)
