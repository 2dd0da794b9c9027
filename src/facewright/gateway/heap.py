"""Gives memory back that is free inside this process."""

from __future__ import annotations

import asyncio
import ctypes
from typing import Final

_EVERY_S: Final = 30.0


async def give_back_memory(every_s: float = _EVERY_S) -> None:
    """Now and then, for ever. What an attack made the heap grow by stays with it otherwise: between blocks
    that are free lie small ones that are not. Does nothing where the C library is not glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)
