"""What several operations of the OpenAPI document have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from facewright.core.options import Option
from facewright.gateway.rest.asked import TIMEOUT_HEADER
from facewright.gateway.rest.errors import BAD_REQUEST_STATUS, JSON
from facewright.gateway.rest.pipeline_list import option_schema
from facewright.gateway.statuses import STATUS
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import ErrorCode

#: OpenAPI 3.1: a body that is no text has no schema.
BINARY: Final[Mapping[str, Any]] = {}


def option_schemas(rows: Mapping[str, Pipeline], own: Mapping[str, Option]) -> dict[str, dict[str, Any]]:
    """Every option by name, the door's own first; where pipelines differ, each schema says whose it is."""
    schemas = {name: option_schema(option) for name, option in own.items()}
    owners: dict[str, dict[str, Option]] = {}
    for row in rows.values():
        for name, option in row.options.items():
            owners.setdefault(name, {})[row.name] = option
    for name, by_pipeline in owners.items():
        if len({repr(option) for option in by_pipeline.values()}) == 1:
            schema = option_schema(next(iter(by_pipeline.values())))
        else:
            each = [{"title": owner, **option_schema(option)} for owner, option in by_pipeline.items()]
            schema = {"anyOf": each, "description": by_pipeline[next(iter(by_pipeline))].meaning}
        if len(by_pipeline) < len(rows):
            schema["description"] += f" ({', '.join(by_pipeline)})"
        schemas[name] = schema
    return schemas


def query(options: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Options as parameters of the query."""
    for name, schema in options.items():
        yield {"name": name, "in": "query", "description": schema["description"], "schema": schema}


def request_headers() -> Iterator[dict[str, Any]]:
    """Headers of requests for work."""
    seconds = {"type": "number", "exclusiveMinimum": 0, "maximum": 999999}
    key = {"type": "string", "minLength": 1, "maxLength": 255}
    text = {"type": "string"}
    identity = {"type": "string", "maxLength": 128}
    for name, says, schema in (
        (TIMEOUT_HEADER, "Seconds after which the caller has no more use for the answer.", seconds),
        ("Prefer", "`respond-async`: a job in place of the answer; `, wait=N`: after N seconds.", text),
        ("Idempotency-Key", "The same key and request: the same answer, and the work is done once.", key),
        ("X-Request-Id", "Returned, and logged with faults; made up where absent.", identity),
    ):
        yield {"name": name, "in": "header", "description": says, "schema": schema}


def error_responses() -> dict[str, Any]:
    """Every failure by its status."""
    by_status: dict[int, list[str]] = {}
    for code, of_code in STATUS.items():
        by_status.setdefault(of_code.http, []).append(code)
    for status in BAD_REQUEST_STATUS:
        by_status.setdefault(status, []).append(ErrorCode.BAD_REQUEST)
    return {str(status): error(" or ".join(by_status[status]), status) for status in sorted(by_status)}


def error(says: str, status: int) -> dict[str, Any]:
    """A failure."""
    schema = {"$ref": "#/components/schemas/Error"}
    response: dict[str, Any] = {"description": says + ".", "content": {JSON: {"schema": schema}}}
    if status == 503:
        come_back = {"description": "Whole seconds.", "schema": {"type": "integer", "minimum": 1}}
        response["headers"] = {"Retry-After": come_back}
    return response


def get(name: str, summary: str, media_type: str, closed: bool = False) -> dict[str, Any]:
    """An operation that only tells."""
    schema = {"type": "object"} if media_type == JSON else {"type": "string"}
    answer = {"description": summary, "content": {media_type: {"schema": schema}}}
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": {"200": answer}}
    if closed:
        operation["responses"]["401"] = error(ErrorCode.UNAUTHENTICATED, 401)
    else:
        operation["security"] = [{}]
    return operation
