"""``GET /v1/openapi.json``: the REST door described in OpenAPI 3.1, from the table of pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from facewright.core.options import Option
from facewright.gateway.rest.answers import GLB, MIXED, WARNINGS_HEADER
from facewright.gateway.rest.asked import TIMEOUT_HEADER, door_options, float_tensors
from facewright.gateway.rest.body import PHOTO_FIELD
from facewright.gateway.rest.errors import BAD_REQUEST_STATUS, JSON
from facewright.gateway.rest.events import EVENTS
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.pipeline_list import option_schema
from facewright.gateway.statuses import STATUS
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import PHOTO_FORMATS, ErrorCode

_AVATARS: Final = (
    "The body is the photo itself ({formats}; any `Content-Type` that is no form and no JSON), or a form "
    "with a file `{field}`, at most {photos} of them, and options as fields. At most {size:g} MiB. `Accept` "
    "chooses the answer; without it the GLB comes. Several photos are answered as `application/json`, "
    '`{{"avatars": […]}}` with an avatar or `{{"error": …}}` for each, or as `multipart/mixed` with `0.glb`, '
    "`0.json`, `0.png` or `0.error.json` for the first and so on; the status is 200 then. A request whose "
    "client leaves is cancelled."
)
_EVENTS: Final = (
    'Server-sent events: `began` for each stage, with `{"stage": …}`; at last `avatar`, with what '
    "`application/json` has, or `error`. What fails before any stage began has its status code instead."
)


def openapi(avatars: Mapping[str, Pipeline], limits: RestLimits, release: str) -> dict[str, Any]:
    """The document.

    Args:
        avatars: see `avatar_pipelines`.
        limits: that it says.
        release: of Facewright.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Facewright",
            "version": release,
            "description": "One photo in, one game-ready 3D head avatar out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": {
            "/v1/avatars": {"post": _create(avatars, limits)},
            "/v1/pipelines": {"get": _get("pipelines", "Pipelines and their options.", JSON, closed=True)},
            "/v1/version": {"get": _get("version", "The server's release.", JSON)},
            "/v1/health/live": {"get": _get("live", "Whether the process answers.", JSON)},
            "/v1/health/ready": {"get": _ready()},
            "/v1/metrics": {"get": _get("metrics", "Figures for Prometheus.", "text/plain", closed=True)},
            "/v1/openapi.json": {"get": _get("openapi", "This document.", JSON)},
            "/v1/docs": {"get": _get("docs", "This document as a page.", "text/html")},
        },
        "components": {
            "schemas": {"Error": _error_schema(), "Avatar": _avatar_schema(avatars)},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where the server has API keys."}
            },
        },
    }


def option_schemas(avatars: Mapping[str, Pipeline]) -> dict[str, dict[str, Any]]:
    """Every option by name, the door's own first; where pipelines differ, each schema says whose it is."""
    schemas = {name: option_schema(option) for name, option in door_options(avatars).items()}
    owners: dict[str, dict[str, Option]] = {}
    for row in avatars.values():
        for name, option in row.options.items():
            owners.setdefault(name, {})[row.name] = option
    for name, by_pipeline in owners.items():
        if len({repr(option) for option in by_pipeline.values()}) == 1:
            schema = option_schema(next(iter(by_pipeline.values())))
        else:
            each = [{"title": owner, **option_schema(option)} for owner, option in by_pipeline.items()]
            schema = {"anyOf": each, "description": by_pipeline[next(iter(by_pipeline))].meaning}
        if len(by_pipeline) < len(avatars):
            schema["description"] += f" ({', '.join(by_pipeline)})"
        schemas[name] = schema
    return schemas


