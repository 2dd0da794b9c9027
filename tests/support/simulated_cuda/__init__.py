"""A CUDA device without a GPU, so that what only a GPU runs is run by the tests.

`activate` makes ``import cupy`` find two devices. Real are CuPy itself (its arrays, memory pool, argument
packing, cache, streams, graphs and DLPack, in the pinned version), the source of every kernel, CuPy's own
included, in its branch for GPUs, with the blocks and threads that it is launched with, and the Python that
calls all this. Simulated is what lies below CuPy:

- ``driver.cpp`` is the driver's library: it loads compiled kernels and launches them. ``nvrtc.cpp`` compiles
  CUDA C++ with g++ after ``include/prelude.h``. ``cublas.cpp`` multiplies matrices.
- ``runtime.cpp`` takes the place of the CUDA runtime. CuPy's wheel holds NVIDIA's, linked into the module
  ``cupy_backends.cuda.api.runtime``, and that one works with NVIDIA's driver only; so the functions that
  this module gives to CuPy's other modules are exchanged, before any of these is imported.
- Sorting and random numbers, which CuPy's wheel holds compiled for GPUs, are NumPy's (``cupy_parts.py``).

What shows here: wrong arguments, dtypes, shapes, strides and launch sizes; host memory given to a kernel or
taken from one; memory that nobody wrote (it is NaN); a missing wait of the host or between streams, because
a stream runs only when something waits for it, or, after `run_early`, far ahead of the others; what a
captured graph does not take; what depends on the order of threads, which `threads_backwards` reverses;
denormals, which CuPy's options make 0 (here in float64 as well).

What cannot show: races, and atomics that are missing, because one thread runs after the other; what NVRTC or
a GPU refuses (``scripts/check-cubins`` compiles the kernels with the real one); a GPU's own rounding, of
fused operations and of its functions; accesses beyond an array but within CuPy's pool; speed. What holds here
still wants a GPU before a release.
"""

from __future__ import annotations

import _ctypes
import ctypes
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final

from tests.support.simulated_cuda.build import build

#: C types in the signatures of CuPy's functions.
_TYPES: Final[dict[str, Any]] = {
    "PyObject *": ctypes.py_object,
    "float": ctypes.c_float,
    "int": ctypes.c_int,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "unsigned int": ctypes.c_uint,
}


def has_real_gpu() -> bool:
    """Whether NVIDIA's driver is here and has a device."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    try:
        if hasattr(driver, "simulated_cuda_connect"):
            return False
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    finally:
        _ctypes.dlclose(driver._handle)  # a driver without a device must not be found in the place of ours


@cache
def activate() -> ModuleType:
    """CuPy on the simulated devices, for the rest of this process.

    Raises:
        ImportError: CuPy is not installed.
        RuntimeError: CuPy was imported before, or this process has a GPU.
        CompilerError: g++ is missing or refused the libraries.
    """
    if find_spec("cupy") is None:
        raise ImportError("CuPy is not installed", name="cupy")
    if has_real_gpu():
        raise RuntimeError("this machine has a GPU, which the simulated one must not hide")
    if "cupy" in sys.modules:
        raise RuntimeError("cupy was imported before the simulated CUDA device was there")
    libraries = build()
    os.environ["CUPY_CACHE_DIR"] = str(libraries.kernels)
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB's kernels use instructions of warps
    # Found by name from now on, wherever else there are libraries of these names.
    device = ctypes.PyDLL(str(libraries.cuda), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(libraries.nvrtc), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(libraries.cublas), ctypes.RTLD_GLOBAL)
    _exchange_runtime(device)
    # By its name, where CuPy would first look for what NVIDIA's cuBLAS needs.
    importlib.import_module("cupy_backends.cuda.libs.cublas")
    cupy = importlib.import_module("cupy")
    importlib.import_module("tests.support.simulated_cuda.cupy_parts").exchange()
    return cupy


@contextmanager
def threads_backwards() -> Iterator[None]:
    """Launches of the block run their threads from the last to the first."""
    device = ctypes.CDLL("libcuda.so.1")
    device.simulated_cuda_run_backwards(1)
    try:
        yield
    finally:
        device.simulated_cuda_run_backwards(0)


def run_early(stream: Any) -> None:
    """From now on a stream of CuPy's runs what is queued on it at once, far ahead of the others: a wait for
    them that is missing shows.
    """
    device = ctypes.PyDLL("libcuda.so.1")
    assert device.simulated_cuda_run_early(ctypes.c_ssize_t(stream.ptr), 1) == 0


def _exchange_runtime(device: ctypes.PyDLL) -> None:
    """Puts ``runtime_<name>`` of the library in the place of each function <name> of CuPy's runtime module:
    for the modules that bind it by its address, and for Python.
    """
    runtime = importlib.import_module("cupy_backends.cuda.api.runtime")
    functions: dict[str, Any] = runtime.__pyx_capi__
    device.simulated_cuda_connect.argtypes = [ctypes.c_void_p, ctypes.py_object]
    device.simulated_cuda_connect.restype = None
    device.simulated_cuda_connect(_address(functions["check_status"]), runtime.PointerAttributes)
    for name, capsule in list(functions.items()):
        function = getattr(device, f"runtime_{name}", None)
        if function is None:
            continue
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
        signature = _signature(capsule)
        functions[name] = _capsule(address, signature)
        if hasattr(runtime, name):
            setattr(runtime, name, _python_function(address, signature.decode()))


def _python_function(address: int, signature: str) -> Callable[..., Any]:
    """What Cython makes of ``result (arguments, int __pyx_skip_dispatch, optional arguments)`` for Python."""
    found = re.fullmatch(r"(.+?) ?\((.*?)(?:, )?int __pyx_skip_dispatch(.*)\)", signature)
    assert found, signature
    result, required, optional = found.groups()
    types = [_TYPES[name] for name in required.split(", ") if name]
    after = [ctypes.c_int, *([ctypes.c_void_p] if optional else [])]
    # Cython's own classes are objects of Python's.
    function = ctypes.PYFUNCTYPE(_TYPES.get(result, ctypes.py_object), *types, *after)(address)

    def call(*arguments: Any) -> Any:
        return function(*arguments[: len(types)], *(0 for _ in after))

    return call


_KEPT: list[bytes] = []  # a capsule does not own its name
_capsules = ctypes.pythonapi


def _signature(capsule: Any) -> bytes:
    _capsules.PyCapsule_GetName.restype = ctypes.c_char_p
    _capsules.PyCapsule_GetName.argtypes = [ctypes.py_object]
    signature: bytes = _capsules.PyCapsule_GetName(capsule)
    return signature


def _address(capsule: Any) -> int | None:
    _capsules.PyCapsule_GetPointer.restype = ctypes.c_void_p
    _capsules.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address: int | None = _capsules.PyCapsule_GetPointer(capsule, _signature(capsule))
    return address


def _capsule(address: int, signature: bytes) -> Any:
    _KEPT.append(signature)
    _capsules.PyCapsule_New.restype = ctypes.py_object
    _capsules.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return _capsules.PyCapsule_New(address, signature, None)
