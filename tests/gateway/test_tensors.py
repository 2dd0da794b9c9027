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
from facewright.gateway.typed_contents import check_typed_contents
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import PHOTO, ErrorCode, Tensor

FACTOR = Tensor("FACTOR", "TYPE_FP32", (1,), optional=True)
OWN = replace(AVATAR_TWIN, takes=(PHOTO, FACTOR))


def check(change: Callable[[Any], object], pipeline: Any = AVATAR_TWIN) -> None:
    request = service_pb2.ModelInferRequest(model_name="avatar_twin", raw_input_contents=[bytes(100)])
    request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, 100])
    request.outputs.add(name="GLB")
    change(request)
    serialised = request.SerializeToString()
    head = head_of(serialised)
    check_tensors(head, pipeline)
    check_typed_contents(serialised, head.request.inputs)


def shape(*sizes: int) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        request.inputs[0].shape[:] = sizes

    return change


def typed(**contents: Any) -> Callable[[Any], None]:
    def change(request: Any) -> None:
        del request.raw_input_contents[:]
        request.inputs[0].contents.CopyFrom(service_pb2.InferTensorContents(**contents))

    return change


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
        (typed(uint_contents=[7] * 99), "PHOTO has 99 numbers, and its shape [1, 100] has 100"),
        (typed(uint_contents=[300] * 101), "PHOTO has 101 numbers"),
        (typed(fp32_contents=[0.5] * 100), "PHOTO has contents that are not UINT8"),
        (typed(uint_contents=[7] * 100, bool_contents=[True]), "PHOTO has contents that are not UINT8"),
        (lambda r: r.raw_input_contents.append(b""), "2 raw_input_contents for 1 inputs"),
    ],
)
def test_what_is_not_the_pipelines_is_named(change: Callable[[Any], object], words: str) -> None:
    with pytest.raises(FacewrightError) as refused:
        check(change)
    assert refused.value.code is ErrorCode.BAD_REQUEST
    assert refused.value.message == words or refused.value.message.startswith(words)
    assert refused.value.hint


@pytest.mark.parametrize("change", [lambda _: None, typed(uint_contents=[7, 255] * 50), factor, empty])
def test_what_fits_is_let_through(change: Callable[[Any], object]) -> None:
    check(change, OWN)


@pytest.mark.parametrize(
    ("datatype", "contents", "count"),
    [
        ("UINT8", b"\x22\x03\x07\xff\x01", 2),  # packed: 7, 255
        ("UINT8", b"\x20\x07\x20\xff\x01", 2),  # each with its tag
        ("UINT8", b"\x20\x07\x22\x02\x07\x07", 3),  # both
        ("FP32", b"\x32\x08" + bytes(8), 2),
        ("FP32", b"\x35" + bytes(4), 1),
        ("FP64", b"\x3a\x10" + bytes(16), 2),
        ("BYTES", b"\x42\x03abc\x42\x00", 2),
        ("UINT8", b"\x22\x02\x07\xff", None),  # a number without an end
        ("UINT8", b"\x25" + bytes(4), None),  # of four bytes, which are none of this field's
        ("FP32", b"\x32\x07" + bytes(7), None),
        ("FP16", b"\x32\x04" + bytes(4), None),
    ],
)
def test_typed_contents_are_counted_as_they_are_written(
    datatype: str, contents: bytes, count: int | None
) -> None:
    inner = bytes((5 << 3 | 2, len(contents))) + contents
    tensor = service_pb2.ModelInferRequest.InferInputTensor(datatype=datatype, shape=[count or 1])
    request = bytes((5 << 3 | 2, len(inner))) + inner
    if count is not None:
        check_typed_contents(request, [tensor])
        tensor.shape[0] += 1
    with pytest.raises(FacewrightError, match="has contents that" if count is None else "numbers, and its"):
        check_typed_contents(request, [tensor])
