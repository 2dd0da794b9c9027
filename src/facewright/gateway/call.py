"""One request at the door, whichever protocol brought it, and what answers it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol


@dataclass(frozen=True)
class Caller:
    """Who asks: what is fair between callers is by this.

    Attributes:
        name: the name of its API key; where none is asked for, the address that it calls from.
        best_priority: the most urgent priority that it may ask for; 0 is the most urgent of all.
        most_at_once: how many of its requests may be in the house at once; None: as many as fit.
        reads_metrics: whether it may know who the callers are and what they use.
    """

    name: str
    best_priority: int = 0
    most_at_once: int | None = None
    reads_metrics: bool = True


def _nobody(_stage: str) -> None:
    return


class CallTrace(Protocol):
    """Who is told when what becomes of a call. Entered while the call is in the house."""

    async def __aenter__(self) -> CallTrace: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def sent(self) -> None:
        """It is sent to Triton, for the first time or again."""

    def began(self, stage: str) -> None:
        """A stage begins to work on it."""

    def finished(self, stage: str) -> None:
        """A stage has it no more."""


class Untraced:
    """A `CallTrace` that nobody reads."""

    async def __aenter__(self) -> CallTrace:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def sent(self) -> None:
        """Nothing."""

    def began(self, stage: str) -> None:
        """Nothing."""

    def finished(self, stage: str) -> None:
        """Nothing."""


UNTRACED: Final = Untraced()
#: Makes the trace of a call: of its pipeline and its headers, or gRPC metadata, by names in small letters.
BeginTrace = Callable[[str, Mapping[str, str]], CallTrace]


def untraced(_pipeline: str, _headers: Mapping[str, str]) -> CallTrace:
    """`UNTRACED`, a `BeginTrace`."""
    return UNTRACED


@dataclass(frozen=True)
class Call:
    """One request for a pipeline.

    Attributes:
        pipeline: its name, one that is public.
        request: a KServe v2 ``ModelInferRequest``, serialised, with the ``id`` that `request_id` says as its
            last field: Triton is given these very bytes.
        request_id: unique in this house.
        caller: who asks.
        deadline: `time.monotonic` seconds until which the caller waits; None: as long as it takes.
        priority: 0 is answered before 1, and so on.
        arrived: `time.monotonic` seconds.
        began: told the name of each stage that begins to work on it, on the event loop.
        trace: see there.
        wanted: names of the outputs that the caller wants, where Triton is asked for more; None: all that it
            gives.
    """

    pipeline: str
    request: bytes
    request_id: str
    caller: Caller
    deadline: float | None = None
    priority: int = 0
    arrived: float = field(default_factory=time.monotonic)
    began: Callable[[str], None] = _nobody
    trace: CallTrace = UNTRACED
    wanted: frozenset[str] | None = None

    def digest(self) -> bytes:
        """Of the request, whatever its ``id``."""
        return hashlib.sha256(memoryview(self.request)[: -len(self.request_id)]).digest()


class House(Protocol):
    """What answers calls. Whoever stops waiting, by cancelling, ends what is done for it."""

    async def answer(self, call: Call) -> bytes:
        """A serialised ``ModelInferResponse``.

        Raises:
            FacewrightError: a stage's own, or OVERLOADED, with ``retry_after_s``, where it is not let in.
        """

    def answers(self, call: Call) -> AsyncIterator[bytes]:
        """The answers of a pipeline that streams: serialised ``ModelInferResponse``, the last one with
        ``triton_final_response``.

        Raises:
            FacewrightError: as `answer`.
        """
