"""What a request asks for: by its query, its form's fields and its headers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.core.options import Option, OptionValue, validated_options
from facewright.gateway import message
from facewright.gateway.call import Call, Caller
from facewright.gateway.rest.errors import RequestError
from facewright.pipelines.stages import Pipeline
from facewright_client import contract
from facewright_client.contract import ErrorCode, Tensor

#: Until when the caller waits: seconds, such as ``2.5``.
TIMEOUT_HEADER: Final = "X-Request-Timeout"
PRIORITY: Final = Option(
    int, 0, 0, 255, meaning="0 is answered first; more urgent than the API key allows is lowered"
)
_SECONDS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


def avatar_pipelines(served: Mapping[str, Pipeline]) -> dict[str, Pipeline]:
    """Those that make an avatar of a photo, or of codes, and nothing else; the first is the default.

    Raises:
        ValueError: an option has the name of one of the door's own.
    """
    found = {
        name: row
        for name, row in served.items()
        if [tensor for tensor in row.takes if not tensor.optional] in ([contract.PHOTO], [contract.CODES])
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
        "code": Option(
            bool,
            False,
            meaning="also give the CODE, for application/json and multipart/mixed: biometric data, see "
            "docs/avatar_code.md",
        ),
        "avatar": Option(
            bool, True, meaning="false, beside code=true: the code alone, which is made in half the time"
        ),
        "together": Option(bool, False, meaning="all photos are of one person: one avatar of them"),
        "tensors": Option(str, "", meaning="names of float tensors that application/json has, with commas"),
        "priority": PRIORITY,
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


class Input(NamedTuple):
    """A tensor that a request brings: its shape without the batch dimension, and its contents in pieces."""

    tensor: Tensor
    shape: Sequence[int]
    pieces: Sequence[bytes | memoryview]


@dataclass(frozen=True)
class Asked:
    """What is asked for, checked.

    Attributes:
        pipeline: that is to answer.
        options: of the pipeline, those that were given.
        outputs: the tensors that are wanted.
        priority: as of `Call`, before the caller's own bound.
        timeout_s: after which the caller has left; None: never.
        code: whether the code is part of the answer.
        merged: what is asked of the codes of several photos of one person; None: each photo has its avatar.
    """

    pipeline: Pipeline
    options: Mapping[str, OptionValue]
    outputs: tuple[Tensor, ...]
    priority: int
    timeout_s: float | None
    code: bool = False
    merged: Asked | None = None

    @property
    def takes_codes(self) -> bool:
        """Whether the body is codes and no photo."""
        return contract.CODES in self.pipeline.takes

    @property
    def code_alone(self) -> bool:
        """Whether the code of one photo is all that is wanted."""
        return self.merged is None and self.outputs == (contract.CODE,)

    @property
    def preview(self) -> bool:
        """Whether the preview is wanted."""
        return contract.PREVIEW in self.outputs

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The float tensors that are wanted."""
        return tuple(tensor for tensor in self.outputs if tensor.dtype == "TYPE_FP32")

    def file_call(self, file: Sequence[bytes | memoryview], caller: Caller, began_at: float) -> Call:
        """`call` for a photo, or codes one after the other, in pieces."""
        takes = contract.CODES if self.takes_codes else contract.PHOTO
        return self.call([Input(takes, (sum(map(len, file)),), file)], caller, began_at)

    def call(self, inputs: Sequence[Input], caller: Caller, began_at: float) -> Call:
        """What is asked of the house.

        Args:
            inputs: what the body brought.
            caller: who asks.
            began_at: `time.monotonic` seconds at which the request's headers were there.
        """
        identity = uuid.uuid4().hex
        wanted = frozenset(tensor.name for tensor in self.outputs)
        also = self.pipeline.also_wanted(wanted)
        return Call(
            pipeline=self.pipeline.name,
            request=self._request(inputs, also, identity),
            request_id=identity,
            caller=caller,
            deadline=None if self.timeout_s is None else began_at + self.timeout_s,
            priority=max(self.priority, caller.best_priority),
            arrived=time.monotonic(),
            wanted=wanted if also else None,
        )

    def _request(self, inputs: Sequence[Input], also: Sequence[str], identity: str) -> bytes:
        """A ``ModelInferRequest``. Contents are put behind its other fields, where they are copied once; of
        two that ask the same all bytes but those of the ``id`` are the same."""
        request = service_pb2.ModelInferRequest(model_name=self.pipeline.name)
        pieces: list[bytes | memoryview] = []
        for tensor, shape, contents in inputs:
            request.inputs.add(
                name=tensor.name, datatype=tensor.dtype.removeprefix("TYPE_"), shape=(1, *shape)
            )
            pieces += message.delimiter(message.RAW_CONTENTS, sum(map(len, contents))), *contents
        for output in (*(tensor.name for tensor in self.outputs), *also):
            request.outputs.add(name=output)
        for name, value in self.options.items():
            parameter = request.parameters[name]
            if isinstance(value, bool):
                parameter.bool_param = value
            elif isinstance(value, int):
                parameter.int64_param = value
            else:  # Triton's gRPC parameters have no float in older clients, see `validated_options`
                parameter.string_param = str(value)
        head = request.SerializeToString(deterministic=True)
        return b"".join((head, *pieces, message.delimiter(message.ID, len(identity)), identity.encode()))


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
    own = door_options(avatars)
    pipeline, options, door = chosen(parameters, avatars, own)
    deadline_s = float(options.get("deadline_ms", 0)) / 1e3
    limits = (int(door["priority"]), timeout_s(headers, deadline_s), bool(door["code"]))
    if door["together"] and not door["avatar"]:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            "together=true makes an avatar, and avatar=false none",
            "leave one of them out",
        )
    if not door["together"]:
        return Asked(pipeline, options, _outputs(pipeline, door, bool(door["code"])), *limits)
    merging = avatars.get(contract.MERGE_PIPELINE)
    if merging is None or contract.CODE not in pipeline.gives:
        what = (
            f"{pipeline.name} gives no codes" if merging else f"{contract.MERGE_PIPELINE} is not served here"
        )
        raise FacewrightError(ErrorCode.BAD_OPTION, what, "leave together out: each photo has its avatar")
    shared: dict[str, OptionValue] = {
        name: options[name] for name in contract.MERGE_OPTIONS if name in options
    }
    merged = Asked(merging, shared, _outputs(merging, door, code=False), *limits)
    return Asked(pipeline, options, (contract.CODE,), *limits, merged)


