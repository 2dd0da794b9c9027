"""What bytes mean as linear light, and the way back (IEC 61966-2-1), as tables that kernels read."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final

import numpy as np

from facewright_kernels._runtime.boundary import ByteArray, FloatArray, array_module

#: Entries of the table linear → sRGB code. Its steepest part (12.92 × 255 codes per unit) moves 0.4 codes
#: an entry.
CODE_COUNT: Final = 8192


@lru_cache(maxsize=2)
def byte_decoding(srgb: bool) -> FloatArray:
    """f32 ``[256]``: what each byte means as linear light, or byte/255."""
    value = np.arange(256) / 255
    if srgb:
        value = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    table = value.astype(np.float32)
    table.setflags(write=False)
    return table


@lru_cache(maxsize=1)
def srgb_encoding() -> ByteArray:
    """u8 ``[CODE_COUNT]``: the sRGB code of evenly spaced linear values 0 to 1."""
    value = np.arange(CODE_COUNT) / (CODE_COUNT - 1)
    encoded = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    table = (encoded * 255 + 0.5).astype(np.uint8)
    table.setflags(write=False)
    return table


def table_beside(array: Any, make: Callable[..., Any], *arguments: bool) -> Any:
    """``make(*arguments)`` on the device of ``array``. A GPU keeps it: only its first call copies (and the
    host waits for that, so call once before capturing a CUDA graph).
    """
    if isinstance(array, np.ndarray):
        return make(*arguments)
    return _table_on_gpu(array.device.id, array_module(array), make, arguments)


@cache
def _table_on_gpu(device: int, xp: Any, make: Callable[..., Any], arguments: tuple[bool, ...]) -> Any:
    with xp.cuda.Device(device):
        table = xp.asarray(make(*arguments))
        xp.cuda.get_current_stream().synchronize()  # later calls may come on other streams
    return table
