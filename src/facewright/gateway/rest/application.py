"""The REST door's routes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.gateway.call import BeginTrace, Call, Caller, House, untraced
from facewright.gateway.callers import by_name
from facewright.gateway.rest import making
from facewright.gateway.rest.answers import GLB, MIXED, Avatar, Avatars, Code, no_room_for
from facewright.gateway.rest.asked import (
    Asked,
    asked,
    avatar_pipelines,
    query_parameters,
)
from facewright.gateway.rest.body import CODE_FIELD, PHOTO_FIELD, Body, read_body, read_file
from facewright.gateway.rest.desk import Desk, form_for
from facewright.gateway.rest.errors import (
    JSON,
    KServeOverHttpError,
    RequestError,
    error_response,
    fault,
)
from facewright.gateway.rest.events import EVENTS
from facewright.gateway.rest.handling import Handling
from facewright.gateway.rest.jobs import Jobs
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.memory import BodyMemory
from facewright.gateway.rest.middleware import Envelope, UnreadBody, note_fault
from facewright.gateway.rest.openapi import openapi
from facewright.gateway.rest.page import PAGE_POLICY, docs_page
from facewright.gateway.rest.pipeline_list import pipeline_list
from facewright.gateway.rest.refinements import (
    Refined,
    asked_refinement,
    refinement_pipelines,
    start_inputs,
)
from facewright.pipelines.stages import Pipeline
from facewright_client import contract

#: From here on photos are put into their requests beside the event loop: a megabyte takes a millisecond.
_LARGE_BODY: Final = 2**20
_METRICS_HINT: Final = "ask whoever runs the server for metrics = true in its line of the key file"
#: Paths of KServe's protocol over HTTP: version 2, and version 1, which is TensorFlow Serving's.
_KSERVE: Final = re.compile(r"/v2(/|$)|/v1/models(/|$)")
_PROMETHEUS: Final = "text/plain; version=0.0.4"


def _anybody(_headers: Mapping[str, str], peer: str) -> Caller:
    return Caller(peer)


async def _no_metrics() -> bytes:
    return b""


@dataclass(frozen=True)
class RestSettings:
    """What the REST door is given beside the house.

    Attributes:
        authenticate: who calls, by headers (names in small letters, those that came several times joined by
            commas) and address; raises UNAUTHENTICATED.
            Asked before anything of a body is read; health, version and documentation are for everybody.
        ready: whether calls are taken.
        metrics: Prometheus' text.
        middleware: around the routes, such as checks of ``Host`` and ``Origin``.
        limits: see there.
        jobs: see there.
        begin_trace: makes calls' traces.
        grpc_port: of the other door, for who takes this one for it; None: not known.
    """

    authenticate: Callable[[Mapping[str, str], str], Caller] = _anybody
    ready: Callable[[], bool] = lambda: True
    metrics: Callable[[], Awaitable[bytes]] = _no_metrics
    middleware: Sequence[Middleware] = ()
    limits: RestLimits = field(default_factory=RestLimits)
    jobs: Jobs = field(default_factory=Jobs)
    begin_trace: BeginTrace = untraced
    grpc_port: int | None = None


def rest_application(
    house: House, served: Mapping[str, Pipeline], settings: RestSettings | None = None
) -> ASGIApp:
    """The REST door as an ASGI application.

    Args:
        house: what answers calls.
        served: the public pipelines by name; the first that makes an avatar of a photo is the default.
        settings: see there.
    """
    door = _Door(house, served, settings or RestSettings())
    application = Starlette(
        routes=door.routes(),
        middleware=list(door.settings.middleware),
        exception_handlers={
            FacewrightError: _facewright_error,
            HTTPException: partial(_http_exception, door.settings.grpc_port),
            ClientDisconnect: _client_left,
            Exception: _fault,
        },
    )
    application.router.redirect_slashes = False
    return Envelope(UnreadBody(application, door.settings.limits.discard_s))


class _Door:
    """The endpoints."""

    def __init__(self, house: House, served: Mapping[str, Pipeline], settings: RestSettings) -> None:
        self.settings = settings
        self._house = house
        self._memory = BodyMemory(settings.limits.memory_bytes)
        self._desk = Desk(settings.jobs, self._memory, settings.limits)
        self._avatars, self._refinements = avatar_pipelines(served), refinement_pipelines(served)
        release = Provenance().version
        document = openapi(self._avatars, self._refinements, settings.limits, release)
        self._version = JSONResponse({"facewright": release, "api": "v1"})
        self._openapi = JSONResponse(document)
        self._docs = HTMLResponse(docs_page(document), headers={"Content-Security-Policy": PAGE_POLICY})
        self._pipelines = JSONResponse(pipeline_list(served, {*self._avatars, *self._refinements}))

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/avatars", self.avatars, methods=["POST"]),
            Route("/v1/refinements", self.refinements, methods=["POST"]),
            Route("/v1/jobs/{id}", self.job),
            Route("/v1/jobs/{id}", self.delete_job, methods=["DELETE"]),
            Route("/v1/jobs/{id}/result", self.job_result),
            Route("/v1/pipelines", self.pipelines),
            Route("/v1/version", _always(self._version)),
            Route("/v1/health/live", _always(JSONResponse({"live": True}))),
            Route("/v1/health/ready", self.ready),
            Route("/v1/metrics", self.metrics),
            Route("/v1/openapi.json", _always(self._openapi)),
            Route("/v1/docs", _always(self._docs)),
        ]

    async def avatars(self, request: Request) -> Response:
        """Avatars of the photos in the body."""
        began_at = time.monotonic()
        caller = self._caller(request)
        handling = Handling.of(request.headers)
        form = form_for(request, (*Avatar.forms, EVENTS))
        # A job's result is asked for later, in any form; one that may come at once, as it is asked for now.
        room_in = None if handling.asynchronous and not handling.wait_s else form
        wanted, calls = await self._file_calls(request, caller, began_at, room_in)
        calls = [self._traced(request, call) for call in calls]
        if wanted.merged is not None:

            def merge(codes: bytes, merged: Asked = wanted.merged) -> Call:
                return self._traced(request, merged.file_call((codes,), caller, began_at))

            merging = partial(making.together, self._house, calls, merge, wanted.code)
            # What is asked of the codes counts, too, where a key asks for the same again.
            return await self._desk.answer(request, [*calls, merge(b"")], merging, (*Avatar.forms, EVENTS))
        if wanted.code_alone:
            if len(calls) > 1:
                raise RequestError(400, f"{len(calls)} photos with avatar=false", "send one at a time")
            making_code = partial(making.code, self._house, calls[0])
            return await self._desk.answer(request, calls, making_code, (*Code.forms, EVENTS))
        if len(calls) > 1:
            return await self._desk.answer(
                request, calls, partial(making.avatars, self._house, calls), Avatars.forms
            )
        work = partial(making.avatar, self._house, calls[0], _may_be_curl_d(request))
        return await self._desk.answer(request, calls, work, (*Avatar.forms, EVENTS))

    async def refinements(self, request: Request) -> Response:
        """The start in the body, refined."""
        began_at = time.monotonic()
        caller = self._caller(request)
        Handling.of(request.headers)
        forms = (*Refined.forms, EVENTS)
        form_for(request, forms)
        query = query_parameters(request.scope["query_string"], self.settings.limits.parameters)
        wanted = asked_refinement(query, request.headers, self._refinements)
        with self._memory.holding(caller.name) as share:
            pieces = await read_file(request, self.settings.limits, share)
            inputs = await asyncio.to_thread(start_inputs, pieces)
            call = self._traced(request, wanted.call(inputs, caller, began_at))
        return await self._desk.answer(
            request, [call], partial(making.refined, self._house, wanted.pipeline, call), forms
        )

    async def job(self, request: Request) -> Response:
        """How far a job is."""
        return await self._desk.job(request, self._caller(request).name)

    async def job_result(self, request: Request) -> Response:
        """What a job gave."""
        return await self._desk.result(request, self._caller(request).name)

    async def delete_job(self, request: Request) -> Response:
        """Stop or forget a job."""
        return await self._desk.delete(request, self._caller(request).name)

    async def pipelines(self, request: Request) -> Response:
        """All public pipelines."""
        self._caller(request)
        return self._pipelines

    async def ready(self, _request: Request) -> Response:
        """Whether calls are taken."""
        ready = self.settings.ready()
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text."""
        caller = self._caller(request)
        if not caller.reads_metrics:
            raise RequestError(403, f"the API key of {caller.name} does not open the metrics", _METRICS_HINT)
        return PlainTextResponse(await self.settings.metrics(), headers={"Content-Type": _PROMETHEUS})

    async def _file_calls(
        self, request: Request, caller: Caller, began_at: float, form: str | None
    ) -> tuple[Asked, list[Call]]:
        """What a request asks for, and a call for each file. Afterwards the files are in their calls only."""
        limits = self.settings.limits
        query = query_parameters(request.scope["query_string"], limits.parameters)
        wanted = asked(query, request.headers, self._avatars)  # before the body, which may be large
        with self._memory.holding(caller.name) as share:
            body = await read_body(request, limits, share)
            if body.fields:
                wanted = asked([*query, *body.fields], request.headers, self._avatars)
            _require_its_files(wanted, body)
            answered = wanted.merged or wanted
            if form is not None and len(body.files) > 1 and not wanted.merged:
                self._require_room_for_several(len(body.files), wanted, form)
            if form in (GLB, MIXED):
                _require_no_more(answered, form)
            if share.size < _LARGE_BODY:
                return wanted, [wanted.file_call(file, caller, began_at) for file in body.files]
            return wanted, [
                await asyncio.to_thread(wanted.file_call, file, caller, began_at) for file in body.files
            ]

    def _require_room_for_several(self, avatars: int, wanted: Asked, form: str) -> None:
        """Refuse several avatars in a form of one, before they are computed."""
        if form in (GLB, EVENTS):
            error = no_room_for(avatars, form)
            if contract.MERGE_PIPELINE in self._avatars and contract.CODE in wanted.pipeline.gives:
                error.hint += (
                    "; where all photos are of one person, send together=true for one avatar of them"
                )
            raise error

    def _traced(self, request: Request, call: Call) -> Call:
        return replace(call, trace=self.settings.begin_trace(call.pipeline, request.headers))

    def _caller(self, request: Request) -> Caller:
        peer = request.client.host if request.client else ""
        return self.settings.authenticate(by_name(request.headers.items()), peer)


