"""What answers calls: they are let in, sent to the Triton that is there, and sent again where it dies.

From a photo to an avatar is a pure function: what was lost on the way is computed again, and nobody is told.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission
from facewright.gateway.call import Call
from facewright.gateway.callers import Callers
from facewright.gateway.marks import Marks
from facewright.gateway.triton import LostError, Triton
from facewright_client.contract import ErrorCode

#: How often a lost call is sent again.
_MOST_REPLAYS: Final = 2
#: And how often one that a stage which does not move was given: it is replaced long before.
_MOST_UNHEALTHY: Final = 200
#: What a Triton that lost a call is given to be replaced or found in health; then it is asked again.
_LOOKED_AFTER_S: Final = 3.0
#: Requests that ended an instance twice are refused for as long, and so many of them are remembered.
_REMEMBERED_S: Final = 600.0
_MOST_REMEMBERED: Final = 1000


class TritonHouse:
    """Answers calls by whichever Triton is there. On one event loop.

    Args:
        admission: who is let in.
        callers: what each of them may ask for, and has used.
        marks: what stages hold.
        hear: reads what stages have told by now; without it `marks` hears by itself.
    """

    def __init__(
        self,
        admission: Admission,
        callers: Callers,
        marks: Marks,
        hear: Callable[[], object] = lambda: None,
    ) -> None:
        self._admission, self._callers, self._marks, self._hear = admission, callers, marks, hear
        self._triton: Triton | None = None
        self._changed = asyncio.Event()
        self._inside: dict[str, Call] = {}
        self._blamed: dict[str, int] = {}  # by request id: how often what worked on it ended
        self._culprits: OrderedDict[bytes, float] = OrderedDict()  # by digest: until when
        self.replayed = 0  # calls, however often each was sent
        #: When Triton said last, and first since another one is used, that a stage does not move.
        self.unhealthy: tuple[float, float] | None = None

    @property
    def triton(self) -> Triton | None:
        """What answers now."""
        return self._triton

    def use(self, triton: Triton) -> None:
        """Send calls to this one from now on; the one before finishes what it has."""
        self._triton, self.unhealthy = triton, None
        self._announce()

    def forget(self, triton: Triton) -> bool:
        """Send nothing to a Triton any more; whether calls wait for the next."""
        if self._triton is triton:
            self._triton = None
            self._announce()
        return self._triton is None

    def began(self, identity: str, stage: str) -> None:
        """A stage has begun to work on a request."""
        call = self._inside.get(identity)
        if call is not None:
            call.trace.began(stage)
            call.began(stage)

    def finished(self, identity: str, stage: str) -> None:
        """A stage has a request no more."""
        call = self._inside.get(identity)
        if call is not None:
            call.trace.finished(stage)

    def blame(self, identities: frozenset[str]) -> None:
        """Requests that were in the hands of an instance that ended."""
        for identity in identities & self._inside.keys():
            self._blamed[identity] = self._blamed.get(identity, 0) + 1

    async def answer(self, call: Call) -> bytes:
        """As of `House`."""
        async with call.trace, self._entered(call):
            losses: list[LostError] = []
            while True:
                triton = await self._available(call)
                try:
                    call.trace.sent()
                    answer = await triton.answer(call)
                    self._hear()  # what stages told before their answer has come in a socket of its own
                except LostError as lost:
                    losses.append(lost)
                    await self._after_loss(call, triton, losses)
                except FacewrightError:
                    self._marks.returned(call.request_id)
                    raise
                else:
                    self._marks.returned(call.request_id)
                    return answer

    async def answers(self, call: Call) -> AsyncIterator[bytes]:
        """As of `House`. What has been heard of cannot be sent again without being heard twice."""
        async with call.trace, self._entered(call):
            losses: list[LostError] = []
            heard = False
            while True:
                triton = await self._available(call)
                try:
                    call.trace.sent()
                    async for answer in triton.answers(call):
                        heard = True
                        yield answer
                    return
                except LostError as lost:
                    if heard:
                        raise _unavailable("what worked on this request ended") from lost
                    losses.append(lost)
                    await self._after_loss(call, triton, losses)

    async def ask(self, method: str, question: bytes, timeout_s: float) -> bytes:
        """What Triton says about itself.

        Raises:
            FacewrightError: its own; UNAVAILABLE where none is there.
        """
        triton = self._triton
        if triton is None:
            raise _unavailable("the server is starting, or restarting")
        try:
            return await triton.ask(method, question, timeout_s)
        except LostError as lost:
            raise _unavailable(str(lost)) from lost

    @asynccontextmanager
    async def _entered(self, call: Call) -> AsyncIterator[None]:
        """For as long as a call is in the house; what becomes of it is counted."""
        usage = self._callers.usage(call.caller)
        usage.requests += 1
        usage.photo_bytes += len(call.request)
        inside = False
        try:
            self._refuse_culprit(call)
            self._callers.spend(call.caller)
            async with self._admission.admitted(call):
                entered, inside = time.monotonic(), True
                self._inside[call.request_id] = call
                try:
                    yield
                finally:
                    usage.inside_seconds += time.monotonic() - entered
                    self._inside.pop(call.request_id, None)
                    self._blamed.pop(call.request_id, None)
        except BaseException:
            if inside:
                usage.failures += 1
                self._marks.left(call.request_id)  # whatever is still done for it is done for nobody
            else:
                usage.refused += 1
            raise

    async def _available(self, call: Call) -> Triton:
        """The Triton that is there; one that is coming is waited for as long as the caller does."""
        while self._triton is None:
            changed = self._changed
            try:
                async with asyncio.timeout(_left_s(call)):
                    await changed.wait()
            except TimeoutError:
                raise FacewrightError(
                    ErrorCode.DEADLINE_EXCEEDED,
                    "the server was restarting until the time allowed was over",
                    "allow more time, or try again",
                ) from None
        return self._triton

    async def _after_loss(self, call: Call, triton: Triton, losses: list[LostError]) -> None:
        """Let the house be mended, before the call is sent again.

        Raises:
            FacewrightError: INTERNAL: it ended what worked on it, twice; UNAVAILABLE: it was lost too often.
        """
        lost = losses[-1]
        waits_s = _LOOKED_AFTER_S
        if lost.unhealthy:
            # Triton goes on to hand calls to a stage that does not move, and others of its kind do: this one
            # was not begun, and the next may be luckier until there is another Triton.
            now = time.monotonic()
            self.unhealthy = (now, self.unhealthy[1] if self.unhealthy else now)
            waits_s = _LOOKED_AFTER_S / 10
        if self._triton is triton:  # nobody has replaced it yet
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(waits_s):
                    await changed.wait()
        if self._blamed.get(call.request_id, 0) >= _MOST_REPLAYS:
            self._remember(call)
            raise _culprit()
        if sum(not other.unhealthy for other in losses) > _MOST_REPLAYS or len(losses) > _MOST_UNHEALTHY:
            raise _unavailable(f"what worked on this request ended {len(losses)} times") from lost
        self.replayed += len(losses) == 1

    def _refuse_culprit(self, call: Call) -> None:
        if not self._culprits:
            return
        digest, now = call.digest(), time.monotonic()
        while self._culprits and next(iter(self._culprits.values())) < now:
            self._culprits.popitem(last=False)
        if digest in self._culprits:
            raise _culprit()

    def _remember(self, call: Call) -> None:
        self._culprits[call.digest()] = time.monotonic() + _REMEMBERED_S
        if len(self._culprits) > _MOST_REMEMBERED:
            self._culprits.popitem(last=False)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _left_s(call: Call) -> float | None:
    return None if call.deadline is None else max(call.deadline - time.monotonic(), 0.0)


def _culprit() -> FacewrightError:
    return FacewrightError(
        ErrorCode.INTERNAL,
        "this request ended what worked on it, twice, and is not tried again",
        "send another photo, or the photo saved anew by another program",
    )


def _unavailable(what: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.UNAVAILABLE, what, "try again in some seconds", retry_after_s=_LOOKED_AFTER_S
    )
