"""What REST asks and answers in, as the client says and reads it: paths, bodies, events, JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, Final
from urllib.parse import urlencode

import numpy as np

from facewright_client import contract
from facewright_client._errors import (
    TIME_HINT,
    BadOptionError,
    BadRequestError,
    DeadlineExceededError,
    FacewrightClientError,
    InternalServerError,
)
from facewright_client._request import Request
from facewright_client._wire import Answer, Question

#: REST's own options, which a pipeline has none of (docs/calling.md).
_DOOR_OPTIONS: Final = ("pipeline", "preview", "code", "avatar", "together", "tensors")
#: The least urgent of REST; over gRPC there are more below it.
_LAST_PRIORITY: Final = 255
_LONGEST_TIMEOUT_S: Final = 999_999.0
#: Files of an answer, in base64 by their names in small letters.
_FILES: Final = (contract.GLB, contract.PREVIEW, contract.CODE)


def headers(request: Request) -> dict[str, str]:
    """Of a request that asks for work."""
    return {
        "Content-Type": "application/octet-stream",
        "X-Request-Timeout": f"{min(request.left_s, _LONGEST_TIMEOUT_S):.6f}",
    }


def avatars_path(question: Question) -> str:
    """Where an avatar, or a code, is asked for.

    Raises:
        BadOptionError: an option is one of REST alone.
    """
    wanted = [tensor for tensor in question.outputs if tensor.dtype == "TYPE_FP32"]
    door = {"tensors": ",".join(tensor.name for tensor in wanted)} if wanted else {}
    door |= {
        name: "true"
        for name, tensor in (("preview", contract.PREVIEW), ("code", contract.CODE))
        if tensor in question.outputs
    }
    door |= {} if contract.GLB in question.outputs else {"avatar": "false"}
    return _path("/v1/avatars", question, door)


def refinements_path(question: Question) -> str:
    """Where a refinement is.

    Raises:
        BadOptionError: as `avatars_path`, or pictures are asked for.
    """
    if question.parameters.get("preview_every", 0):
        raise BadOptionError(
            "preview_every asks for pictures, which come over gRPC alone",
            "leave it out, or connect to the gRPC port, 8001 by default",
        )
    return _path("/v1/refinements", question, {})


def _path(path: str, question: Question, door: Mapping[str, str]) -> str:
    """A path with everything that is asked in its query."""
    for name in question.parameters:
        if name in _DOOR_OPTIONS:
            raise BadOptionError(f"unknown option {name}", "docs/pipelines.md lists the options")
    options = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in question.parameters.items()
    }
    priority = str(min(question.priority, _LAST_PRIORITY))
    return f"{path}?{urlencode({'pipeline': question.pipeline, 'priority': priority, **door, **options})}"


def file_body(question: Question) -> bytes:
    """A photo, or codes.

    Raises:
        BadRequestError: the question has no place in REST.
    """
    if question.pipeline == contract.RELIGHT_PIPELINE:
        raise BadRequestError(
            f"{question.pipeline} answers over gRPC alone", "connect to the gRPC port, 8001 by default"
        )
    ((_, content),) = question.inputs
    return content.tobytes()


def start_body(question: Question) -> bytes:
    """What a refinement begins with, as ``facewright refine`` takes it."""
    file = BytesIO()
    arrays = {tensor.name.lower(): array for tensor, array in question.inputs}
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its only other keyword is a bool
    return file.getvalue()


def events(pieces: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    """Server-sent events, each by its name and its one line of data; comments are left out."""
    unread = bytearray()
    searched = 0
    for piece in pieces:
        unread += piece
        while (end := unread.find(b"\n\n", max(searched - 1, 0))) >= 0:
            event, searched = bytes(unread[:end]).decode(), 0
            del unread[: end + 2]
            fields = dict(line.split(": ", 1) for line in event.split("\n") if ": " in line)
            if "event" in fields:
                yield fields["event"], fields.get("data", "")
        searched = len(unread)


def answer_from(members: Mapping[str, Any]) -> Answer:
    """An answer's tensors from its JSON.

    Raises:
        InternalServerError: it is none.
    """
    try:
        answer = {
            name: np.asarray(tensor["data"], np.float32).reshape(tensor["shape"])
            for name, tensor in members.get("tensors", {}).items()
        }
        for file in _FILES:
            if file.name.lower() in members:
                content = base64.b64decode(members[file.name.lower()])
                answer[file.name] = np.frombuffer(content, np.uint8)
        for name, told in ((contract.REPORT.name, "report"), (contract.REFINEMENT_INFO.name, "info")):
            if told in members:
                answer[name] = np.frombuffer(json.dumps(members[told]).encode(), np.uint8)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InternalServerError(
            f"the answer is not as REST has it: {type(error).__name__}: {error}",
            "client and server must fit together",
        ) from error
    return answer


def in_our_words(error: FacewrightClientError) -> FacewrightClientError:
    """An error that speaks of a header which the client sends by itself."""
    if isinstance(error, DeadlineExceededError) and "X-Request-Timeout" in error.hint:
        return DeadlineExceededError(error.message, TIME_HINT, error.stage)
    return error