def _outputs(pipeline: Pipeline, door: Mapping[str, OptionValue], code: bool) -> tuple[Tensor, ...]:
    """What is asked of a pipeline, by the door's own options."""
    if not door["avatar"] and (not code or door["preview"] or door["tensors"]):
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            "avatar=false is for the code alone",
            "send code=true with it alone",
        )
    files = [contract.GLB, contract.REPORT] if door["avatar"] else []
    for tensor, wanted in ((contract.PREVIEW, door["preview"]), (contract.CODE, code)):
        if wanted and tensor not in pipeline.gives:
            name = tensor.name.lower()
            raise FacewrightError(
                ErrorCode.BAD_OPTION, f"{pipeline.name} gives no {name}", f"leave {name} out"
            )
        files += [tensor] if wanted else []
    return (*files, *_tensors(str(door["tensors"]), pipeline))


def chosen(
    parameters: Iterable[tuple[str, str]], offered: Mapping[str, Pipeline], own: Mapping[str, Option]
) -> tuple[Pipeline, dict[str, OptionValue], dict[str, OptionValue]]:
    """The pipeline that is meant, what is said to it, and all of the door's own options.

    Args:
        parameters: of the query and of the form.
        offered: the pipelines that there are, by name.
        own: the door's own options, ``pipeline`` among them.

    Raises:
        FacewrightError: BAD_OPTION, in the words that stages have for it; BAD_REQUEST: no such pipeline.
    """
    given: dict[str, str] = {}
    for name, value in parameters:
        if name in given:
            raise FacewrightError(
                ErrorCode.BAD_OPTION, f"option {name[:64]!r} is given twice", "give it once"
            )
        given[name] = value
    name = given.get("pipeline", str(own["pipeline"].default))
    if name not in offered:  # in the code that it has over gRPC
        there = f"there are {', '.join(offered)}"
        raise RequestError(400, f"pipeline {name[:64]!r} is not served here", there)
    pipeline = offered[name]
    options = validated_options(given, {**own, **pipeline.options})
    return pipeline, options, {name: options.pop(name, option.default) for name, option in own.items()}


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


def timeout_s(headers: Mapping[str, str], option_s: float = 0.0) -> float | None:
    """Seconds that the caller waits: the shorter of the two ways to say it; None: neither does.

    Raises:
        RequestError: 400.
    """
    header = headers.get(TIMEOUT_HEADER.lower())
    if header is not None and not (_SECONDS.fullmatch(header) and float(header) > 0):
        raise RequestError(400, f"{TIMEOUT_HEADER} is {header[:32]!r}", "give seconds, such as 2.5")
    given = [seconds for seconds in (float(header or 0), option_s) if seconds]
    return min(given, default=None)
