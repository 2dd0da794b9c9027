"""A ``.cu`` file of this package, compiled for the device that holds its arrays, and launched there.

NumPy arrays: g++ builds a shared library once per source, compiler and processor, cached outside the source
tree (``~/.cache/facewright/kernels``, or below ``FACEWRIGHT_CACHE``). CuPy arrays: NVRTC, on the caller's
current stream. The kernel's own C signature is the single truth for argument types on both targets.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from facewright_kernels._runtime.cpu_library import HEADER_FOLDER, build_cpu_library, cpu_library

SOURCE_FOLDER: Final = Path(__file__).parents[1]
GPU_BLOCK: Final = 256
GPU_MAXIMUM_BLOCKS: Final = 65535
#: What CuPy 14 appends to the options of every kernel; the first (cupy/cupy#9576) makes denormals 0 on a GPU.
CUPY_OPTIONS: Final = ("-ftz=true", "--device-as-default-execution-space")

_SIGNATURE: Final = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
_SCALARS: Final[dict[str, tuple[Any, Any]]] = {
    "int": (ctypes.c_int, np.int32),
    "long long": (ctypes.c_longlong, np.int64),
    "float": (ctypes.c_float, np.float32),
}
_POINTERS: Final[dict[str, np.dtype[Any]]] = {
    "float": np.dtype(np.float32),
    "int": np.dtype(np.int32),
    "unsigned char": np.dtype(np.uint8),
    "unsigned short": np.dtype(np.uint16),
    "unsigned long long": np.dtype(np.uint64),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: ``type`` without const and pointer (``float``); pointers have a dtype."""

    name: str
    type: str
    array_dtype: np.dtype[Any] | None

    @property
    def is_pointer(self) -> bool:
        """Whether an array is passed."""
        return self.array_dtype is not None


def parse_signatures(source: str) -> dict[str, tuple[Parameter, ...]]:
    """Every ``extern "C" __global__`` kernel in a source text, with its parameters in order."""
    kernels: dict[str, tuple[Parameter, ...]] = {}
    for name, text in _SIGNATURE.findall(source):
        parameters = []
        for declaration in re.sub(r"//[^\n]*", "", text).split(","):
            words = declaration.replace("*", " * ").replace("__restrict__", "").split()
            is_pointer = "*" in words
            type_words = [word for word in words[:-1] if word not in ("const", "*")]
            type_name = " ".join(type_words)
            if type_name not in (_POINTERS if is_pointer else _SCALARS):
                raise ValueError(f"kernel {name}: parameter {declaration.strip()!r} has an unsupported type")
            parameters.append(
                Parameter(words[-1], type_name, _POINTERS.get(type_name) if is_pointer else None)
            )
        kernels[name] = tuple(parameters)
    return kernels


def cpu_threads() -> int:
    """CPU threads per launch: ``FACEWRIGHT_KERNEL_THREADS`` or what :func:`set_cpu_threads` said; default
    1.
    """
    return _cpu_threads


def set_cpu_threads(count: int) -> None:
    """Use ``count`` CPU threads in every later launch of this process (results do not depend on it)."""
    global _cpu_threads
    if not 1 <= count <= 256:
        raise ValueError(f"CPU threads must be 1 to 256, not {count}")
    _cpu_threads = count


_cpu_threads = 1
set_cpu_threads(int(os.environ.get("FACEWRIGHT_KERNEL_THREADS", "1")))


