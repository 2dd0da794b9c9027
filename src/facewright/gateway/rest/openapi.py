"""``GET /v1/openapi.json``: the REST door described in OpenAPI 3.1, from the table of pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from facewright.gateway.rest.answers import GLB, MIXED, WARNINGS_HEADER
from facewright.gateway.rest.asked import door_options, float_tensors
from facewright.gateway.rest.body import PHOTO_FIELD
from facewright.gateway.rest.errors import JSON
from facewright.gateway.rest.events import EVENTS
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.openapi_jobs import accepted, job_paths, job_schema
from facewright.gateway.rest.openapi_parts import (
    BINARY,
    error,
    error_responses,
    get,
    option_schemas,
    query,
    request_headers,
)
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import PHOTO_FORMATS, ErrorCode

_AVATARS: Final = (
    "The body is the photo itself ({formats}; any `Content-Type` that is no form and no JSON), or a form "
    "with a file `{field}`, at most {photos} of them, and options as fields. At most {size:g} MiB. `Accept` "
    "chooses the answer; without it the GLB comes. Several photos are answered where it names "
    '`application/json`, `{{"avatars": […]}}` with an avatar or `{{"error": …}}` for each, or '
    "`multipart/mixed`, with `0.glb`, `0.json`, `0.png` or `0.error.json` for the first and so on, and the "
    "status is 200 then; else they are refused (406). With `together=true` they are of one person, and are "
    "answered as one photo is. A request whose client leaves is cancelled."
)
_EVENTS: Final = (
    'Server-sent events: `began` for each stage, with `{"stage": …}`; at last `avatar`, with what '
    "`application/json` has, or `error`. What fails before any stage began has its status code instead."
)


def openapi(
    avatars: Mapping[str, Pipeline], refinements: Mapping[str, Pipeline], limits: RestLimits, release: str
) -> dict[str, Any]:
    """The document.

    Args:
        avatars: see `avatar_pipelines`.
        refinements: see `refinement_pipelines`.
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
            **job_paths(refinements, limits),
            "/v1/pipelines": {"get": get("pipelines", "Pipelines and their options.", JSON, closed=True)},
            "/v1/version": {"get": get("version", "The server's release.", JSON)},
            "/v1/health/live": {"get": get("live", "Whether the process answers.", JSON)},
            "/v1/health/ready": {"get": _ready()},
            "/v1/metrics": {"get": _metrics()},
            "/v1/openapi.json": {"get": get("openapi", "This document.", JSON)},
            "/v1/docs": {"get": get("docs", "This document as a page.", "text/html")},
        },
        "components": {
            "schemas": {"Error": _error_schema(), "Avatar": _avatar_schema(avatars), "Job": job_schema()},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Where the server has API keys."}
            },
        },
    }


def _create(avatars: Mapping[str, Pipeline], limits: RestLimits) -> dict[str, Any]:
    options = option_schemas(avatars, door_options(avatars))
    photo = {"type": "string", "contentMediaType": "application/octet-stream"}
    photos = {"type": "array", "items": photo, "minItems": 1, "maxItems": limits.photos}
    form = {"type": "object", "properties": {PHOTO_FIELD: photos, **options}}
    says = _AVATARS.format(
        formats=PHOTO_FORMATS, field=PHOTO_FIELD, photos=limits.photos, size=limits.photo_bytes / 2**20
    )
    return {
        "operationId": "createAvatar",
        "summary": "An avatar of a photo, of several of one person, or of their codes.",
        "description": says,
        "parameters": [*query(options), *request_headers()],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": BINARY,
                "application/octet-stream": BINARY,
                "multipart/form-data": {"schema": form},
            },
        },
        "responses": {
            "200": {
                "description": "The avatar.",
                "headers": _answer_headers(),
                "content": {
                    GLB: BINARY,
                    JSON: {"schema": {"anyOf": [{"$ref": "#/components/schemas/Avatar"}, _code_schema()]}},
                    MIXED: {
                        "schema": {
                            "type": "string",
                            "description": "Files `avatar.glb`, `avatar.json` (the report) and, where asked "
                            "for, `avatar.png` and `avatar.code`.",
                        }
                    },
                    EVENTS: {"schema": {"type": "string", "description": _EVENTS}},
                },
            },
            "202": accepted(),
            **error_responses(),
        },
    }


def _answer_headers() -> dict[str, Any]:
    return {
        name: {"description": says, "schema": {"type": "string"}}
        for name, says in (
            ("X-Request-Id", "The request's name."),
            ("Server-Timing", "Computing time by stage, milliseconds; of one photo."),
            (WARNINGS_HEADER, "The report's warnings, where it has some: a list of strings (RFC 8941)."),
        )
    }


def _metrics() -> dict[str, Any]:
    operation = get("metrics", "Figures for Prometheus.", "text/plain", closed=True)
    operation["responses"]["403"] = error("The key is not one for the metrics", 403)
    return operation


def _ready() -> dict[str, Any]:
    operation = get("ready", "Whether calls are taken.", JSON)
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


def _code_schema() -> dict[str, Any]:
    code = {"type": "string", "contentEncoding": "base64"}
    return {
        "type": "object",
        "description": "With `avatar=false`.",
        "required": ["code"],
        "properties": {"code": code},
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
            "code": {**base64, "contentMediaType": "application/octet-stream"},
            "tensors": {"type": "object", "properties": dict.fromkeys(names, tensor)},
        },
    }
