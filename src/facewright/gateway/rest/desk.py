"""How work is answered: at once, by events, or as a job that is asked for later."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from facewright.gateway.call import Call
from facewright.gateway.rest.accept import preferred
from facewright.gateway.rest.errors import JSON, RequestError, error_response
from facewright.gateway.rest.events import EVENTS, EventsResponse
from facewright.gateway.rest.handling import Handling
from facewright.gateway.rest.job import Job, Key, Result, Work
from facewright.gateway.rest.jobs import Jobs
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.memory import BodyMemory, HeldResponse
from facewright.gateway.rest.waiting import while_awaited

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
        handling, caller = Handling.of(request.headers), calls[0].caller.name
        form = form_for(request, forms)
        if not handling.asynchronous and handling.key is None:
            return HeldResponse(await self._made(request, work, form), self._memory, caller)
        key = None if handling.key is None else Key(handling.key, _digest(calls))
        job = self._jobs.start(caller, work, key)
        await asyncio.sleep(0)  # it has begun: what is refused at once is no job
        if job.failure is not None:
            self._jobs.delete(job)
            raise job.failure
        if handling.asynchronous and not await self._ended(request, job, handling.wait_s):
            headers = {"Location": f"/v1/jobs/{job.id}", "Preference-Applied": "respond-async"}
            return JSONResponse(job.members(), 202, headers)
        return await self._of_job(request, job, form)

    async def job(self, request: Request, caller: str) -> Response:
        """How far a job is: JSON, or events until its end."""
        job = self._jobs.of(caller, request.path_params["id"])
        if form_for(request, _JOB_FORMS) == EVENTS:
            return await self._of_job(request, job, EVENTS)
        await self._ended(request, job, Handling.of(request.headers).wait_s)
        if job.failure is not None:
            self._jobs.collect(job)
        return JSONResponse(job.members())

    async def result(self, request: Request, caller: str) -> Response:
        """What a job gave, as its request would have been answered."""
        job = self._jobs.of(caller, request.path_params["id"])
        if not await self._ended(request, job, Handling.of(request.headers).wait_s):
            raise RequestError(
                409, "the job has not ended yet", "come back, or send Prefer: wait=30 to be told as it ends"
            )
        form = form_for(request, JSON_ONLY if job.result is None else job.result.forms)
        return await self._of_job(request, job, form)

    async def delete(self, request: Request, caller: str) -> Response:
        """Stop a job, or forget what it gave."""
        self._jobs.delete(self._jobs.of(caller, request.path_params["id"]))
        return Response(None, 204)

    async def _of_job(self, request: Request, job: Job, form: str) -> Response:
        """The answer of a job, told as that of other work; its end counts as told when it was sent."""
        if job.failure is not None and form != EVENTS:
            answer = error_response(job.failure)
        else:
            answer = await self._made(request, job.followed, form)
        answer.headers["Content-Location"] = f"/v1/jobs/{job.id}/result"
        return HeldResponse(answer, self._memory, job.caller, lambda: self._jobs.collect(job))

    async def _made(self, request: Request, work: Work, form: str) -> Response:
        if form == EVENTS:
            return EventsResponse(work, self._limits.heartbeat_s)
        made: Result = await while_awaited(request.receive, work(lambda _name, _event: None))
        if form == JSON:
            return await asyncio.to_thread(made.response, form)
        return made.response(form)

    async def _ended(self, request: Request, job: Job, wait_s: float) -> bool:
        if not wait_s:
            return job.task.done()
        return await while_awaited(request.receive, job.ended_within(wait_s))


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


def _digest(calls: Sequence[Call]) -> bytes:
    return hashlib.sha256(b"".join(call.digest() for call in calls)).digest()
