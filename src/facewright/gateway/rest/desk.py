"""How work is answered: at once, by events, or as a job that is asked for later."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call
from facewright.gateway.rest.accept import preferred
from facewright.gateway.rest.asked import TIMEOUT_HEADER
from facewright.gateway.rest.errors import JSON, RequestError, error_response
from facewright.gateway.rest.events import EVENTS, EventsResponse
from facewright.gateway.rest.handling import Handling
from facewright.gateway.rest.job import Job, Key, Result, Told, Work
from facewright.gateway.rest.jobs import Jobs
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.memory import BodyMemory, HeldResponse, Making, Share
from facewright.gateway.rest.waiting import Waiters, while_awaited
from facewright_client.contract import ErrorCode

#: Of a job's resource.
_JOB_FORMS: Final = (JSON, EVENTS)


class Desk:
    """Answers work.

    Args:
        jobs: those of all callers.
        memory: in which answers count.
        limits: see there.
    """

    def __init__(self, jobs: Jobs, memory: BodyMemory, limits: RestLimits) -> None:
        self._jobs, self._memory, self._limits = jobs, memory, limits
        self._waiters = Waiters(limits.connections // 2)

    async def answer(
        self, request: Request, calls: Sequence[Call], work: Work, forms: Sequence[str]
    ) -> Response:
        """What the caller of some work is told.

        Args:
            request: whose body was read.
            calls: that the work consists of, all of one caller.
            work: see there.
            forms: media types in which the answer may come.

        Raises:
            FacewrightError: the work failed; BAD_REQUEST: 406, or 422 for a key of another request.
            ClientDisconnect: the client left, and work that is no job has ended.
        """
        handling, first = Handling.of(request.headers), calls[0]
        form = form_for(request, forms)
        if not handling.asynchronous and handling.key is None:
            answer = await while_awaited(request.receive, self._done(work, form))
            return HeldResponse(lambda _share: nullcontext(answer), self._memory, first.caller.name)
        # What is returned holds no calls: of those who join a job, nobody's photos are kept.
        job, joined = await self._job(calls, work, handling.key)
        if handling.asynchronous:
            return self._held(job, partial(self._accepted, request, job, form, handling.wait_s))
        deadline = first.deadline if joined else None  # else it is the job's own
        return self._held(job, partial(self._end, request, job, form, deadline))

    async def job(self, request: Request, caller: str) -> Response:
        """How far a job is: JSON, or events until its end."""
        job = self._jobs.of(caller, request.path_params["id"])
        if form_for(request, _JOB_FORMS) == EVENTS:
            return self._held(job, partial(self._end, request, job, EVENTS, None))
        return self._held(job, partial(self._state, request, job, Handling.of(request.headers).wait_s))

    async def result(self, request: Request, caller: str) -> Response:
        """What a job gave, as its request would have been answered."""
        job = self._jobs.of(caller, request.path_params["id"])
        return self._held(job, partial(self._result, request, job, Handling.of(request.headers).wait_s))

    async def delete(self, request: Request, caller: str) -> Response:
        """Stop a job, or forget what it gave."""
        self._jobs.delete(self._jobs.of(caller, request.path_params["id"]))
        return Response(None, 204)

    async def _job(self, calls: Sequence[Call], work: Work, text: str | None) -> tuple[Job, bool]:
        """One that was begun under the same key, or a new one; and whether it was begun before."""
        caller, key = calls[0].caller.name, None
        if text is not None:
            key = Key(text, await asyncio.to_thread(_digest, calls))  # a megabyte takes milliseconds
            known = self._jobs.begun_under(caller, key)
            if known is not None:
                return known, True
        job = self._jobs.start(caller, work, key)
        await asyncio.sleep(0)  # it has begun: what is refused at once is no job
        if job.failure is not None:
            self._jobs.discard(job)
            raise job.failure
        return job, False

    def _held(self, job: Job, make: Making) -> Response:
        return HeldResponse(make, self._memory, job.caller)

    @asynccontextmanager
    async def _accepted(
        self, request: Request, job: Job, form: str, wait_s: float, share: Share
    ) -> AsyncIterator[Response]:
        """A job's end, if it comes soon enough; else where to ask for it."""
        if await self._ended(job, wait_s):
            async with self._end(request, job, form, None, share) as answer:
                yield answer
        else:
            headers = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"}
            yield JSONResponse(job.members(), 202, headers)

    @asynccontextmanager
    async def _state(
        self, request: Request, job: Job, wait_s: float, _share: Share
    ) -> AsyncIterator[Response]:
        """How far a job is; failures are told whole."""
        await self._ended(job, wait_s)
        failed = job.failure is not None
        yield JSONResponse(job.members())
        if failed:
            self._collect(request, job)

    @asynccontextmanager
    async def _result(
        self, request: Request, job: Job, wait_s: float, share: Share
    ) -> AsyncIterator[Response]:
        """A job's end, if it has come."""
        if not await self._ended(job, wait_s):
            raise RequestError(
                409, "the job has not ended yet", "come back, or send Prefer: wait=30 to be told as it ends"
            )
        form = form_for(request, JSON_ONLY if job.result is None else job.result.forms)
        async with self._end(request, job, form, None, share) as answer:
            yield answer

    @asynccontextmanager
    async def _end(
        self, request: Request, job: Job, form: str, deadline: float | None, share: Share
    ) -> AsyncIterator[Response]:
        """What a job gives, told as that of other work; it counts as told when it was sent.

        A result takes its room before it is put into its form, of which there is one for each who asks.
        """
        if form == EVENTS:

            async def followed(told: Told) -> Result:
                result = await self._followed(job, deadline, told)
                share.take(result.size)
                return result

            answer: Response = EventsResponse(followed, self._limits.heartbeat_s)
        else:
            try:
                result = await self._followed(job, deadline, _nobody)
            except FacewrightError as error:
                answer = error_response(error)
            else:
                share.take(result.size)
                answer = await _in_form(result, form)
        answer.headers["Content-Location"] = f"/v1/jobs/{job.id}/result"
        yield answer
        self._collect(request, job)

    async def _done(self, work: Work, form: str) -> Response:
        """What work that is no job gives."""
        if form == EVENTS:
            return EventsResponse(work, self._limits.heartbeat_s)
        return await _in_form(await work(_nobody), form)

    async def _followed(self, job: Job, deadline: float | None, told: Told) -> Result:
        """`Job.followed` by one who waits until its deadline, `time.monotonic` seconds."""
        if job.task.done():
            return await job.followed(told)
        left_s = None if deadline is None else deadline - time.monotonic()
        try:
            with self._waiters.place(job.caller):
                async with asyncio.timeout(left_s):
                    return await job.followed(told)
        except TimeoutError:
            raise FacewrightError(
                ErrorCode.DEADLINE_EXCEEDED,
                "the job did not end within the time allowed, and goes on",
                f"send the same request again, or allow more time: {TIMEOUT_HEADER}",
            ) from None

    async def _ended(self, job: Job, wait_s: float) -> bool:
        """Whether a job ends within so long; nobody waits where too many do, for it is only preferred."""
        if wait_s and not job.task.done() and self._waiters.has_room(job.caller):
            with self._waiters.place(job.caller):
                await job.ended_within(wait_s)
        return job.task.done()

    def _collect(self, request: Request, job: Job) -> None:
        if request.method != "HEAD":
            self._jobs.collect(job)


JSON_ONLY: Final = (JSON,)


def form_for(request: Request, forms: Sequence[str]) -> str:
    """The media type of the answer.

    Raises:
        RequestError: 406.
    """
    accept = request.headers.get("accept", "")
    form = preferred(accept, forms)
    if form is None:
        raise RequestError(406, f"Accept is {accept[:64]!r}", f"there are {', '.join(forms)}")
    return form


async def _in_form(result: Result, form: str) -> Response:
    return await asyncio.to_thread(result.response, form) if form == JSON else result.response(form)


def _nobody(_name: str, _event: Mapping[str, Any]) -> None:
    return


def _digest(calls: Sequence[Call]) -> bytes:
    return hashlib.sha256(b"".join(call.digest() for call in calls)).digest()
