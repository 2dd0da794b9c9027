"""Whether this machine has what serving needs: packages, a compiler, Triton, places to write to, a GPU's."""

from __future__ import annotations

import importlib.util
import platform
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from facewright.cli.finding import Finding
from facewright.cli.mends import typed_here
from facewright.core.assets import source_folder
from facewright.core.errors import FacewrightError
from facewright.core.onnx_runtime import ort
from facewright.engines.onnx_engine import INSTALL_GPU
from facewright.engines.tensorrt_plan import compute_capability
from facewright.server.triton_runtime import (
    VERSION,
    installed_runtime,
    is_unpacked,
    missing_python_library,
    runtime_folder,
)
from facewright.server.written_places import passed_over, require_kernels, require_places
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


def check_platform() -> Finding:
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Finding(
            system, "the server runs on Linux x86-64", "use such a machine, or the container image"
        )
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        return Finding(system, "needs Python 3.11 or 3.12", "rm -r .venv; PYTHON=python3.12 scripts/setup")
    return Finding(system)


def check_packages() -> Finding:
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


def check_compiler() -> Finding:
    """Is tried, with the headers and flags that kernels need."""
    try:
        try_compiler()
    except CompilerError as error:
        return Finding("C++ compiler, for the CPU kernels", error.problem, error.mend)
    return Finding("C++ compiler, for the CPU kernels")


def check_python_library() -> Finding:
    package = missing_python_library()
    if package:
        return Finding(
            "Python's shared library", "Triton's stages cannot load it", f"sudo apt-get install {package}"
        )
    return Finding("Python's shared library")


def check_runtime() -> Finding:
    """Both programs are started, which say how they are called."""
    subject = f"Triton {VERSION}"
    if not is_unpacked():
        return Finding(
            subject,
            f"the Triton runtime is not installed in {runtime_folder()}",
            "facewright doctor --install",
        )
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


def check_places() -> list[Finding]:
    """Whether a server can write where it must."""
    findings = []
    if problem := passed_over():
        findings.append(
            Finding("temporary files", problem, "set TMPDIR to a short name of yours", warning=True)
        )
    compiles = not check_compiler().problem
    try:
        require_places(stages=0)
        if compiles:  # else that is what to mend first
            require_kernels()
    except FacewrightError as error:
        findings.append(Finding("what a server writes", error.message, error.hint))
    return findings or [Finding("what a server writes has its places")]


def check_shared_memory() -> Finding:
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


def check_gpu() -> Finding:
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


def check_export() -> Finding:
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
