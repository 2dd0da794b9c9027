"""What doubles of Triton and of the house answer: tensors of a true shape, and files that a test chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from tritonclient.grpc import service_pb2

from facewright_client import contract
from facewright_client.contract import Tensor

#: Of tensors whose number of rows the head decides: vertices.
_ROWS: Final = 4
#: And of those that have a row for each iteration.
ITERATIONS: Final = 2


def avatar_of(request: Any, files: Mapping[str, bytes]) -> service_pb2.ModelInferResponse:
    """The answer to a ``ModelInferRequest`` for an avatar.

    Args:
        request: names the outputs.
        files: contents of GLB, REPORT, PREVIEW and CODE; the other tensors count up from 0 in sevenths.
    """
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    tensors = {tensor.name: tensor for tensor in (*contract.AVATAR_OUTPUTS, contract.CODE)}
    for wanted in request.outputs:
        tensor = tensors[wanted.name]
        add_output(answer, tensor, files.get(tensor.name) or _counting(tensor))
    return answer


def refinement_of(request: Any, info: bytes) -> service_pb2.ModelInferResponse:
    """The same for a refinement, with the JSON that says how it ended."""
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    for tensor in contract.REFINEMENT_OUTPUTS:
        raw = info if tensor.dtype == "TYPE_UINT8" else _counting(tensor, ITERATIONS)
        add_output(answer, tensor, raw, ITERATIONS)
    return answer


def add_output(answer: service_pb2.ModelInferResponse, tensor: Tensor, raw: bytes, rows: int = _ROWS) -> None:
    """Put a tensor's contents into an answer; bytes are as long as they are."""
    rows = len(raw) if tensor.dtype == "TYPE_UINT8" else rows
    shape = [1, *(rows if size == -1 else size for size in tensor.shape)]
    answer.outputs.add(name=tensor.name, datatype=tensor.dtype.removeprefix("TYPE_"), shape=shape)
    answer.raw_output_contents.append(raw)


def _counting(tensor: Tensor, rows: int = _ROWS) -> bytes:
    shape = [rows if size == -1 else size for size in tensor.shape]
    return bytes((np.arange(np.prod(shape), dtype=np.float32) / 7).tobytes())
