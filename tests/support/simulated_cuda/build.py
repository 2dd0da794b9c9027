"""Builds the simulated device's libraries with g++, once, into the cache of compiled kernels."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from facewright_kernels._runtime.cpu_library import CompilerError, kernel_cache

_HERE: Final = Path(__file__).parent
# Fibers jump between stacks, which fortified libraries take for an attack.
_FLAGS: Final = ("-std=c++17", "-O1", "-march=native", "-fno-math-errno", "-fPIC", "-w", "-U_FORTIFY_SOURCE")


@dataclass(frozen=True)
class Libraries:
    """Shared libraries by the names that CuPy asks for, and the folder of kernels compiled for them."""

    cuda: Path
    nvrtc: Path
    cublas: Path
    kernels: Path


def build() -> Libraries:
    """The libraries, found in the cache or built there under a file lock.

    Raises:
        CompilerError: g++ is missing or refused them.
    """
    sources = [path for path in sorted(_HERE.rglob("*")) if path.suffix in {".cpp", ".h", ".cuh"}]
    version = _run("g++", "-march=native", "-###", "-x", "c++", "-E", "-")  # names compiler and processor
    key = hashlib.sha256(
        version.encode() + b"".join(path.read_bytes() for path in (*sources, Path(__file__)))
    )
    fingerprint = key.hexdigest()[:20]
    folder = kernel_cache() / f"simulated-cuda-{fingerprint}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / "simulated-cuda.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two processes that start together build it once
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                built = Path(scratch) / "built"
                _build(built, folder, fingerprint)
                os.rename(built, folder)
    names = ("libcuda.so.1", "libnvrtc.so.13", "libcublas.so.13", "kernels")
    return Libraries(*(folder / name for name in names))


def _build(folder: Path, final: Path, fingerprint: str) -> None:
    """``final`` is where the folder will be: what compiles kernels looks for the prelude there."""
    shutil.copytree(_HERE / "include", folder / "include")
    (folder / "kernels").mkdir()
    prelude = folder / "include" / "prelude.h"
    _run("g++", *_FLAGS, "-x", "c++-header", "-o", f"{prelude}.gch", str(prelude))
    _library(folder / "libcuda.so.1", "device.cpp", "driver.cpp", "fibers.cpp", "runtime.cpp")
    command = " ".join(("g++", *_FLAGS, "-shared", "-include", "prelude.h"))
    settings = {"COMPILER": command, "PRELUDE_FOLDER": str(final / "include"), "FINGERPRINT": fingerprint}
    defines = (f'-D{name}="{value}"' for name, value in settings.items())
    _library(folder / "libnvrtc.so.13", "nvrtc.cpp", *defines)
    (folder / "functions.inc").write_text(_other_functions())
    # CuPy asks for the library's functions in their version, of the library's name.
    (folder / "versions").write_text("libcublas.so.13 { global: cublas*; local: *; };\n")
    _library(
        folder / "libcublas.so.13",
        "cublas.cpp",
        f"-I{folder}",
        f"-Wl,--version-script={folder / 'versions'}",
        str(folder / "libcuda.so.1"),
    )


def _library(path: Path, *arguments: str) -> None:
    sources = [str(_HERE / name) if name.endswith(".cpp") else name for name in arguments]
    headers = (f"-I{_HERE}", f"-I{_HERE / 'include'}")
    _run("g++", *_FLAGS, *headers, "-shared", f"-Wl,-soname,{path.name}", "-o", str(path), *sources)


def _other_functions() -> str:
    """C++ of what CuPy's module wants of cuBLAS and `cublas.cpp` does not have."""
    package = find_spec("cupy_backends")
    assert package is not None
    assert package.submodule_search_locations is not None
    (module,) = Path(package.submodule_search_locations[0]).glob("cuda/libs/cublas.*.so")
    wanted = set(re.findall(rb"\bcublas[A-Z]\w+", module.read_bytes()))
    written = (_HERE / "cublas.cpp").read_text()
    for letter in "SD":
        written += f" cublas{letter}gemm_v2 cublas{letter}gemmStridedBatched "
    missing = sorted(name.decode() for name in wanted if not re.search(rf"\b{name.decode()}\b", written))
    return "".join(f'API int {name}() {{ return not_simulated("{name}"); }}\n' for name in missing)


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CompilerError("g++ is missing: Debian and Ubuntu have it as the package g++") from error
    if done.returncode != 0:
        raise CompilerError(f"g++ refused the simulated CUDA device:\n{done.stderr[-4000:]}")
    return done.stderr
