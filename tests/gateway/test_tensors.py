"""What the gRPC door says of tensors that are not the pipeline's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.gateway.message import head_of
from facewright.gateway.tensors import check_tensors
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import PHOTO, ErrorCode, Tensor

FACTOR = Tensor("FACTOR", "TYPE_FP32", (1,), optional=True)
OWN = replace(AVATAR_TWIN, takes=(PHOTO, FACTOR))


def check(change: Callable[[Any], object], pipeline: Any = AVATAR_TWIN) -> None:
    request = service_pb2.ModelInferRequest(model_name="avatar_twin", raw_input_contents=[bytes(100)])
    request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, 100])
    request.outputs.add(name="GLB")
    change(request)
    check_tensors(head_of(request.SerializeToString()), pipeline)


def shape(*sizes: int) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        request.inputs[0].shape[:] = sizes

    return change


def inline(request: Any) -> None:
    del request.raw_input_contents[:]
    request.inputs[0].contents.uint_contents.extend(bytes(100))


def factor(request: Any) -> None:
    request.inputs.add(name="FACTOR", datatype="FP32", shape=[1, 1])
    request.raw_input_contents.append(bytes(4))


def classes_of(tensor: Any) -> None:
    tensor.parameters["classification"].int64_param = 3


def empty(request: Any) -> None:
    request.inputs[0].shape[:] = (1, 0)
    request.raw_input_contents[0] = b""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda r: r.inputs.add(name="EXTRA"),
            "'EXTRA' is no input of avatar_twin; it takes PHOTO alone",
        ),
        (lambda r: r.inputs.add(name="PHOTO"), "input PHOTO is given more than once"),
        (lambda r: r.ClearField("inputs"), "avatar_twin takes PHOTO, which the request lacks"),
        (lambda r: setattr(r.inputs[0], "datatype", "INT8"), "PHOTO is INT8; send UINT8"),
        (lambda r: setattr(r.inputs[0], "datatype", ""), "PHOTO is of no datatype; send UINT8"),
        (shape(100), "PHOTO has shape [100]; send [1, 100]"),
        (shape(2, 50), "PHOTO has a batch of 2"),
        (shape(1, 10, 10), "PHOTO is UINT8 of shape [1, 10, 10]: decoded pixels"),
        (lambda r: setattr(r.inputs[0], "datatype", "FP32"), "PHOTO is FP32 of shape [1, 100]: decoded"),
        (shape(1, -5), "PHOTO has shape [1, -5]; send [1, n]"),
        (shape(), "PHOTO has shape []; send [1, n]"),
        (shape(1, 99), "PHOTO has 100 bytes, and its shape [1, 99] has 99"),
        (lambda r: r.outputs.add(name="GLBB"), "'GLBB' is no output of avatar_twin"),
        (lambda r: setattr(r, "model_version", "newest"), "model_version is 'newest'"),
        (lambda r: setattr(r, "model_version", "2"), "model_version is '2'; a pipeline has version 1 alone"),
        (lambda r: r.ClearField("raw_input_contents"), "PHOTO has no contents"),
        (lambda r: classes_of(r.outputs[0]), "'GLB' has a parameter 'classification', and none is taken"),
        (lambda r: r.raw_input_contents.append(b""), "2 raw_input_contents for 1 inputs"),
    ],
)
def test_what_is_not_the_pipelines_is_named(change: Callable[[Any], object], words: str) -> None:
    with pytest.raises(FacewrightError) as refused:
        check(change)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert refused.value.message == words or refused.value.message.startswith(words)
    assert refused.value.hint


@pytest.mark.parametrize("change", [lambda _: None, inline, factor, empty])
def test_what_fits_is_let_through(change: Callable[[Any], object]) -> None:
    check(change, OWN)
