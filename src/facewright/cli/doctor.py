"""``facewright doctor``: what serving needs, whether it is there, and the command that mends what is not.

A check says only what it tried. Commands are printed as they work in the folder where they are read.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from facewright.cli.mends import typed_here
from facewright.core.assets import (
    BUILD_COMMAND,
    asset_state,
    cache_failure,
    cache_folder,
    model_repository_folder,
    open_assets_folder,
    source_folder,
)
from facewright.core.errors import FacewrightError
from facewright.core.onnx_runtime import ort
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
    is_unpacked,
    missing_python_library,
)
from facewright.server.written_places import require_kernels, require_places
from facewright_kernels._runtime.cpu_library import CompilerError, try_compiler

#: Room in /dev/shm for the regions of a server with many stages: a few megabytes each, more for large photos.
#: Containers start with 64 MB and may serve a few requests with it: less is no failure.
_AMPLE_SHARED_MEMORY = 256 << 20
_SHARED_MEMORY = Path("/dev/shm")
#: What `scripts/setup --export` brings; an environment of an earlier version may lack some.
_EXPORT_PACKAGES = ("torch", "onnx", "onnxscript", "onnx_graphsurgeon", "polygraphy")
#: The versions that pyproject.toml and constraints.txt pin.
_PINNED = "python -m pip install --constraint constraints.txt"
#: Both fill the same folder.
_FOR_CPUS, _FOR_GPUS = "onnxruntime", "onnxruntime-gpu"
_BOTH = f"{_FOR_CPUS} and {_FOR_GPUS} are both installed, and their files mixed"
_INSTALL_CPU = f"python -m pip uninstall --yes {_FOR_CPUS} {_FOR_GPUS}; {_PINNED} --no-deps {_FOR_CPUS}"


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
    try:
        cache_folder()
    except FacewrightError as error:  # most of the checks could not begin
        print(f"✗ cache: {error.message}\n  mend: {error.hint}")
        return 1
    if install:
        problem = _install(quiet)
        if problem:
            print(f"✗ {problem.subject}: {problem.problem}\n  mend: {typed_here(problem.mend)}")
            return 1
    findings = [finding for check in _CHECKS for finding in _findings(check)]
    for finding in findings:
        if finding.problem:
            mark, what = ("!", "recommended") if finding.warning else ("✗", "mend")
            print(f"{mark} {finding.subject}: {finding.problem}\n  {what}: {typed_here(finding.mend)}")
        elif not quiet:
            print(f"✓ {finding.subject}")
    regions, folders = remove_stale_regions(), remove_stale_folders()
    if (regions or folders) and not quiet:
        print(f"✓ removed {regions} shared-memory regions and {folders} folders of servers that were killed")
    return int(any(finding.problem and not finding.warning for finding in findings))


def _findings(check: Callable[[], Finding | list[Finding]]) -> list[Finding]:
    found = check()
    return found if isinstance(found, list) else [found]


def _install(quiet: bool) -> Finding | None:
    """Install what is missing; returns what went wrong."""
    subject = f"Triton {VERSION}"
    package = missing_python_library()
    if package and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package}")
        # A fresh container has no package lists. Whether all went well is what the checks say.
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=False)
    try:
        if is_unpacked():
            return None
        wheel = fetch_wheel(PYTRITON, _show_progress if sys.stderr.isatty() else _no_progress)
        if not quiet or sys.stderr.isatty():
            print(f"unpacking Triton {VERSION}")
        install_runtime(wheel)
    except WheelError as error:
        return Finding(subject, str(error), "facewright doctor --install   (once that is mended)")
    except (RuntimeMissingError, FacewrightError) as error:
        return Finding(subject, *_cause_and_mend(error))
    except OSError as error:
        return Finding(subject, *_cause_and_mend(cache_failure(error)))
    return None


def _cause_and_mend(error: RuntimeMissingError | FacewrightError) -> tuple[str, str]:
    if isinstance(error, FacewrightError):
        return error.message, error.hint
    return error.what, error.mend


def _show_progress(share: float, what: str) -> None:
    print(f"\r{what} {share:4.0%}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)


def _no_progress(_share: float, _what: str) -> None:
    return


def _check_platform() -> Finding:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Finding(
            system, "the server runs on Linux x86-64", "use such a machine, or the container image"
        )
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        return Finding(system, "needs Python 3.11 or 3.12", "rm -r .venv; PYTHON=python3.12 scripts/setup")
    return Finding(system)


def _check_packages() -> Finding:
    """Versions are the pinned ones: others were not tried together."""
    wrong = []
    pinned = [line for name in ("facewright", "facewright-client") for line in _requirements(name)]
    for line in pinned:
        name, _, wanted = line.partition("==")
        there = _installed_version(name) or (name == _FOR_CPUS and _installed_version(_FOR_GPUS)) or "none"
        if wanted and there != wanted:
            wrong.append(f"{name} {wanted} is wanted, there is {there}")
    if wrong:
        return Finding("Python packages", "; ".join(wrong), f"{_PINNED} -e ./client -e '.[assets]'")
    return Finding(f"{len(pinned)} Python packages, of the pinned versions")


def _requirements(package: str) -> list[str]:
    """What a package asks for, its extras apart."""
    try:
        return [line for line in metadata.requires(package) or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        return [package]


def _installed_version(package: str) -> str:
    """ "" where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _check_compiler() -> Finding:
    """Is tried, with the headers and flags that kernels need."""
    try:
        try_compiler()
    except CompilerError as error:
        return Finding("C++ compiler, for the CPU kernels", error.problem, error.mend)
    return Finding("C++ compiler, for the CPU kernels")


