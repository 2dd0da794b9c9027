"""The GPU that tests run on: this machine's, or the simulated one."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any, Final

import pytest

from facewright.core.errors import FacewrightError
from facewright.core.onnx_runtime import ort
from facewright_client.contract import ErrorCode
from tests.support.simulated_cuda import activate, has_real_gpu

IS_REAL: Final = has_real_gpu()

#: A parameter that stands for it, named in the tests' names.
GPU: Final = pytest.param("gpu" if IS_REAL else "simulated_gpu", marks=pytest.mark.gpu)


def prepare_gpu() -> None:
    """Makes the simulated one where there is none: before anything imports CuPy."""
    if not IS_REAL and find_spec("cupy") is not None:
        activate()


def cupy_on_a_gpu() -> Any:
    """CuPy, working on it; skips the test where it is not installed."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed")
    prepare_gpu()
    return importlib.import_module("cupy")


def cupy_with_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> Any:
    """CuPy on a GPU on which ONNX Runtime runs networks; skips the test where it has no CUDA provider."""
    cupy = cupy_on_a_gpu()
    if not IS_REAL:
        importlib.import_module("tests.support.queued_onnxruntime").use_queued_onnxruntime(monkeypatch)
    elif "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("ONNX Runtime has no CUDA provider")
    return cupy


def no_gpu() -> str:
    """In place of `compute_capability`, on a machine without one."""
    raise FacewrightError(ErrorCode.ENGINE_MISMATCH, "no NVIDIA driver", "choose the cpu profile")