def _create(avatars: Mapping[str, Pipeline], limits: RestLimits) -> dict[str, Any]:
    options = option_schemas(avatars)
    binary: dict[str, Any] = {}  # OpenAPI 3.1: a body that is no text has no schema
    photo = {"type": "string", "contentMediaType": "application/octet-stream"}
    photos = {"type": "array", "items": photo, "minItems": 1, "maxItems": limits.photos}
    form = {"type": "object", "required": [PHOTO_FIELD], "properties": {PHOTO_FIELD: photos, **options}}
    says = _AVATARS.format(
        formats=PHOTO_FORMATS, field=PHOTO_FIELD, photos=limits.photos, size=limits.photo_bytes / 2**20
    )
    return {
        "operationId": "createAvatar",
        "summary": "An avatar of a photo.",
        "description": says,
        "parameters": [*_query(options), *_request_headers()],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": binary,
                "application/octet-stream": binary,
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {
                "description": "The avatar.",
                "headers": _answer_headers(),
                "content": {
                    GLB: binary,
                    JSON: {"schema": {"$ref": "#/components/schemas/Avatar"}},
                    MIXED: {
                        "schema": {
                            "type": "string",
                            "description": "Files `avatar.glb`, `avatar.json` (the report) and, where asked "
                            "for, `avatar.png`.",
                        }
                    },
                    EVENTS: {"schema": {"type": "string", "description": _EVENTS}},
                },
            },
            **_error_responses(),
        },
    }


def _query(options: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, schema in options.items():
        yield {"name": name, "in": "query", "description": schema["description"], "schema": schema}


def _request_headers() -> Iterator[dict[str, Any]]:
    seconds = {"type": "number", "exclusiveMinimum": 0, "maximum": 999999}
    identity = {"type": "string", "maxLength": 128}
    for name, says, schema in (
        (TIMEOUT_HEADER, "Seconds after which the caller has no more use for the answer.", seconds),
        ("X-Request-Id", "Returned, and logged with faults; made up where absent.", identity),
    ):
        yield {"name": name, "in": "header", "description": says, "schema": schema}


def _answer_headers() -> dict[str, Any]:
    return {
        name: {"description": says, "schema": {"type": "string"}}
        for name, says in (
            ("X-Request-Id", "The request's name."),
            ("Server-Timing", "Computing time by stage, milliseconds; of one photo."),
            (WARNINGS_HEADER, "The report's warnings, where it has some: a list of strings (RFC 8941)."),
        )
    }


def _error_responses() -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code, of_code in STATUS.items():
        by_status.setdefault(of_code.http, []).append(code)
    for status in BAD_REQUEST_STATUS:
        by_status.setdefault(status, []).append(ErrorCode.BAD_REQUEST)
    return {str(status): _error(" or ".join(by_status[status]), status) for status in sorted(by_status)}


def _error(says: str, status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    response: dict[str, Any] = {"description": says + ".", "content": {JSON: {"schema": schema}}}
    if status == 503:
        come_back = {"description": "Whole seconds.", "schema": {"type": "integer", "minimum": 1}}
        response["headers"] = {"Retry-After": come_back}
    return response


def _get(name: str, summary: str, media_type: str, closed: bool = False) -> dict[str, Any]:
    schema = {"type": "object"} if media_type == JSON else {"type": "string"}
    answer = {"description": summary, "content": {media_type: {"schema": schema}}}
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": {"200": answer}}
    if closed:
        operation["responses"]["401"] = _error(ErrorCode.UNAUTHENTICATED, 401)
    else:
        operation["security"] = [{}]
    return operation


def _ready() -> dict[str, Any]:
    operation = _get("ready", "Whether calls are taken.", JSON)
    operation["responses"]["503"] = {**operation["responses"]["200"], "description": "They are not."}
    return operation


def _error_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["code", "stage", "message", "hint"],
        "properties": {
            "code": {"type": "string", "enum": [str(code) for code in ErrorCode]},
            "stage": {"type": "string", "description": "That failed; empty where the server itself refused."},
            "message": text,
            "hint": text,
            "retry_after_s": {"type": "number"},
        },
    }


def _avatar_schema(avatars: Mapping[str, Pipeline]) -> dict[str, Any]:
    base64 = {"type": "string", "contentEncoding": "base64"}
    tensor = {
        "type": "object",
        "required": ["shape", "data"],
        "properties": {
            "shape": {"type": "array", "items": {"type": "integer"}},
            "data": {"type": "array", "items": {"type": "number"}, "description": "Row-major."},
        },
    }
    names = dict.fromkeys(name for row in avatars.values() for name in float_tensors(row))
    return {
        "type": "object",
        "required": ["report", "glb", "tensors"],
        "properties": {
            "report": {"type": "object"},
            "glb": {**base64, "contentMediaType": GLB},
            "preview": {**base64, "contentMediaType": "image/png"},
            "tensors": {"type": "object", "properties": dict.fromkeys(names, tensor)},
        },
    }
