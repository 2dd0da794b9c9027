"""The GPU that tests run on: this machine's, or a simulated one."""

from __future__ import annotations

import importlib
from typing import Any, Final

import pytest

from tests.support.simulated_cuda import activate, has_real_gpu

_IS_REAL: Final = has_real_gpu()

#: A parameter that stands for it, named in the tests' names.
GPU: Final = pytest.param("gpu" if _IS_REAL else "simulated_gpu", marks=pytest.mark.gpu)


def cupy_on_a_gpu() -> Any:
    """CuPy, working on it; skips the test where it is not installed."""
    pytest.importorskip("cupy_backends", reason="CuPy is not installed")
    return importlib.import_module("cupy") if _IS_REAL else activate()
