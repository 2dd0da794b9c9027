"""The Triton server binary: from its wheel, with the backend, stub and environment it needs.

The ``nvidia-pytriton`` wheel carries a real ``tritonserver`` with the Python backend. Only its
files are used: nothing of it is imported, and its ``numpy<2`` pin never enters the environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from facewright.core.assets import cache_folder, require_cache
from facewright.pipelines.registry import VARIABLE as PIPELINES_VARIABLE
from facewright_kernels._runtime.cpu_library import kernel_cache

VERSION = "2.51.0"
_FOLDERS: Final = ("FACEWRIGHT_CACHE", "FACEWRIGHT_REFINEMENT_NETWORKS", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH")


class RuntimeMissingError(Exception):
    """Something that Triton needs is not installed; ``mend`` is the command that installs it."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(f"{message}. Mend it with:  {mend}")
        self.what = message
        self.mend = mend


@dataclass(frozen=True)
class TritonRuntime:
    """An unpacked Triton runtime.

    Args:
        folder: where the wheel was unpacked.
        python: the interpreter whose environment the Python stages run in.
    """

    folder: Path
    python: Path

    @property
    def binary(self) -> Path:
        """The ``tritonserver`` executable."""
        return self.folder / "pytriton" / "tritonserver" / "bin" / "tritonserver"

    @property
    def stub(self) -> Path:
        """The program that runs one stage, for this Python."""
        return self.backends / "python" / "triton_python_backend_stub"

    @property
    def backends(self) -> Path:
        """The backend directory: the Python backend beside its stub for this Python."""
        return self.folder / f"backends-{_python_version()}"

    def environment(self) -> dict[str, str]:
        """Environment variables for the server and the stages it starts."""
        environment = dict(os.environ)
        libraries = [str(self.folder / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR") or "")]
        libraries.append(environment.get("LD_LIBRARY_PATH", ""))
        environment["LD_LIBRARY_PATH"] = ":".join(path for path in libraries if path)
        # The stub embeds Python and finds its environment by the first `python3` on PATH.
        environment["PATH"] = f"{self.python.parent}:{environment.get('PATH', '')}"
        environment.pop("PYTHONHOME", None)
        # One thread per stage: instances are the parallelism; busy thread pools give long tails.
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment.setdefault(variable, "1")
        # Large arrays come and go with every request: give them back instead of keeping an arena per thread.
        environment.setdefault("MALLOC_ARENA_MAX", "2")
        environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(16 << 20))
        # Beside it glibc would map every array over 128 kB anew, and its pages fault one by one: a seventh of
        # a bake's processor time, for 40 MB of each stage that keeps its largest.
        environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(8 << 20))
        # What CuPy and the driver compile on a GPU, beside what g++ does, not below the user's home.
        environment.setdefault("CUPY_CACHE_DIR", str(kernel_cache() / "cupy"))
        environment.setdefault("CUDA_CACHE_PATH", str(kernel_cache() / "cuda"))
        # The server runs in a folder of its own, where a path relative to this one would lead elsewhere.
        for variable in (*_FOLDERS, PIPELINES_VARIABLE):
            if environment.get(variable):
                paths = environment[variable].split(os.pathsep)
                environment[variable] = os.pathsep.join(str(Path(path).absolute()) for path in paths if path)
        return environment


def installed_runtime() -> TritonRuntime:
    """The runtime in the cache.

    Raises:
        RuntimeMissingError: not unpacked yet, or Python's shared library is missing.
        FacewrightError: INTERNAL: as `require_cache`.
    """
    runtime = TritonRuntime(runtime_folder(), Path(sys.executable))
    if not is_unpacked():
        require_cache()
        raise RuntimeMissingError(
            f"the Triton runtime is not installed in {runtime.folder}", "facewright doctor --install"
        )
    package = missing_python_library()
    if package:
        raise RuntimeMissingError(
            f"Python's shared library ({package}) is missing, which Triton's Python stages load",
            f"sudo apt-get install {package}",
        )
    return runtime


def is_unpacked() -> bool:
    """Whether the cache holds the runtime, for this Python."""
    runtime = TritonRuntime(runtime_folder(), Path(sys.executable))
    files = (runtime.binary, runtime.stub, runtime.backends / "python" / "libtriton_python.so")
    return all(path.is_file() for path in files)


def install_runtime(wheel: Path) -> TritonRuntime:
    """Unpack ``wheel``, whose hash the caller has checked, into the cache, unless that was done before.

    Raises:
        RuntimeMissingError: the wheel has no stub for this Python.
    """
    folder = runtime_folder()
    runtime = TritonRuntime(folder, Path(sys.executable))
    if not runtime.binary.is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".triton-", dir=folder.parent))
        try:
            _unpack(wheel, staging)
            staging.chmod(0o755)
            _rename_once(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    if not is_unpacked():
        shutil.rmtree(runtime.backends, ignore_errors=True)  # a part of it is missing
        _assemble_backend(runtime)
    return runtime


def missing_python_library() -> str:
    """The Debian package that brings this Python's ``libpython3.X.so.1.0``; "" where that is present."""
    name = f"libpython{_python_version()}.so.1.0"
    if (Path(str(sysconfig.get_config_var("LIBDIR"))) / name).exists():
        return ""
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    known = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
    return "" if name in known else f"libpython{_python_version()}"


def runtime_folder() -> Path:
    """Where the runtime is looked for, be it there or not."""
    return cache_folder() / f"triton-{VERSION}"


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _unpack(wheel: Path, folder: Path) -> None:
    """Only what a server needs: not pytriton's own Python code, not stubs for other Pythons."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            wanted = member.filename.startswith(("pytriton/tritonserver/", "nvidia_pytriton.libs/"))
            # A second Python, 32 MB, that only the stub for 3.13 links.
            if not wanted or "libpython3-" in member.filename or member.is_dir():
                continue
            path = Path(archive.extract(member, folder))
            path.chmod(0o755 if path.suffix == "" or ".so" in path.name else 0o644)


def _assemble_backend(runtime: TritonRuntime) -> None:
    source = runtime.folder / "pytriton" / "tritonserver"
    stub = source / "python_backend_stubs" / _python_version() / "triton_python_backend_stub"
    if not stub.is_file():
        raise RuntimeMissingError(
            f"Triton {VERSION} has no stage runner for Python {_python_version()}",
            "PYTHON=python3.11 make demo   (after removing .venv)",
        )
    staging = Path(tempfile.mkdtemp(prefix=".backends-", dir=runtime.folder))
    try:
        shutil.copytree(source / "backends" / "python", staging / "python")
        shutil.copy2(stub, staging / "python" / stub.name)
        staging.chmod(0o755)
        _rename_once(staging, runtime.backends)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _rename_once(staging: Path, target: Path) -> None:
    """Publish ``staging`` as ``target``; a concurrent installer that was faster wins."""
    try:
        staging.rename(target)
    except OSError:
        if not target.is_dir():
            raise
