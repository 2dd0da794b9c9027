"""Refinements and jobs in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from facewright.gateway.rest.errors import JSON
from facewright.gateway.rest.events import EVENTS
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.openapi_parts import (
    BINARY,
    error,
    error_responses,
    option_schemas,
    query,
    request_headers,
)
from facewright.gateway.rest.refinements import ZIP, refinement_options
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import REFINEMENT_INPUTS

_START: Final = (
    "The body is an `.npz` (`numpy.savez`) with {arrays}; at most {size:g} MiB. `Accept` chooses the answer: "
    "an `.npz` with `w_plus`, `head_to_camera`, `sh_light` and `losses`, or JSON. It takes as long as its "
    "`iterations` do: `Prefer: respond-async` makes a job of it."
)
_JOB: Final = (
    "JSON; or, as `text/event-stream`, the events of a direct answer from the first on. `Prefer: wait=N` "
    "waits up to N seconds, at most 60, for its end."
)
_RESULT: Final = "As the request that began the job would have been answered, in any of its forms."


def job_paths(refinements: Mapping[str, Pipeline], limits: RestLimits) -> dict[str, Any]:
    """Paths of long work.

    Args:
        refinements: see `refinement_pipelines`.
        limits: that the document says.
    """
    here = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "Of `Location`.",
        "schema": {"type": "string"},
    }
    gone = {"404": error("The caller has no job of this id", 404), "410": error("It had", 410)}
    refused = {"401": error("UNAUTHENTICATED", 401), **gone}
    many = {"503": error("The caller asks for more at once than it reads", 503)}
    wait = {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: seconds that the answer may wait for the job's end.",
        "schema": {"type": "string"},
    }
    return {
        "/v1/refinements": {"post": _refine(refinements, limits)},
        "/v1/jobs/{id}": {
            "get": {
                "operationId": "job",
                "summary": "How far a job is.",
                "description": _JOB,
                "parameters": [here, wait],
                "responses": {"200": _job_response("The job."), **refused, **many},
            },
            "delete": {
                "operationId": "deleteJob",
                "summary": "Stop a job, or forget what it gave.",
                "parameters": [here],
                "responses": {"204": {"description": "It is gone.", "content": {}}, **refused},
            },
        },
        "/v1/jobs/{id}/result": {
            "get": {
                "operationId": "jobResult",
                "summary": "What a job gave.",
                "description": _RESULT,
                "parameters": [here, wait],
                "responses": {
                    "200": {"description": "The result.", "content": {"*/*": BINARY}},
                    "409": error("The job has not ended yet", 409),
                    "default": error("Why the job failed", 500),
                    **refused,
                    **many,
                },
            }
        },
    }


def accepted() -> dict[str, Any]:
    """The answer to ``Prefer: respond-async``."""
    location = {"description": "The job's path.", "schema": {"type": "string"}}
    return {**_job_response("A job has begun."), "headers": {"Location": location}}


def job_schema() -> dict[str, Any]:
    """A job's resource."""
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["id", "state", "stage", "links"],
        "properties": {
            "id": text,
            "state": {"type": "string", "enum": ["waiting", "running", "done", "failed"]},
            "stage": {"type": ["string", "null"], "description": "That began last."},
            "progress": {"type": "object", "description": "Of a refinement that tells its iterations."},
            "error": {"$ref": "#/components/schemas/Error"},
            "links": {"type": "object", "properties": {"self": text, "result": text}},
        },
    }


def _refine(refinements: Mapping[str, Pipeline], limits: RestLimits) -> dict[str, Any]:
    arrays = ", ".join(f"`{tensor.name.lower()}`" for tensor in REFINEMENT_INPUTS)
    options = option_schemas(refinements, refinement_options(refinements))
    return {
        "operationId": "refine",
        "summary": "Latents refined until their render matches the photo.",
        "description": _START.format(arrays=arrays, size=limits.photo_bytes / 2**20),
        "parameters": [*query(options), *request_headers()],
        "requestBody": {"required": True, "content": {ZIP: BINARY, "application/octet-stream": BINARY}},
        "responses": {
            "200": {
                "description": "The best latents that were found.",
                "content": {
                    ZIP: BINARY,
                    JSON: {"schema": {"type": "object"}},
                    EVENTS: {"schema": {"type": "string"}},
                },
            },
            "202": accepted(),
            **error_responses(),
        },
    }


def _job_response(says: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Job"}
    return {"description": says, "content": {JSON: {"schema": schema}}}
