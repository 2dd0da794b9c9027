"""What CuPy's wheel holds compiled for GPUs, on the simulated one: sorting and random numbers, by NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt
from cupy.cuda import thrust


def exchange() -> None:
    """Puts these in the place of CuPy's."""
    thrust.sort, thrust.argsort, thrust.lexsort = _sort, _argsort, _lexsort
    cupy.random.default_rng = Generator


class Generator:
    """The part of ``cupy.random.Generator`` that refinement uses, with NumPy's numbers."""

    def __init__(self, seed: int | None = None) -> None:
        self._numbers = np.random.default_rng(seed)

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> Any:
        """Numbers of the standard normal distribution on the device."""
        return cupy.asarray(self._numbers.standard_normal(size, dtype))


def _memory(address: int, dtype: Any, shape: Sequence[int]) -> npt.NDArray[Any]:
    """The device's memory, once what is queued on the current stream is done."""
    cupy.cuda.get_current_stream().synchronize()
    size = np.dtype(dtype).itemsize * int(np.prod(shape))
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


def _sort(dtype: Any, values: int, _keys: int, shape: Sequence[int]) -> None:
    _memory(values, dtype, shape).sort(axis=-1, kind="stable")


def _argsort(dtype: Any, indices: int, values: int, _keys: int, shape: Sequence[int]) -> None:
    array = _memory(values, dtype, shape)
    _memory(indices, np.intp, shape)[...] = array.argsort(axis=-1, kind="stable")
    array.sort(axis=-1, kind="stable")  # Thrust sorts both


def _lexsort(dtype: Any, indices: int, keys: int, rows: int, length: int) -> None:
    _memory(indices, np.intp, (length,))[...] = np.lexsort(_memory(keys, dtype, (rows, length)))
