"""Builds a kernel source for this machine's processor with g++, once, into a cache outside the source
tree.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Final

# Not -ffast-math: kernels test for NaN and rely on the order of operations.
COMPILER_FLAGS: Final = (
    "-x",
    "c++",
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wno-unknown-pragmas",
)


#: Where the headers are that kernels include.
HEADER_FOLDER: Final = Path(__file__).parent


_INSTALL_COMPILER: Final = "sudo apt-get install g++   (Debian and Ubuntu), or set CXX to a compiler's path"


class CompilerError(RuntimeError):
    """g++ is missing or refused a kernel, or what it makes cannot be kept.

    Args:
        problem: what is wrong.
        mend: what to do, where that is known.
    """

    def __init__(self, problem: str, mend: str = "") -> None:
        super().__init__(f"{problem}. To mend it: {mend}" if mend else problem)
        self.problem = problem
        self.mend = mend


def kernel_cache() -> Path:
    """Folder of compiled kernels: ``$FACEWRIGHT_CACHE/kernels``, by default
    ``~/.cache/facewright/kernels``.

    Raises:
        CompilerError: the variable is not set, and this user has no home.
    """
    root = os.environ.get("FACEWRIGHT_CACHE")
    if root:
        return Path(root) / "kernels"
    try:
        return Path.home() / ".cache" / "facewright" / "kernels"
    except RuntimeError:
        raise CompilerError(
            f"user {os.getuid()} has no home, where the cache would be", "set FACEWRIGHT_CACHE to a folder"
        ) from None


def cpu_library(path: Path, text: str) -> Path:
    """Where the shared library of the C++ ``text`` is, or will be.

    ``path`` names the kernel in file names and compiler messages. The name holds the text, the headers, the
    compiler's version, the flags and the processor (``-march=native``). Raises CompilerError.
    """
    _, version = _compiler()
    key = hashlib.sha256()
    headers = [header.read_text(encoding="utf-8") for header in sorted(HEADER_FOLDER.glob("*.h"))]
    for part in (text, *headers, version, *COMPILER_FLAGS, _processor()):
        key.update(part.encode())
        key.update(b"\0")
    return kernel_cache() / f"{path.stem}-{key.hexdigest()[:20]}.so"


def build_cpu_library(path: Path, text: str) -> Path:
    """Shared library of the C++ ``text``, found in the cache or built there under a file lock.

    Args as of `cpu_library`. Raises CompilerError.
    """
    library = cpu_library(path, text)
    if library.exists():
        return library
    compiler, _ = _compiler()
    folder = library.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{path.stem}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start together build it once
            if not library.exists():
                _compile(compiler, path, text, library)
    except OSError as error:
        raise CompilerError(
            f"compiled kernels cannot be kept in {folder}: {error.strerror}",
            "make room there, or set FACEWRIGHT_CACHE to another folder that you may write",
        ) from error
    return library


def try_compiler() -> None:
    """Compile what every kernel needs, and keep nothing. Raises CompilerError."""
    compiler, _ = _compiler()
    program = (
        '#include <cmath>\n#include <omp.h>\nextern "C" int threads() { return omp_get_max_threads(); }\n'
    )
    with tempfile.TemporaryDirectory() as scratch:
        command = [compiler, *COMPILER_FLAGS, f"-I{HEADER_FOLDER}", "-o", f"{scratch}/tried.so", "-"]
        done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        lines = said.splitlines()  # the last one says that it has ended, one before it why
        why = next((line for line in lines if "error" in line), lines[-1])
        raise CompilerError(
            f"{compiler} cannot compile C++: {why}",
            _INSTALL_COMPILER if os.environ.get("PATH") else "set PATH: a compiler finds its parts by it",
        )


def _compile(compiler: str, path: Path, text: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        built = Path(scratch) / library.name
        command = [compiler, *COMPILER_FLAGS, f"-I{HEADER_FOLDER}", "-o", str(built), "-"]
        source = f'#line 1 "{path}"\n{text}'
        done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CompilerError(f"g++ refused {path.name}:\n{done.stderr.strip()[-4000:]}")
        os.replace(built, library)


@lru_cache(maxsize=1)
def _compiler() -> tuple[str, str]:
    name = os.environ.get("CXX", "g++")
    compiler = shutil.which(name)
    if compiler is None:
        raise CompilerError(
            f"there is no C++ compiler {name!r} on PATH, and kernels are built once for this processor",
            _INSTALL_COMPILER if name == "g++" else "unset CXX, or set it to a C++ compiler's path",
        )
    told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        raise CompilerError(f"{compiler} is no compiler that runs", _INSTALL_COMPILER)
    return compiler, told.stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    """What ``-march=native`` depends on: architecture and the first processor's model and feature flags."""
    lines = [platform.machine()]
    try:
        block = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return lines[0] + platform.processor()
    lines += [line for line in block.splitlines() if line.startswith(("model", "vendor_id", "flags"))]
    return "\n".join(lines)
