"""TEMPORARY until adm is merged."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AdmissionSettings:
    longest_wait_s: float = 2.0


class Admission:
    def __init__(self, settings: Any, served: Any) -> None:
        self.n = 0
        self.e = asyncio.Event()
        self.e.set()

    @asynccontextmanager
    async def admitted(self, call: Any) -> Any:
        self.n += 1
        self.e.clear()
        try:
            yield
        finally:
            self.n -= 1
            if not self.n:
                self.e.set()

    def draining(self) -> None: ...
    async def empty(self) -> None:
        await self.e.wait()
