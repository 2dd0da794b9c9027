"""KServe's messages as bytes: read without their contents, given another id, malformed in every way."""

from __future__ import annotations

import random

import pytest
from tritonclient.grpc import service_pb2

from facewright.core.errors import FacewrightError
from facewright.gateway import message
from facewright_client.contract import ErrorCode


def request(photo: bytes = b"photo" * 1000) -> service_pb2.ModelInferRequest:
    """One as generated clients send it."""
    made = service_pb2.ModelInferRequest(model_name="avatar_twin", model_version="1", id="mine")
    made.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, len(photo)]).parameters[
        "binary_data_size"
    ].int64_param = len(photo)
    made.outputs.add(name="GLB")
    made.parameters["texture_size"].int64_param = 512
    made.raw_input_contents.append(photo)
    return made


def test_the_head_is_everything_but_the_contents() -> None:
    sent = request()
    typed = sent.inputs.add(name="MORE", datatype="UINT8", shape=[1, 3])
    typed.contents.uint_contents.extend([1, 2, 300])
    head = message.head_of(sent.SerializeToString())
    assert (head.raw_sizes, head.typed) == ([5000], [False, True])
    del sent.raw_input_contents[:]
    typed.ClearField("contents")
    assert head.request == sent


def test_fields_that_nobody_knows_are_passed_over() -> None:
    """A newer client's: a number, eight bytes, four bytes."""
    unknown = b"\xf8\x07\x96\x01" + b"\xf9\x07" + b"8" * 8 + b"\xfd\x07" + b"4444"
    assert message.head_of(unknown + request().SerializeToString()).request.id == "mine"


@pytest.mark.parametrize("identity", ["", "short", "ü" * 500])
def test_another_id(identity: str) -> None:
    sent = request()
    changed = service_pb2.ModelInferRequest.FromString(message.with_id(sent.SerializeToString(), identity))
    sent.id = identity
    assert changed == sent
    answer = service_pb2.ModelInferResponse(model_name="avatar_twin", id="theirs", raw_output_contents=[b"g"])
    changed = service_pb2.ModelInferResponse.FromString(message.with_id(answer.SerializeToString(), identity))
    answer.id = identity
    assert changed == answer


def test_more_is_asked_for_and_taken_away_again() -> None:
    asked = service_pb2.ModelInferRequest.FromString(
        message.with_wanted(request().SerializeToString(), ("IDENTITY", "LANDMARKS"))
    )
    assert [output.name for output in asked.outputs] == ["GLB", "IDENTITY", "LANDMARKS"]
    answer = service_pb2.ModelInferResponse(model_name="avatar_twin", id="mine")
    for number, output in enumerate(asked.outputs):
        answer.outputs.add(name=output.name, datatype="UINT8", shape=[1, number])
        answer.raw_output_contents.append(b"g" * number)
    kept = service_pb2.ModelInferResponse.FromString(
        message.only_outputs(answer.SerializeToString(), {"GLB", "LANDMARKS"})
    )
    del answer.outputs[1], answer.raw_output_contents[1]
    assert kept == answer


def test_streamed_answers_and_errors() -> None:
    answer = service_pb2.ModelInferResponse(id="mine", raw_output_contents=[b"g" * 300]).SerializeToString()
    parsed = service_pb2.ModelStreamInferResponse.FromString(message.streamed(answer))
    assert parsed.infer_response.SerializeToString() == answer
    assert message.answer_of(message.streamed(answer)) == (answer, "")
    failed = message.streamed_error('{"code": "NO_FACE"}', "mine")
    parsed = service_pb2.ModelStreamInferResponse.FromString(failed)
    assert (parsed.error_message, parsed.infer_response.id) == ('{"code": "NO_FACE"}', "mine")
    assert message.answer_of(failed)[1] == '{"code": "NO_FACE"}'


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (b"\x0a\xff", "a number without an end"),
        (b"\x80" * 11, "a number without an end"),
        (b"\x0a\x05ab", "longer than the message"),
        (b"\x0a" + b"\xff" * 9 + b"\x01", "longer than the message"),
        (b"\x0b", "wire type 3"),
        (b"\x0f\x01", "wire type 7"),
        (b"\x0d12", "longer than the message"),
        (b"\x0a\x02\xff\xfe", "not a request's"),  # a name that is no UTF-8
        (b"\x2a\x03\x0a\x09a", "longer than the message"),  # within a tensor
        (b"\x3a\x00" * 5000, "more than 2000 fields"),
        (b"\x2a\x00" * 5000, "more than 2000 fields"),
        (b"\x1a\x80\x80\x08" + b"i" * 131072, "beside the tensors' contents"),
    ],
)
def test_what_is_no_request_is_refused_in_words(broken: bytes, why: str) -> None:
    with pytest.raises(FacewrightError, match=why) as refused:
        message.head_of(broken)
    assert refused.value.code is ErrorCode.BAD_REQUEST


def test_requests_changed_at_random_are_read_or_refused() -> None:
    """As protobuf reads them, wherever it does: a door that reads less than Triton would be a hole."""
    chance = random.Random(11)
    whole = request(b"p" * 40).SerializeToString()
    read = refused = 0
    for _ in range(3000):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(changed))
            action = chance.randrange(3)
            if action == 0:
                changed[place] = chance.randrange(256)
            elif action == 1:
                del changed[place : place + chance.randint(1, 9)]
            else:
                changed[place:place] = chance.randbytes(chance.randint(1, 9))
        try:
            head = message.head_of(bytes(changed)).request
        except FacewrightError:
            refused += 1
            continue
        try:
            parsed = service_pb2.ModelInferRequest.FromString(bytes(changed))
        except message.DecodeError:
            continue  # broken within contents: Triton says so
        assert (head.model_name, head.id, len(head.inputs)) == (
            parsed.model_name,
            parsed.id,
            len(parsed.inputs),
        )
        read += 1
    assert read > 200
    assert refused > 200
