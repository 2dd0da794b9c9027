"""What is free inside this process: kept for the next answers, and given back to the kernel after a while."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

_EVERY_S: Final = 30.0
#: mallopt(3): of free memory at a heap's end, and of the largest block that lies in a heap, bytes; the latter
#: as large as glibc allows.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 64 * 2**20
_LARGEST_IN_HEAP: Final = 32 * 2**20


def keep_memory() -> None:
    """Keep what is freed until `give_back_memory` has its turn. Left to itself the C library gives blocks of
    an answer's size back at once, and the kernel clears every page of the next answer's: a third of what an
    answer of 3 MB costs here. Does nothing where the C library is not glibc.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_TRIM_THRESHOLD, _KEPT)
        set_option(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP)


async def give_back_memory(every_s: float = _EVERY_S) -> None:
    """Now and then, for ever. What an attack made the heap grow by stays with it otherwise: between blocks
    that are free lie small ones that are not. Does nothing where the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)
