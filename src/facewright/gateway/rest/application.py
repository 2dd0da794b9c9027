"""The REST door's routes."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from facewright.gateway.call import Call, Caller, House
from facewright.gateway.rest import answers
from facewright.gateway.rest.accept import preferred
from facewright.gateway.rest.answers import GLB, MIXED, Avatar, Outcome
from facewright.gateway.rest.asked import (
    TIMEOUT_HEADER,
    Asked,
    asked,
    avatar_pipelines,
    query_parameters,
)
from facewright.gateway.rest.body import read_body
from facewright.gateway.rest.errors import JSON, RequestError, error_response, internal_error
from facewright.gateway.rest.events import EVENTS, EventsResponse
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.memory import BodyMemory, HeldResponse
from facewright.gateway.rest.middleware import Envelope, UnreadBody, log_fault
from facewright.gateway.rest.openapi import openapi
from facewright.gateway.rest.page import PAGE_POLICY, docs_page
from facewright.gateway.rest.pipeline_list import pipeline_list
from facewright.gateway.rest.waiting import while_awaited
from facewright.pipelines.stages import Pipeline
from facewright_client._errors import TIME_HINT
from facewright_client.contract import ErrorCode

#: The first is what a client gets that takes anything.
_FORMS: Final = (GLB, JSON, MIXED, EVENTS)
#: From here on photos are put into their requests beside the event loop: a megabyte takes a millisecond.
_LARGE_BODY: Final = 2**20
_CURL_HINT: Final = "curl -d drops line ends and names no file without @: use --data-binary @me.jpg"
_PROMETHEUS: Final = "text/plain; version=0.0.4"


def _anybody(_headers: Mapping[str, str], peer: str) -> Caller:
    return Caller(peer)


async def _no_metrics() -> bytes:
    return b""


@dataclass(frozen=True)
class RestSettings:
    """What the REST door is given beside the house.

    Attributes:
        authenticate: who calls, by headers (names in small letters) and address; raises UNAUTHENTICATED.
            Asked before anything of a body is read; health, version and documentation are for everybody.
        ready: whether calls are taken.
        metrics: Prometheus' text.
        middleware: around the routes, such as checks of ``Host`` and ``Origin``.
        limits: see there.
    """

    authenticate: Callable[[Mapping[str, str], str], Caller] = _anybody
    ready: Callable[[], bool] = lambda: True
    metrics: Callable[[], Awaitable[bytes]] = _no_metrics
    middleware: Sequence[Middleware] = ()
    limits: RestLimits = field(default_factory=RestLimits)


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
            HTTPException: _http_exception,
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
        self._avatars = avatar_pipelines(served)
        release = Provenance().version
        document = openapi(self._avatars, settings.limits, release)
        self._version = JSONResponse({"facewright": release, "api": "v1"})
        self._openapi = JSONResponse(document)
        self._docs = HTMLResponse(docs_page(document), headers={"Content-Security-Policy": PAGE_POLICY})
        self._pipelines = JSONResponse(pipeline_list(served, self._avatars))

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/avatars", self.avatars, methods=["POST"]),
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
        limits = self.settings.limits
        form = preferred(request.headers.get("accept", ""), _FORMS)
        if form is None:
            raise RequestError(
                406, f"Accept is {request.headers['accept'][:64]!r}", f"there are {', '.join(_FORMS)}"
            )
        calls = await self._calls(request, caller, began_at, form)
        if len(calls) > 1:
            answer = await self._several(request, form, calls)
        elif form == EVENTS:
            avatar_of = functools.partial(self._avatar, calls[0], by_curl_d=_may_be_curl_d(request))
            answer = EventsResponse(avatar_of, limits.heartbeat_s)
        else:
            making = self._avatar(calls[0], by_curl_d=_may_be_curl_d(request))
            avatar = await while_awaited(request.receive, making)
            answer = await _in_form(form, avatar)
        return HeldResponse(answer, self._memory, caller.name)

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
        self._caller(request)
        return PlainTextResponse(await self.settings.metrics(), headers={"Content-Type": _PROMETHEUS})

    async def _calls(self, request: Request, caller: Caller, began_at: float, form: str) -> list[Call]:
        """What a request asks for: a call for each photo. Afterwards the photos are in their calls only."""
        limits = self.settings.limits
        query = query_parameters(request.scope["query_string"], limits.parameters)
        wanted = asked(query, request.headers, self._avatars)  # before the body, which may be large
        with self._memory.holding(caller.name) as share:
            body = await read_body(request, limits, share)
            if body.fields:
                wanted = asked([*query, *body.fields], request.headers, self._avatars)
            if form == GLB and len(body.photos) == 1:
                _require_no_more(wanted, GLB)
            elif form in (GLB, MIXED):
                _require_no_more(replace(wanted, preview=False), MIXED)
            if share.size < _LARGE_BODY:
                return [wanted.call(photo, caller, began_at) for photo in body.photos]
            return [await asyncio.to_thread(wanted.call, photo, caller, began_at) for photo in body.photos]

    async def _several(self, request: Request, form: str, calls: Sequence[Call]) -> Response:
        """Of each photo its avatar or its error."""
        if form == GLB and GLB not in request.headers.get("accept", "").lower():
            form = MIXED  # whoever takes anything takes several files
        if form not in (JSON, MIXED):
            raise RequestError(406, f"{len(calls)} photos do not fit {form}", f"accept {JSON} or {MIXED}")

        async def outcome(call: Call) -> Outcome:
            try:
                return await self._avatar(call)
            except FacewrightError as error:
                return error

        async def all_outcomes() -> list[Outcome]:
            async with asyncio.TaskGroup() as making:
                tasks = [making.create_task(outcome(call)) for call in calls]
            return [task.result() for task in tasks]

        outcomes = await while_awaited(request.receive, all_outcomes())
        if form == MIXED:
            return answers.several_mixed_response(outcomes)
        return await asyncio.to_thread(answers.several_json_response, outcomes)

    async def _avatar(
        self, call: Call, began: Callable[[str], None] | None = None, by_curl_d: bool = False
    ) -> Avatar:
        """What a call is answered; ``began`` is told of stages; ``by_curl_d``: see `_may_be_curl_d`."""
        if began is not None:
            call = replace(call, began=began)
        try:
            return Avatar.of(await self._house.answer(call))
        except FacewrightError as error:
            if by_curl_d and error.code is ErrorCode.BAD_PHOTO:
                error.hint = f"{_CURL_HINT}; else {error.hint}"
            elif error.hint == TIME_HINT:  # of the clients of gRPC
                error.hint = f"allow more time: {TIMEOUT_HEADER}"
            raise

    def _caller(self, request: Request) -> Caller:
        peer = request.client.host if request.client else "unix"
        return self.settings.authenticate(request.headers, peer)


def _may_be_curl_d(request: Request) -> bool:
    """Whether a photo may have come by ``curl -d``; ``--data-binary`` says the same of its body."""
    return request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")


def _require_no_more(wanted: Asked, form: str) -> None:
    """Refuse what an answer in that form has no room for, before it is computed."""
    more = [name for name in ("preview", "tensors") if getattr(wanted, name)]
    if more:
        forms = f"{JSON} or {MIXED}" if more == ["preview"] else JSON
        raise RequestError(406, f"{form} has no room for {' and '.join(more)}", f"send Accept: {forms}")


async def _in_form(form: str, avatar: Avatar) -> Response:
    """An avatar in one of the forms."""
    if form == JSON:
        return await asyncio.to_thread(answers.json_response, avatar)
    return answers.mixed_response(avatar) if form == MIXED else answers.glb_response(avatar)


def _always(response: Response) -> Callable[[Request], object]:
    async def endpoint(_request: Request) -> Response:
        return response

    return endpoint


async def _facewright_error(_request: Request, error: Exception) -> Response:
    return error_response(error if isinstance(error, FacewrightError) else internal_error())


async def _http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: there is no such path, or it has another method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = dict(headers or {}).get("Allow", "")
        return error_response(
            RequestError(status, f"{request.method[:16]} is not for this path", f"use {allowed}", headers)
        )
    if status == HTTPStatus.NOT_FOUND:
        return error_response(
            RequestError(status, "there is no such path", "GET /v1/docs lists those that there are")
        )
    return error_response(internal_error())


async def _fault(request: Request, error: Exception) -> Response:
    """Of ours; Starlette raises it again, for `Envelope`."""
    log_fault(request.scope, error)
    return error_response(internal_error())


async def _client_left(_request: Request, _error: Exception) -> Response:
    """Nobody reads it."""
    return Response(None, 400)
