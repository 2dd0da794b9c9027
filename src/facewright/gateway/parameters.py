"""What a request's parameters say to the door. The others are options, for a pipeline's first stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from facewright.core.errors import FacewrightError
from facewright.pipelines.stages import PROTOCOL_PARAMETERS
from facewright_client.contract import PROGRESS_PARAMETER, ErrorCode

#: That of an answer without tensors at a stream's end, which is Triton's to give, and ours.
_TAKEN: Final = frozenset({PROGRESS_PARAMETER, "priority", "timeout", "triton_enable_empty_final_response"})
#: Less than this, microseconds, is meant in milliseconds or seconds: no pipeline is as fast.
_LEAST_TIMEOUT_US: Final = 10_000


@dataclass(frozen=True)
class DoorParameters:
    """What a request says to the door.

    Attributes:
        progress: whether it wants to be told of stages.
        priority: 0 is answered before 1, and so on.
        timeout_s: after which the caller has no more use for the answer, from the request's arrival; None:
            never.
    """

    progress: bool = False
    priority: int = 0
    timeout_s: float | None = None


def door_parameters(parameters: Mapping[str, Any]) -> DoorParameters:
    """A request's, by the names that KServe and Triton have for them.

    ``timeout`` is in microseconds, and 0 is none, as in
    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_schedule_policy.md

    Args:
        parameters: of ``ModelInferRequest``: ``InferParameter`` by name.

    Raises:
        FacewrightError: BAD_REQUEST: one of the protocol's is not of its kind, or means nothing here, where
            Triton would ignore it; DEADLINE_EXCEEDED: the timeout is shorter than any answer takes.
    """
    for name in sorted((PROTOCOL_PARAMETERS - _TAKEN) & parameters.keys()):
        _refuse(f"parameter {name} means nothing here", "leave it out")
    progress = parameters.get(PROGRESS_PARAMETER)
    if progress is not None and progress.WhichOneof("parameter_choice") != "bool_param":
        _refuse(f"parameter {PROGRESS_PARAMETER} is neither true nor false", "send it as a bool_param")
    timeout_us = _number(parameters, "timeout")
    if 0 < timeout_us < _LEAST_TIMEOUT_US:
        raise FacewrightError(
            ErrorCode.DEADLINE_EXCEEDED,
            f"the timeout is {timeout_us} µs, in which nothing is answered",
            "parameter timeout is in microseconds: 30 seconds are 30000000",
        )
    return DoorParameters(
        progress is not None and progress.bool_param,
        _number(parameters, "priority"),
        timeout_us / 1e6 if timeout_us else None,
    )


def _number(parameters: Mapping[str, Any], name: str) -> int:
    """A parameter that is a whole number, not below 0; 0 where it is not there."""
    if name not in parameters:
        return 0
    kind = parameters[name].WhichOneof("parameter_choice")
    value = int(getattr(parameters[name], kind)) if kind in ("int64_param", "uint64_param") else -1
    if value < 0:
        _refuse(
            f"parameter {name} is no whole number, 0 or more", "send it as an int64_param or a uint64_param"
        )
    return value


def _refuse(what: str, hint: str) -> NoReturn:
    raise FacewrightError(ErrorCode.BAD_REQUEST, what, hint)