def _may_be_curl_d(request: Request) -> bool:
    """Whether a photo may have come by ``curl -d``; ``--data-binary`` says the same of its body."""
    return request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")


def _require_no_more(wanted: Asked, form: str) -> None:
    """Refuse what an answer in that form has no room for, before it is computed."""
    more = [name for name, asked_for in (("preview", wanted.preview), ("code", wanted.code)) if asked_for]
    more = more if form == GLB else []
    more += ["tensors"] if wanted.tensors else []
    if more:
        forms = JSON if "tensors" in more else f"{JSON} or {MIXED}"
        raise RequestError(406, f"{form} has no room for {' and '.join(more)}", f"send Accept: {forms}")


def _require_its_files(wanted: Asked, body: Body) -> None:
    """Refuse photos where codes are taken, and codes where photos are, as far as a form names them."""
    if body.named and (body.named == CODE_FIELD) != wanted.takes_codes:
        needed = PHOTO_FIELD if body.named == CODE_FIELD else CODE_FIELD
        hint = (
            f"send pipeline={contract.MERGE_PIPELINE}"
            if needed == PHOTO_FIELD
            else f"name the files {needed!r}"
        )
        raise RequestError(400, f"{wanted.pipeline.name} takes no file {body.named!r}", hint)


def _always(response: Response) -> Callable[[Request], object]:
    async def endpoint(_request: Request) -> Response:
        return response

    return endpoint


async def _facewright_error(_request: Request, error: Exception) -> Response:
    return error_response(error if isinstance(error, FacewrightError) else fault())


async def _http_exception(grpc_port: int | None, request: Request, error: Exception) -> Response:
    """Starlette's own: there is no such path, or it has another method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = dict(headers or {}).get("Allow", "")
        return error_response(
            RequestError(status, f"{request.method[:16]} is not for this path", f"use {allowed}", headers)
        )
    if status == HTTPStatus.NOT_FOUND and _KSERVE.match(request.scope["path"]):
        return error_response(KServeOverHttpError(grpc_port))
    if status == HTTPStatus.NOT_FOUND:
        return error_response(
            RequestError(status, "there is no such path", "GET /v1/docs lists those that there are")
        )
    return error_response(fault())


async def _fault(request: Request, error: Exception) -> Response:
    """Of ours; Starlette raises it again, for `Envelope`."""
    note_fault(request.scope, error)
    return error_response(fault())


async def _client_left(_request: Request, _error: Exception) -> Response:
    """Nobody reads it."""
    return Response(None, 400)