def _check_python_library() -> Finding:
    package = missing_python_library()
    if package:
        return Finding(
            "Python's shared library", "Triton's stages cannot load it", f"sudo apt-get install {package}"
        )
    return Finding("Python's shared library")


def _check_runtime() -> Finding:
    """Both programs are started, which say how they are called."""
    subject = f"Triton {VERSION}"
    if not is_unpacked():
        return Finding(subject, "the Triton runtime is not installed", "facewright doctor --install")
    if missing_python_library():
        return Finding(subject, "its stages do not start without Python's shared library", "see above")
    runtime = installed_runtime()
    for program, answer in ((runtime.binary, "--model-repository"), (runtime.stub, "Expected")):
        try:
            done = subprocess.run(
                [str(program), "--help"],
                env=runtime.environment(),
                capture_output=True,
                errors="replace",
                timeout=60,
                check=False,
            )
            said = done.stdout + done.stderr
        except PermissionError:
            problem = f"{program} may not be run: permissions, or a disk that is mounted noexec"
            return Finding(subject, problem, "set FACEWRIGHT_CACHE to another folder and run scripts/setup")
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
        if answer not in said:
            last = "".join(said.strip().splitlines()[-1:]) or "it says nothing"
            again = f"rm -r {shlex.quote(str(runtime.folder))}; facewright doctor --install"
            return Finding(subject, f"{program.name} does not run: {last}", again)
    return Finding(subject)


def _check_places() -> list[Finding]:
    """Whether a server can write where it must."""
    asked = os.environ.get("TMPDIR")
    findings = []
    if asked and Path(tempfile.gettempdir()) != Path(asked).absolute():
        problem = f"TMPDIR={asked} cannot be written, so {tempfile.gettempdir()} takes its place"
        findings.append(Finding("temporary files", problem, "set TMPDIR to a folder of yours", warning=True))
    compiles = not _check_compiler().problem
    try:
        require_places(stages=0)
        if compiles:  # else that is what to mend first
            require_kernels()
    except FacewrightError as error:
        findings.append(Finding("what a server writes", error.message, error.hint))
    return findings or [Finding("what a server writes has its places")]


