"""A house that answers each call after a fixed time, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Call, Caller
from tests.support.virtual_time import run_in_virtual_time

SERVICE_S = 0.4
ANNA = Caller("anna")
_NUMBERS = itertools.count()


def a_call(
    caller: Caller = ANNA,
    *,
    size: int = 10,
    deadline: float | None = None,
    pipeline: str = "avatar",
    priority: int = 0,
) -> Call:
    return Call(pipeline, bytes(size), f"request {next(_NUMBERS)}", caller, deadline, priority, 0.0)


class TimedHouse:
    """Answers each call after its time, and writes down who entered when."""

    def __init__(self, **settings: Any) -> None:
        self.admission = Admission(
            AdmissionSettings(**settings),
            {"avatar": SERVICE_S, "refine": 20.0},
            asyncio.get_running_loop().time,
        )
        self.entered: list[tuple[float, str]] = []
        self.service_s = {"avatar": SERVICE_S, "refine": 20.0}

    async def answer(self, call: Call) -> float:
        async with self.admission.admitted(call) as waited_s:
            self.entered.append((asyncio.get_running_loop().time(), call.caller.name))
            await asyncio.sleep(self.service_s[call.pipeline])
        return waited_s

    def call(self, *args: Any, **kwargs: Any) -> asyncio.Task[float]:
        return asyncio.create_task(self.answer(a_call(*args, **kwargs)))

    @property
    def is_empty(self) -> bool:
        figures = self.admission.figures()
        return not any([*figures.inside.values(), *figures.waiting.values(), figures.held_bytes])


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that is a coroutine."""

    def run() -> None:
        run_in_virtual_time(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def refusal_of(task: Awaitable[object]) -> FacewrightError:
    """What a call is refused with."""
    with pytest.raises(FacewrightError) as refused:
        await task
    return refused.value
