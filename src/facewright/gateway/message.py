"""KServe's messages as bytes: what the door must know of a request, without touching the photo in it.

Protocol Buffers' wire format: a message is a row of fields, each a tag and a value; of a field that stands
twice the last one counts (https://protobuf.dev/programming-guides/encoding). So a request gets another ``id``
by bytes put behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright_client.contract import STAGE_PARAMETER, ErrorCode

#: Field numbers: of requests and their tensors, of answers and of streamed answers.
INPUTS: Final = 5
WANTED_OUTPUTS: Final = 6
RAW_CONTENTS: Final = 7
ANSWERED_OUTPUTS: Final = 5
RAW_ANSWERS: Final = 6
CONTENTS: Final = 5
ID: Final = 3
_STREAMED_ERROR: Final = 1
_STREAMED_ANSWER: Final = 2
#: Many times what a request of any pipeline has, and a millisecond of reading.
_MOST_FIELDS: Final = 2000
_LARGEST_HEAD: Final = 65536
_LONGEST_VARINT: Final = 10
_FIXED: Final = {1: 8, 5: 4}  # bytes of a value by wire type
_LENGTH_DELIMITED: Final = 2
#: Parameters of messages that stand one behind the other are put together, too.
_FINAL: Final[bytes] = service_pb2.ModelInferResponse(
    parameters={"triton_final_response": service_pb2.InferParameter(bool_param=True)}
).SerializeToString()


class Field(NamedTuple):
    """Where a field is in a message: its tag at ``start``, its value between ``value`` and ``end``."""

    number: int
    start: int
    value: int
    end: int


def fields(message: bytes, start: int = 0, end: int | None = None) -> Iterator[Field]:
    """The fields of a message, or of the message within one.

    Raises:
        FacewrightError: BAD_REQUEST: it is none, or has thousands.
    """
    end = len(message) if end is None else end
    count = 0
    while start < end:
        count += 1
        if count > _MOST_FIELDS:
            raise _broken(f"more than {_MOST_FIELDS} fields")
        tag, value = _varint(message, start, end)
        wire = tag & 7
        if wire == 0:
            _, after = _varint(message, value, end)
        elif wire == _LENGTH_DELIMITED:
            length, value = _varint(message, value, end)
            after = value + length
        elif wire in _FIXED:
            after = value + _FIXED[wire]
        else:
            raise _broken(f"wire type {wire}")
        if after > end:
            raise _broken("a field that is longer than the message")
        yield Field(tag >> 3, start, value, after)
        start = after


class Head(NamedTuple):
    """What a ``ModelInferRequest`` says beside its tensors' contents.

    Attributes:
        request: the message without them.
        raw_sizes: bytes of each of its ``raw_input_contents``.
        typed: of each input, whether it has contents of its own.
    """

    request: Any
    raw_sizes: Sequence[int]
    typed: Sequence[bool]


def head_of(request: bytes) -> Head:
    """A ``ModelInferRequest`` without the tensors' contents.

    Raises:
        FacewrightError: BAD_REQUEST: it is none, or larger than any pipeline's.
    """
    parts: list[bytes] = []
    raw_sizes: list[int] = []
    typed: list[bool] = []
    for number, start, value, end in fields(request):
        if number == RAW_CONTENTS:
            raw_sizes.append(end - value)
        elif number == INPUTS:
            inner = list(fields(request, value, end))
            kept = [request[part.start : part.end] for part in inner if part.number != CONTENTS]
            typed.append(len(kept) < len(inner))
            parts.append(_delimited(INPUTS, b"".join(kept)))
        else:
            parts.append(request[start:end])
    head = b"".join(parts)
    if len(head) > _LARGEST_HEAD:
        raise _broken(f"{len(head)} bytes beside the tensors' contents")
    try:
        return Head(service_pb2.ModelInferRequest.FromString(head), raw_sizes, typed)
    except DecodeError:
        raise _broken("fields that are not a request's") from None


def with_id(message: bytes, identity: str) -> bytes:
    """A ``ModelInferRequest`` or ``ModelInferResponse`` with another ``id``."""
    return message + _delimited(ID, identity.encode())


def with_wanted(request: bytes, names: Iterable[str]) -> bytes:
    """A ``ModelInferRequest`` that asks for some outputs more."""
    more = (service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in names)
    return request + b"".join(_delimited(WANTED_OUTPUTS, output.SerializeToString()) for output in more)


def only_outputs(answer: bytes, names: Collection[str]) -> bytes:
    """A ``ModelInferResponse`` with no outputs but those of some names."""
    kept: list[bool] = []
    parts: list[bytes] = []
    raw = 0
    for number, start, value, end in fields(answer):
        if number == ANSWERED_OUTPUTS:
            kept.append(
                service_pb2.ModelInferResponse.InferOutputTensor.FromString(answer[value:end]).name in names
            )
            stays = kept[-1]
        elif number == RAW_ANSWERS:  # in the order of the outputs, which stand before them
            stays = kept[raw]
            raw += 1
        else:
            stays = True
        if stays:
            parts.append(answer[start:end])
    return b"".join(parts)


def final(answer: bytes) -> bytes:
    """A ``ModelInferResponse`` as the last one for its request."""
    return answer + _FINAL


def stage_begins(stage: str) -> bytes:
    """A ``ModelInferResponse`` that only names a stage (`facewright_client.contract.STAGE_PARAMETER`)."""
    named = service_pb2.InferParameter(string_param=stage)
    told: bytes = service_pb2.ModelInferResponse(parameters={STAGE_PARAMETER: named}).SerializeToString()
    return told


def streamed(answer: bytes) -> bytes:
    """A ``ModelInferResponse`` as a ``ModelStreamInferResponse``."""
    return _delimited(_STREAMED_ANSWER, answer)


def streamed_error(wire_form: str, identity: str) -> bytes:
    """A failure as a ``ModelStreamInferResponse``, for the request of that ``id``."""
    empty = service_pb2.ModelInferResponse(id=identity).SerializeToString()
    return _delimited(_STREAMED_ERROR, wire_form.encode()) + streamed(empty)


def answer_of(streamed_answer: bytes) -> tuple[bytes, str]:
    """The ``ModelInferResponse`` in a ``ModelStreamInferResponse``, and the error beside it, or "".

    Raises:
        FacewrightError: as `fields`.
    """
    answer, error = b"", ""
    for field in fields(streamed_answer):
        if field.number == _STREAMED_ANSWER:
            answer = streamed_answer[field.value : field.end]
        elif field.number == _STREAMED_ERROR:
            error = streamed_answer[field.value : field.end].decode(errors="replace")
    return answer, error


def _varint(message: bytes, start: int, end: int) -> tuple[int, int]:
    """A number and where what follows it begins."""
    if start < end and message[start] < 0x80:  # most of them
        return message[start], start + 1
    number = 0
    for length, byte in enumerate(message[start : min(start + _LONGEST_VARINT, end)]):
        number |= (byte & 0x7F) << 7 * length
        if byte < 0x80:
            return number, start + length + 1
    raise _broken("a number without an end")


def delimiter(number: int, length: int) -> bytes:
    """What stands before a value of so many bytes in a field of that number."""
    head = bytearray((number << 3 | _LENGTH_DELIMITED,))
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)


def _delimited(number: int, value: bytes) -> bytes:
    return delimiter(number, len(value)) + value


def _broken(what: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_REQUEST,
        f"this is no ModelInferRequest of KServe v2: it has {what}",
        "send what a generated client of the protocol sends",
    )
