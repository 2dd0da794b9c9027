"""``GET /v1/pipelines``: the table of pipelines as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from facewright.core.options import Option
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import Tensor

_KINDS = {int: "integer", float: "number", bool: "boolean", str: "string"}


def pipeline_list(served: Mapping[str, Pipeline], by_rest: Collection[str]) -> dict[str, Any]:
    """All public pipelines.

    Args:
        served: by name.
        by_rest: names of those that REST has; the others are called over gRPC.
    """
    return {
        "pipelines": [
            {
                "name": row.name,
                "summary": row.summary,
                "rest": row.name in by_rest,
                "takes": list(map(_tensor, row.takes)),
                "gives": list(map(_tensor, row.gives)),
                "options": [{"name": name, **option_schema(option)} for name, option in row.options.items()],
            }
            for row in served.values()
        ]
    }


def option_schema(option: Option) -> dict[str, Any]:
    """An option in JSON Schema's words (2020-12)."""
    return dict(_members(option))


def _members(option: Option) -> Iterator[tuple[str, Any]]:
    yield "type", _KINDS[option.kind]
    yield "default", option.default
    if option.minimum is not None:
        yield "minimum", option.minimum
    if option.maximum is not None:
        yield "maximum", option.maximum
    if option.choices:
        yield "enum", list(option.choices)
    yield "description", option.meaning


def _tensor(tensor: Tensor) -> dict[str, Any]:
    datatype = tensor.dtype.removeprefix("TYPE_")
    return {
        "name": tensor.name,
        "datatype": datatype,
        "shape": list(tensor.shape),
        "optional": tensor.optional,
    }
