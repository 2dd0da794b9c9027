"""What a request asks for: by its query, its form's fields and its headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.core.options import Option, OptionValue, validated_options
from facewright.gateway.call import Call, Caller
from facewright.gateway.rest.errors import RequestError
from facewright.pipelines.stages import Pipeline
from facewright_client import contract
from facewright_client.contract import ErrorCode, Tensor

#: Until when the caller waits: seconds, such as ``2.5``.
TIMEOUT_HEADER: Final = "X-Request-Timeout"
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_FILES: Final = (contract.GLB, contract.REPORT, contract.PREVIEW)
#: ``raw_input_contents`` of ``ModelInferRequest``, length-delimited: field 7, wire type 2.
_RAW_INPUT: Final = b"\x3a"


def avatar_pipelines(served: Mapping[str, Pipeline]) -> dict[str, Pipeline]:
    """Those that make an avatar of a photo and nothing else; the first is the default.

    Raises:
        ValueError: an option has the name of one of the door's own.
    """
    found = {
        name: row
        for name, row in served.items()
        if {tensor for tensor in row.takes if not tensor.optional} == {contract.PHOTO}
        and {contract.GLB, contract.REPORT} <= set(row.gives)
    }
    for row in found.values():
        taken = row.options.keys() & door_options(found).keys()
        if taken:
            raise ValueError(f"{row.name} has an option {', '.join(taken)}, which is the REST door's own")
    return found


def door_options(avatars: Mapping[str, Pipeline]) -> dict[str, Option]:
    """What every request may say beside its pipeline's options."""
    names = tuple(avatars)
    return {
        "pipeline": Option(str, next(iter(names), ""), choices=names, meaning="what makes the avatar"),
        "preview": Option(
            bool, False, meaning="also draw the preview sheet, for application/json and multipart/mixed"
        ),
        "tensors": Option(str, "", meaning="names of float tensors that application/json has, with commas"),
        "priority": Option(
            int, 0, 0, 255, meaning="0 is answered first; more urgent than the API key allows is lowered"
        ),
    }


def query_parameters(query: bytes, most: int) -> list[tuple[str, str]]:
    """The parameters of a query.

    Raises:
        RequestError: 400: it is no text, or has too many.
    """
    if query.count(b"&") >= most:
        raise RequestError(400, f"the query has more than {most} parameters", "send fewer")
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise RequestError(
            400, "the query is not UTF-8", "send name=value&name=value, percent-encoded"
        ) from None


@dataclass(frozen=True)
class Asked:
    """What is asked for, checked.

    Attributes:
        pipeline: that is to answer.
        options: of the pipeline, those that were given.
        preview: whether the preview is wanted.
        tensors: the float tensors that are wanted.
        priority: as of `Call`, before the caller's own bound.
        timeout_s: after which the caller has left; None: never.
    """

    pipeline: Pipeline
    options: Mapping[str, OptionValue]
    preview: bool
    tensors: tuple[Tensor, ...]
    priority: int
    timeout_s: float | None

    def call(self, photo: Sequence[bytes | memoryview], caller: Caller, began_at: float) -> Call:
        """A photo's call.

        Args:
            photo: in pieces.
            caller: who asks.
            began_at: `time.monotonic` seconds at which the request's headers were there.
        """
        identity = uuid.uuid4().hex
        return Call(
            pipeline=self.pipeline.name,
            request=self._request(photo, identity),
            request_id=identity,
            caller=caller,
            deadline=None if self.timeout_s is None else began_at + self.timeout_s,
            priority=max(self.priority, caller.best_priority),
            arrived=time.monotonic(),
        )

    def _request(self, photo: Sequence[bytes | memoryview], identity: str) -> bytes:
        """A ``ModelInferRequest``. The photo is put behind its other fields, where it is copied once."""
        size = sum(map(len, photo))
        request = service_pb2.ModelInferRequest(model_name=self.pipeline.name, id=identity)
        request.inputs.add(name=contract.PHOTO.name, datatype="UINT8", shape=(1, size))
        for tensor in (*(file for file in _FILES if file != contract.PREVIEW or self.preview), *self.tensors):
            request.outputs.add(name=tensor.name)
        for name, value in self.options.items():
            parameter = request.parameters[name]
            if isinstance(value, bool):
                parameter.bool_param = value
            elif isinstance(value, int):
                parameter.int64_param = value
            else:  # Triton's gRPC parameters have no float in older clients, see `validated_options`
                parameter.string_param = str(value)
        return b"".join((request.SerializeToString(), _RAW_INPUT, _varint(size), *photo))


def asked(
    parameters: Iterable[tuple[str, str]], headers: Mapping[str, str], avatars: Mapping[str, Pipeline]
) -> Asked:
    """What a request asks for.

    Args:
        parameters: of the query and of the form.
        headers: by names in small letters.
        avatars: see `avatar_pipelines`.

    Raises:
        FacewrightError: BAD_OPTION, in the words that stages have for it; BAD_REQUEST for a header.
    """
    if not avatars:
        raise RequestError(
            404, "this server makes no avatars of photos", "GET /v1/pipelines lists what it does"
        )
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in given:
            raise FacewrightError(
                ErrorCode.BAD_OPTION, f"option {name[:64]!r} is given twice", "give it once"
            )
        given[name] = value
    own = door_options(avatars)
    chosen = validated_options({k: v for k, v in given.items() if k == "pipeline"}, own)
    pipeline = avatars[str(chosen.get("pipeline", own["pipeline"].default))]
    options = validated_options(given, {**own, **pipeline.options})
    door = {name: options.pop(name, option.default) for name, option in own.items()}
    if door["preview"] and contract.PREVIEW not in pipeline.gives:
        raise FacewrightError(ErrorCode.BAD_OPTION, f"{pipeline.name} draws no preview", "leave preview out")
    return Asked(
        pipeline,
        options,
        bool(door["preview"]),
        _tensors(str(door["tensors"]), pipeline),
        int(door["priority"]),
        _timeout_s(headers.get(TIMEOUT_HEADER.lower()), float(options.get("deadline_ms", 0)) / 1e3),
    )


def float_tensors(pipeline: Pipeline) -> dict[str, Tensor]:
    """What may be asked for under ``tensors``, by name."""
    return {tensor.name: tensor for tensor in pipeline.gives if tensor.dtype == "TYPE_FP32"}


def _tensors(names: str, pipeline: Pipeline) -> tuple[Tensor, ...]:
    known = float_tensors(pipeline)
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"option tensors names {unknown[0][:64]!r}, which {pipeline.name} does not give",
            f"there are {', '.join(known)}",
        )
    return tuple(known[name] for name in wanted)


def _timeout_s(header: str | None, option_s: float) -> float | None:
    """The shorter of the two ways to say it."""
    if header is not None and not (_SECONDS.fullmatch(header) and float(header) > 0):
        raise RequestError(400, f"{TIMEOUT_HEADER} is {header[:32]!r}", "give seconds, such as 2.5")
    given = [seconds for seconds in (float(header or 0), option_s) if seconds]
    return min(given, default=None)


def _varint(number: int) -> bytes:
    """A number as Protocol Buffers write it (https://protobuf.dev/programming-guides/encoding)."""
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
