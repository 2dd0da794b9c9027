"""What a request's parameters say to the door, and those that it would be wrong to pass over."""

from __future__ import annotations

from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.gateway.parameters import DoorParameters, door_parameters
from facewright_client.contract import ErrorCode


def said(kind: str = "int64", **values: Any) -> DoorParameters:
    parameter = service_pb2.InferParameter
    return door_parameters({name: parameter(**{f"{kind}_param": value}) for name, value in values.items()})


def test_what_is_taken() -> None:
    """Options are not looked at."""
    assert said(lods=2) == DoorParameters()
    assert said("uint64", priority=2**64 - 1) == DoorParameters(priority=2**64 - 1)
    assert said(timeout=2_500_000, priority=3) == DoorParameters(priority=3, timeout_s=2.5)
    assert said(timeout=0) == DoorParameters()
    assert said("bool", progress=True, triton_enable_empty_final_response=True) == DoorParameters(True)


@pytest.mark.parametrize(
    ("kind", "name", "value", "words"),
    [
        ("string", "timeout", "5", "parameter timeout is no whole number, 0 or more"),
        ("double", "timeout", 5e6, "parameter timeout is no whole number"),
        ("int64", "timeout", -1, "parameter timeout is no whole number"),
        ("bool", "timeout", True, "parameter timeout is no whole number"),
        ("string", "priority", "high", "parameter priority is no whole number"),
        ("int64", "priority", -1, "parameter priority is no whole number"),
        ("string", "progress", "yes", "parameter progress is neither true nor false"),
        ("int64", "sequence_id", 7, "parameter sequence_id means nothing here"),
        ("bool", "sequence_end", True, "parameter sequence_end means nothing here"),
        ("bool", "binary_data_output", True, "parameter binary_data_output means nothing here"),
    ],
)
def test_what_would_be_ignored_is_refused(kind: str, name: str, value: Any, words: str) -> None:
    with pytest.raises(FacewrightError) as refused:
        said(kind, **{name: value})
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert refused.value.message.startswith(words)


def test_a_timeout_in_seconds_is_told_for_what_it_is() -> None:
    with pytest.raises(FacewrightError) as refused:
        said(timeout=30)
    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert "in microseconds: 30 seconds are 30000000" in refused.value.hint
