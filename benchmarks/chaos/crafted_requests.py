"""Requests like those of Triton's known CVEs: for the gRPC door messages, for the REST door raw HTTP/1.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from tritonclient.grpc import service_pb2

_POST: Final = b"POST /v1/avatars HTTP/1.1\r\nHost: localhost\r\n"
#: Triton's own path, should it ever be behind this door.
_INFER: Final = b"POST /v2/models/avatar_twin/infer HTTP/1.1\r\nHost: localhost\r\n"


def messages() -> Mapping[str, bytes]:
    """Serialised ``ModelInferRequest``s, or what is none, by what they are."""
    found = {
        "nothing": b"",
        "what is no message": b"\xff" * 1000,
        "a number without an end": b"\x08" + b"\xff" * 1000,
        "a field longer than the message": b"\x3a\xff\xff\xff\xff\x07photo",
        "a million fields": b"\x3a\x00" * 1_000_000,
        "groups 100,000 deep": b"\x0b" * 100_000,
        "a name of a megabyte": _request(model_name="a" * 2**20),
        "an id of a megabyte": _request(id="a" * 2**20),
        "100,000 parameters": _request(
            parameters={str(n): service_pb2.InferParameter(bool_param=True) for n in range(100_000)}
        ),
        "100,000 inputs": _request(inputs=[_tensor()] * 100_000),
        "100,000 outputs": _request(
            outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="GLB")] * 100_000
        ),
        "100,000 dimensions": _request(inputs=[_tensor(shape=[1] * 100_000)]),
        "a million numbers": _request(
            inputs=[_tensor(contents=service_pb2.InferTensorContents(uint_contents=[1] * 1_000_000))]
        ),
        "fewer numbers than its shape has": _request(
            inputs=[_tensor(contents=service_pb2.InferTensorContents(uint_contents=[1]))],
            raw_input_contents=[],
        ),
        "numbers of another kind": _request(
            inputs=[_tensor(contents=service_pb2.InferTensorContents(fp64_contents=[1.0] * 5))],
            raw_input_contents=[],
        ),
        "no content": _request(inputs=[_tensor()], raw_input_contents=[]),
        "more contents than inputs": _request(raw_input_contents=[b"photo"] * 1000),
        "an input twice": _request(inputs=[_tensor(), _tensor()], raw_input_contents=[b"photo"] * 2),
        "an unknown input": _request(inputs=[_tensor(name="NOPE")]),
        "an unknown output": _request(
            outputs=[service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="NOPE")]
        ),
        "a region of shared memory": _request(inputs=[_tensor(parameters=_region())], raw_input_contents=[]),
        "an answer into shared memory": _request(
            outputs=[
                service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="GLB", parameters=_region())
            ]
        ),
    }
    for shape in ([1, -1], [1, 2**63 - 1], [2**32, 2**32], [-(2**63), 1], [1, 0], [], [5]):
        found[f"shape {shape}"] = _request(inputs=[_tensor(shape=shape)])
    for kind in ("", "FP32", "BYTES", "X" * 10_000):
        found[f"datatype {kind[:8]!r}"] = _request(inputs=[_tensor(datatype=kind)])
    for name, value in (
        ("priority", {"uint64_param": 2**64 - 1}),
        ("timeout", {"int64_param": -1}),
        ("sequence_id", {"string_param": "a" * 100_000}),
        ("sequence_start", {"bool_param": True}),
        ("binary_data_size", {"int64_param": 2**62}),
        ("headers", {"string_param": "../" * 1000}),
        ("texture_size", {"double_param": float("nan")}),
        ("triton_final_response", {"bool_param": True}),
        ("classification", {"int64_param": 2**31}),
    ):
        parameter = service_pb2.InferParameter(**value)
        found[f"parameter {name}"] = _request(parameters={name: parameter})
    return found


def http() -> Mapping[str, bytes]:
    """Raw HTTP/1.1, by what it is."""
    shared = {"shared_memory_region": "facewright", "shared_memory_byte_size": 5}
    tensor = {"name": "PHOTO", "shape": [1, 5], "datatype": "UINT8", "parameters": shared}
    deep = b'{"inputs":[{"name":"PHOTO","shape":[1,1],"datatype":"UINT8","data":'
    bodies = {
        "JSON 200,000 deep": b"[" * 200_000,
        "inputs 200,000 deep": b'{"inputs":' + b"[" * 200_000,
        "data a million deep": deep + b"[" * 1_000_000 + b"1" + b"]" * 1_000_000 + b"}]}",
        "parameters 2,000 deep": b'{"parameters":' + b"[" * 2000 + b"]" * 2000 + b"}",
        "shared memory": json.dumps({"inputs": [tensor]}).encode(),
    }
    found = {}
    for name, body in bodies.items():
        sized = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        found[name] = _POST + sized
        found[f"{name}, to Triton's path"] = _INFER + sized
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    return found | {
        "600,000 chunks of a byte": _POST + chunked + b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n",
        "600,000 chunks, to Triton's path": _INFER + chunked + b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n",
        "a chunk of -5 bytes": _POST + chunked + b"-5\r\nphoto\r\n0\r\n\r\n",
        "a chunk of 2^64 bytes": _POST + chunked + b"ffffffffffffffff\r\nphoto",
        "a length of -5": _POST + b"Content-Length: -5\r\n\r\nphoto",
        "a length and chunks": _POST
        + b"Content-Length: 4\r\n"
        + chunked
        + b"0\r\n\r\nGET /v1 HTTP/1.1\r\n\r\n",
        "a header of a megabyte": b"GET /v1/version HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        "100,000 headers": b"GET /v1/version HTTP/1.1\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
        "a path of a megabyte": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        "no method": b"\0\1\2\3 / HTTP/9.9\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    }


def _tensor(**fields: Any) -> Any:
    usual = {"name": "PHOTO", "datatype": "UINT8", "shape": [1, 5]}
    return service_pb2.ModelInferRequest.InferInputTensor(**(usual | fields))


def _region() -> dict[str, Any]:
    return {
        "shared_memory_region": service_pb2.InferParameter(string_param="/facewright"),
        "shared_memory_byte_size": service_pb2.InferParameter(int64_param=2**40),
    }


def _request(**fields: Any) -> bytes:
    """A request for an avatar of what is no photo, but for some fields."""
    usual = {"model_name": "avatar_twin", "inputs": [_tensor()], "raw_input_contents": [b"photo"]}
    serialised: bytes = service_pb2.ModelInferRequest(**(usual | fields)).SerializeToString()
    return serialised