def _check_table() -> list[Finding]:
    """What the pipelines need: stages, weights, plans."""
    try:
        rows = pipelines().values()
    except FacewrightError as error:
        return [Finding("pipelines", error.message, error.hint)]
    findings = [_check_model_repository(), _check_open_assets(), *map(_describe, rows)]
    return [*findings, _check_plans()]


def _check_open_assets() -> Finding:
    """All that are missing or damaged at once: one command builds them."""
    files = sorted({weights.file for row in pipelines().values() for weights in row.weights})
    folder = open_assets_folder()
    states = {name: asset_state(name) for name in files}
    wrong = [f"{name} is {state}" for name, state in states.items() if state != "intact"]
    if wrong:
        return Finding(f"open assets in {folder}", ", ".join(wrong), BUILD_COMMAND)
    return Finding(f"{len(files)} open assets")


def _describe(row: Pipeline) -> Finding:
    brought = [step.name for step in row.steps if isinstance(step, Network) and not step.weights]
    return Finding(
        f"pipeline {row.name}: "
        + (f"serve --networks must bring {', '.join(brought)}" if brought else "its weights are open")
    )


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
    ours = source_folder()
    mend = "name the model_repository of a clone in FACEWRIGHT_MODEL_REPOSITORY"
    if "FACEWRIGHT_MODEL_REPOSITORY" in os.environ and ours is not None:
        mend = "unset FACEWRIGHT_MODEL_REPOSITORY"
    return Finding("model repository", f"{source} holds no {', '.join(missing)}", mend)


def _check_shared_memory() -> Finding:
    folder = _SHARED_MEMORY
    if not folder.is_dir():
        return Finding(str(folder), "it does not exist", f"sudo mount -t tmpfs tmpfs {folder}")
    free = shutil.disk_usage(folder).free
    if free < _AMPLE_SHARED_MEMORY:
        return Finding(
            str(folder),
            f"{free >> 20} MB free, too few for many requests at once or large photos",
            f"{_AMPLE_SHARED_MEMORY >> 20} MB or more: sudo mount -o remount,size=1g {folder}   "
            "(containers: --shm-size=1g)",
            warning=True,
        )
    return Finding(f"{folder}: {free >> 20} MB free")


def _check_gpu() -> Finding:
    """With a GPU, what the cuda and tensorrt profiles need beside it."""
    both = _installed_version(_FOR_CPUS) and _installed_version(_FOR_GPUS)
    try:
        capability = compute_capability()
    except FacewrightError as error:
        if both:
            return Finding("ONNX Runtime", _BOTH, _INSTALL_CPU, warning=True)
        return Finding(f"no GPU, the cpu profile serves ({error.message})")
    if both:
        return Finding("ONNX Runtime", _BOTH, INSTALL_GPU, warning=True)
    subject = f"GPU of compute capability {capability}"
    providers = ort.get_available_providers()
    if "CUDAExecutionProvider" not in providers:
        return Finding(
            subject,
            f"ONNX Runtime {ort.__version__} has no CUDA provider, so only the cpu profile serves",
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
    except FacewrightError:
        return Finding(f"{networks} exported networks, {plans} plans, which need a GPU")
    try:
        tensorrt = serving_tensorrt()
    except FacewrightError as error:
        return Finding("TensorRT plans", error.message, error.hint, warning=True)
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
        root = source_folder()
        exporting = root and root / ".venv-export" / "bin" / "facewright"
        if exporting and exporting.exists():
            return Finding(f"serving only; {exporting} exports networks")
        return Finding(f"serving only; exporting networks needs: {typed_here('scripts/setup --export')}")
    if missing:
        problem = f"{', '.join(missing)} missing"
        return Finding("exporting networks", problem, "scripts/setup --export", warning=True)
    return Finding("exporting networks")


_CHECKS: tuple[Callable[[], Finding | list[Finding]], ...] = (
    _check_platform,
    _check_packages,
    _check_compiler,
    _check_python_library,
    _check_runtime,
    _check_places,
    _check_shared_memory,
    _check_gpu,
    _check_export,
    _check_table,
)
