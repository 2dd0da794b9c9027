"""Whether a request's tensors are its pipeline's, in the door's words: Triton's are garbled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

from facewright.core.errors import FacewrightError
from facewright.gateway.message import Head
from facewright.pipelines.stages import Pipeline
from facewright_client.contract import PHOTO, PHOTO_FORMATS, ErrorCode, Tensor

_VERSIONS: Final = ("", "1")
#: Bytes of one number by KServe's name of its kind; what is not here has no fixed size.
_SIZES: Final = {
    "BOOL": 1,
    **{f"{kind}{bits}": bits // 8 for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": bits // 8 for bits in (16, 32, 64)},
}


def check_tensors(head: Head, pipeline: Pipeline) -> None:
    """Make sure that a request gives what its pipeline takes, and wants what it gives.

    Args:
        head: of the request.
        pipeline: that it is for.

    Raises:
        FacewrightError: BAD_REQUEST: something is missing, unknown, or not of its kind, shape or size.
    """
    request = head.request
    if request.model_version not in _VERSIONS:
        _refuse(
            f"model_version is {request.model_version[:64]!r}; a pipeline has version 1 alone", "leave it out"
        )
    for tensor in (*request.inputs, *request.outputs):
        if "shared_memory_region" in tensor.parameters:
            _refuse("shared memory is not taken", "send tensors in the request")
        for name in tensor.parameters:  # as Triton's "classification": here are no classes
            _refuse(f"{tensor.name[:64]!r} has a parameter {name[:64]!r}, and none is taken", "leave it out")
    taken = {tensor.name: tensor for tensor in pipeline.takes}
    given: set[str] = set()
    for tensor in request.inputs:
        name = tensor.name
        if name not in taken:
            takes = f"it takes {_listed(taken)}"
            _refuse(f"{name[:64]!r} is no input of {pipeline.name}; {takes}", f"send {_listed(taken)}")
        if name in given:
            _refuse(f"input {name} is given more than once", "send it once")
        given.add(name)
        _check_kind(tensor, taken[name])
    missing = [name for name, tensor in taken.items() if name not in given and not tensor.optional]
    if missing:
        _refuse(f"{pipeline.name} takes {', '.join(missing)}, which the request lacks", "send that, too")
    offered = [tensor.name for tensor in pipeline.gives]
    for tensor in request.outputs:
        if tensor.name not in offered:
            _refuse(
                f"{tensor.name[:64]!r} is no output of {pipeline.name}", f"there are {', '.join(offered)}"
            )
    _check_contents(head)


def _check_kind(given: Any, tensor: Tensor) -> None:
    """Refuse another datatype or shape than the pipeline's."""
    kind = "BYTES" if tensor.dtype == "TYPE_STRING" else tensor.dtype.removeprefix("TYPE_")
    shape = list(given.shape)
    if given.datatype == kind and shape[:1] == [1] and _fits(shape[1:], tensor.shape):
        return
    if tensor == PHOTO and (given.datatype.startswith("FP") or len(shape) > len(PHOTO.shape) + 1):
        what = f"{tensor.name} is {given.datatype[:32]} of shape {shape[:16]}: decoded pixels"
        _refuse(what, f"send the bytes of the picture's file as they are ({PHOTO_FORMATS}): UINT8, [1, n]")
    if given.datatype != kind:
        _refuse(f"{tensor.name} is {given.datatype[:32] or 'of no datatype'}; send {kind}", f"send {kind}")
    if shape and shape[0] > 1 and _fits(shape[1:], tensor.shape):
        _refuse(f"{tensor.name} has a batch of {shape[0]}", "a request takes one: send several requests")
    own = shape if _fits(shape, tensor.shape) else [size if size >= 0 else "n" for size in tensor.shape]
    wanted = f"[{', '.join(map(str, [1, *own]))}]"
    _refuse(
        f"{tensor.name} has shape {shape[:16]}; send {wanted}", f"send {wanted}: the first 1 is the batch"
    )


def _fits(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape is the wanted one, where -1 is any; an empty photo is a stage's to refuse."""
    return len(shape) == len(wanted) and all(
        have == want or (have >= 0 > want) for have, want in zip(shape, wanted, strict=True)
    )


def _check_contents(head: Head) -> None:
    """Refuse contents that are missing, or raw ones whose number or size is not that of the inputs."""
    inputs, raw, typed = head.request.inputs, head.raw_sizes, head.typed
    sizes = [math.prod(tensor.shape) * _SIZES.get(tensor.datatype, 0) for tensor in inputs]
    if not raw:
        for tensor, size, has_contents in zip(inputs, sizes, typed, strict=True):
            if size and not has_contents:
                _refuse(f"{tensor.name} has no contents", "send its bytes in raw_input_contents")
        return
    if any(typed) or len(raw) != len(inputs):
        inside = f", and {sum(typed)} have contents of their own" if any(typed) else ""
        _refuse(
            f"{len(raw)} raw_input_contents for {len(inputs)} inputs{inside}",
            "send one of raw_input_contents for each input, in their order",
        )
    for tensor, size, length in zip(inputs, sizes, raw, strict=True):
        if size != length and tensor.datatype in _SIZES:
            shape = list(tensor.shape)
            _refuse(
                f"{tensor.name} has {length} bytes, and its shape {shape} has {size}",
                "send the shape of what you send, and all of it",
            )


def _listed(names: Iterable[str]) -> str:
    one, *more = names
    return ", ".join((one, *more)) if more else f"{one} alone"


def _refuse(what: str, hint: str) -> NoReturn:
    raise FacewrightError(ErrorCode.BAD_REQUEST, what, hint)
