"""Whether numbers that stand within a request's tensors are as many as their shapes say, and of their kind.

KServe lets a client send a tensor's numbers in its ``contents`` in place of the request's
``raw_input_contents``. They are counted here, and not read: Protocol Buffers packs the numbers of a field one
behind the other (https://protobuf.dev/programming-guides/encoding), or writes each with a tag of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from facewright.core.errors import FacewrightError
from facewright.gateway.message import CONTENTS, INPUTS, Field, fields
from facewright_client.contract import ErrorCode

_VARINT, _EIGHT_BYTES, _PACKED, _FOUR_BYTES = 0, 1, 2, 5  # wire types
#: All but the last byte of a number of variable length are among these.
_CONTINUED: Final = bytes(range(0x80, 0x100))


class _Kind(NamedTuple):
    """A field of ``InferTensorContents``, and the wire type of one value in it."""

    field: int
    wire: int


_KINDS: Final = {
    "BOOL": _Kind(1, _VARINT),
    **dict.fromkeys(("INT8", "INT16", "INT32"), _Kind(2, _VARINT)),
    "INT64": _Kind(3, _VARINT),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), _Kind(4, _VARINT)),
    "UINT64": _Kind(5, _VARINT),
    "FP32": _Kind(6, _FOUR_BYTES),
    "FP64": _Kind(7, _EIGHT_BYTES),
    "BYTES": _Kind(8, _PACKED),
}


def check_typed_contents(request: bytes, inputs: Sequence[Any]) -> None:
    """Make sure that tensors which have contents of their own have as many numbers as their shape.

    Args:
        request: a ``ModelInferRequest``.
        inputs: its tensors, without their contents, as of `message.head_of`.

    Raises:
        FacewrightError: BAD_REQUEST.
    """
    tensors = (field for field in fields(request) if field.number == INPUTS)
    for field, tensor in zip(tensors, inputs, strict=True):
        contents = [part for part in fields(request, field.value, field.end) if part.number == CONTENTS]
        if contents:
            _check(request, contents, tensor)


def _check(request: bytes, contents: Sequence[Field], tensor: Any) -> None:
    kind = _KINDS.get(tensor.datatype)
    have = 0
    for part in contents:
        for values in fields(request, part.value, part.end):
            count = _count(request, values, kind) if kind and values.number == kind.field else None
            if count is None:
                raise FacewrightError(
                    ErrorCode.BAD_REQUEST,
                    f"{tensor.name} has contents that are not {tensor.datatype}",
                    "send its bytes in raw_input_contents",
                )
            have += count
    wanted = math.prod(tensor.shape)
    if have != wanted:
        raise FacewrightError(
            ErrorCode.BAD_REQUEST,
            f"{tensor.name} has {have} numbers, and its shape {list(tensor.shape)} has {wanted}",
            "send the shape of what you send, and all of it; or its bytes in raw_input_contents",
        )


def _count(request: bytes, values: Field, kind: _Kind) -> int | None:
    """Numbers in one field of contents; None: they are not of the kind."""
    wire = request[values.start] & 7
    if wire == kind.wire:
        return 1
    if wire != _PACKED:
        return None
    packed = request[values.value : values.end]
    if kind.wire == _VARINT:
        return None if packed[-1:] > b"\x7f" else len(packed.translate(None, _CONTINUED))
    size = 4 if kind.wire == _FOUR_BYTES else 8
    return None if len(packed) % size else len(packed) // size