class KernelSource:
    """The kernels of one ``.cu`` file; compiled at the first launch on each kind of device."""

    def __init__(self, stem: str) -> None:
        self.path = SOURCE_FOLDER / f"{stem}.cu"
        self.text = self.path.read_text(encoding="utf-8")
        self.kernels = parse_signatures(self.text)
        self._lock = threading.Lock()
        self._cpu_functions: dict[str, Callable[..., None]] = {}
        self._gpu_module: Any = None

    def launch(self, kernel: str, count: int, *arguments: object) -> None:
        """Run ``kernel`` over ``count`` indices. Arrays must be C-contiguous and all on one device.

        Arguments follow the C signature: arrays (or None for a null pointer), ints and floats.
        Raises ValueError when an array's dtype contradicts the signature, or NumPy and CuPy are mixed.
        """
        parameters = self.kernels[kernel]
        if len(arguments) != len(parameters):
            raise ValueError(f"{kernel} takes {len(parameters)} arguments, got {len(arguments)}")
        on_gpu: bool | None = None
        values: list[Any] = []  # of the CPU function; this loop is most of a small launch's cost
        for parameter, argument in zip(parameters, arguments, strict=True):
            dtype = parameter.array_dtype
            if dtype is None or argument is None:
                values.append(argument)
                continue
            array: Any = argument
            if array.dtype != dtype:
                raise ValueError(f"{kernel}: {parameter.name} must be {dtype}, is {array.dtype}")
            if not array.flags.c_contiguous:
                raise ValueError(
                    f"{kernel}: {parameter.name} must be C-contiguous, has strides {array.strides}"
                )
            is_numpy = isinstance(array, np.ndarray)
            if on_gpu is is_numpy:
                raise ValueError(f"{kernel}: arrays must all be NumPy or all be CuPy, not both")
            on_gpu = not is_numpy
            values.append(array.__array_interface__["data"][0] if is_numpy else array)
        if count == 0:
            return
        if on_gpu:
            self._launch_on_gpu(kernel, count, parameters, arguments)
            return
        if not self._cpu_functions:
            self.compile_for_cpu()
        self._cpu_functions[kernel](_cpu_threads, *values)

    def compile_for_cpu(self) -> None:
        """Build (or find in the cache) and load the CPU library, as the first launch would."""
        with self._lock:
            if self._cpu_functions:
                return
            library = ctypes.CDLL(str(build_cpu_library(self.path, self._cpu_text())))
            functions = {}
            for name, parameters in self.kernels.items():
                function = getattr(library, f"{name}_on_cpu")
                function.restype = None
                function.argtypes = [ctypes.c_int] + [
                    ctypes.c_void_p if p.is_pointer else _SCALARS[p.type][0] for p in parameters
                ]
                functions[name] = function
            self._cpu_functions = functions

    def is_built_for_cpu(self) -> bool:
        """Whether the CPU library is in the cache."""
        return cpu_library(self.path, self._cpu_text()).exists()

    def _cpu_text(self) -> str:
        return self.text + _cpu_launchers(self.kernels)

    def _launch_on_gpu(
        self, kernel: str, count: int, parameters: tuple[Parameter, ...], arguments: tuple[object, ...]
    ) -> None:
        import cupy

        with self._lock:
            if self._gpu_module is None:
                # CuPy's cache of compiled code looks at the source and not at what it includes.
                code = f"{self.text}\n// headers: {headers_fingerprint()}\n"
                self._gpu_module = cupy.RawModule(code=code, options=gpu_compiler_options())
        values = [
            (np.uintp(0) if argument is None else argument)
            if parameter.is_pointer
            else _SCALARS[parameter.type][1](argument)
            for parameter, argument in zip(parameters, arguments, strict=True)
        ]
        blocks = min((count + GPU_BLOCK - 1) // GPU_BLOCK, GPU_MAXIMUM_BLOCKS)
        self._gpu_module.get_function(kernel)((blocks,), (GPU_BLOCK,), tuple(values))


def kernel_sources() -> list[KernelSource]:
    """Every ``.cu`` file of this package, by name."""
    return [KernelSource(path.stem) for path in sorted(SOURCE_FOLDER.glob("*.cu"))]


def kernels_to_build() -> list[str]:
    """Those that the cache does not hold for this processor yet. Raises CompilerError."""
    return [source.path.stem for source in kernel_sources() if not source.is_built_for_cpu()]


def headers_fingerprint() -> str:
    """sha256 over the headers that kernels include."""
    digest = hashlib.sha256()
    for header in sorted(HEADER_FOLDER.glob("*.h")):
        digest.update(header.read_bytes())
    return digest.hexdigest()


def gpu_compiler_options() -> tuple[str, ...]:
    """Options for NVRTC, the same for a launch and for the cubin check; CuPy adds :data:`CUPY_OPTIONS`."""
    return ("--std=c++17", f"-I{HEADER_FOLDER}")


def _cpu_launchers(kernels: dict[str, tuple[Parameter, ...]]) -> str:
    """C++ functions ``<kernel>_on_cpu(threads, …)`` that give every thread its share of the indices."""
    lines = ["", "#include <omp.h>"]
    for name, parameters in kernels.items():
        declared = ", ".join(f"{p.type}{'*' if p.is_pointer else ''} {p.name}" for p in parameters)
        passed = ", ".join(p.name for p in parameters)
        lines += [
            f'extern "C" void {name}_on_cpu(int threads_, {declared}) {{',
            f"    if (threads_ == 1) {{ {name}({passed}); return; }}",
            "    #pragma omp parallel num_threads(threads_)",
            "    {",
            "        cpu_thread = {omp_get_thread_num(), omp_get_num_threads()};",
            f"        {name}({passed});",
            "        cpu_thread = {0, 1};",
            "    }",
            "}",
        ]
    return "\n".join(lines) + "\n"
