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


class CompilerError(RuntimeError):
    """g++ is missing or refused a kernel; the message says how to mend it."""


def kernel_cache() -> Path:
    """Folder of compiled kernels: ``$FACEWRIGHT_CACHE/kernels``, by default
    ``~/.cache/facewright/kernels``.
    """
    root = os.environ.get("FACEWRIGHT_CACHE") or str(Path.home() / ".cache" / "facewright")
    return Path(root) / "kernels"


def build_cpu_library(path: Path, text: str) -> Path:
    """Shared library of the C++ ``text``, found in the cache or built there under a file lock.

    ``path`` names the kernel in file names and compiler messages. The cache key holds the text, the headers,
    the compiler's version, the flags and the processor (``-march=native``). Raises CompilerError.
    """
    compiler, version = _compiler()
    key = hashlib.sha256()
    headers = [header.read_text(encoding="utf-8") for header in sorted(HEADER_FOLDER.glob("*.h"))]
    for part in (text, *headers, version, *COMPILER_FLAGS, _processor()):
        key.update(part.encode())
        key.update(b"\0")
    folder = kernel_cache()
    library = folder / f"{path.stem}-{key.hexdigest()[:20]}.so"
    if library.exists():
        return library
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{path.stem}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start together build it once
        if not library.exists():
            _compile(compiler, path, text, library)
    return library


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
            f"no C++ compiler {name!r} on PATH: kernels are built once for this processor. "
            "Install one (Debian and Ubuntu: apt-get install g++) or set CXX to its path."
        )
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return compiler, version


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
