"""The client against a Triton that is not there, and against one that fails in known ways.

The server here is a real gRPC server that speaks Triton's protocol and answers as the test says; the real
Triton is in ``tests/server``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from facewright_client import (
    AsyncClient,
    Avatar,
    Client,
    ClientMetrics,
    Connection,
    DeadlineExceededError,
    NoFaceError,
    OverloadedError,
    RetryPolicy,
    ServerUnavailableError,
    contract,
)
from prometheus_client import CollectorRegistry
from tritonclient.grpc import service_pb2, service_pb2_grpc

QUICK = RetryPolicy(attempts=4, first_pause_s=0.01, longest_pause_s=0.02)


def _wire_error(code: str) -> str:
    fields = {"code": code, "stage": "find_face", "message": "m", "hint": "h"}
    return f"in ensemble 'avatar_twin', {json.dumps(fields)}"


class Scripted(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers requests with the given failures one after the other, then with an avatar of zeros."""

    def __init__(self) -> None:
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.requests: list[service_pb2.ModelInferRequest] = []
        self.delay_s = 0.0

    def ModelInfer(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        self.requests.append(request)
        time.sleep(self.delay_s)
        if self.failures:
            context.abort(*self.failures.pop(0))
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        contents = {"GLB": b"glTF\x02", "REPORT": b'{"warnings": ["blurred"]}', "PREVIEW": b"\x89PNG"}
        sizes = {tensor.name: tensor for tensor in contract.AVATAR[1]}
        for wanted in request.outputs:
            tensor = sizes[wanted.name]
            shape = [1, *(len(contents.get(tensor.name, b"12345")) if n == -1 else n for n in tensor.shape)]
            array = np.zeros(shape, np.float32)
            raw = contents.get(tensor.name) or array.tobytes()
            answer.outputs.add(name=tensor.name, datatype=tensor.dtype.removeprefix("TYPE_"), shape=shape)
            answer.raw_output_contents.append(raw)
        return answer


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, str]]:
    """The server's script and its address."""
    servicer = Scripted()
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(0).wait()


def _create(url: str, asynchronous: bool, connection: Connection, **options: object) -> Avatar:
    if not asynchronous:
        with Client(url, connection) as client:
            return client.create(b"photo", **options)  # type: ignore[arg-type]

    async def call() -> Avatar:
        async with AsyncClient(url, connection) as client:
            return await client.create(b"photo", **options)  # type: ignore[arg-type]

    return asyncio.run(call())


both_clients = pytest.mark.parametrize("asynchronous", [False, True], ids=["Client", "AsyncClient"])


@both_clients
def test_a_request_and_its_answer(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    avatar = _create(url, asynchronous, Connection(), preview=True, delight=0.25, lods=1, visemes=False)
    (request,) = script.requests
    assert request.model_name == "avatar_twin"
    assert request.raw_input_contents == [b"photo"]
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in request.inputs] == [
        ("PHOTO", "UINT8", [1, 5])
    ]
    assert request.parameters["delight"].string_param == "0.25"
    assert request.parameters["lods"].int64_param == 1
    assert request.parameters["visemes"].bool_param is False
    assert avatar.glb == b"glTF\x02"
    assert avatar.preview == b"\x89PNG"
    assert avatar.warnings == ["blurred"]
    assert avatar.expression.shape == (52,)


@both_clients
def test_no_preview_is_asked_for_by_default(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    assert _create(url, asynchronous, Connection()).preview is None
    assert "PREVIEW" not in {output.name for output in script.requests[0].outputs}


@both_clients
def test_overload_and_restarts_are_retried(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.failures = [
        (grpc.StatusCode.UNAVAILABLE, _wire_error("OVERLOADED")),
        (grpc.StatusCode.INTERNAL, "Stub process 'fit_head_0_0' is not healthy."),
        (grpc.StatusCode.UNAVAILABLE, "connection reset"),
    ]
    registry = CollectorRegistry()
    connection = Connection(retries=QUICK, metrics=ClientMetrics(registry))
    assert _create(url, asynchronous, connection).glb
    assert len(script.requests) == 4
    count = registry.get_sample_value
    pipeline = {"pipeline": "avatar_twin"}
    assert count("facewright_client_seconds_count", {**pipeline, "outcome": "ok"}) == 1
    assert count("facewright_client_retries_total", {**pipeline, "code": "OVERLOADED"}) == 1
    assert count("facewright_client_retries_total", {**pipeline, "code": "UNAVAILABLE"}) == 2


@both_clients
def test_retries_end(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.failures = [(grpc.StatusCode.UNAVAILABLE, _wire_error("OVERLOADED"))] * 9
    with pytest.raises(OverloadedError):
        _create(url, asynchronous, Connection(retries=QUICK))
    assert len(script.requests) == 4


@both_clients
def test_a_bad_photo_is_not_sent_again(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.failures = [(grpc.StatusCode.INVALID_ARGUMENT, _wire_error("NO_FACE"))]
    with pytest.raises(NoFaceError):
        _create(url, asynchronous, Connection(retries=QUICK))
    assert len(script.requests) == 1


@both_clients
def test_the_time_limit_counts_all_retries(scripted: tuple[Scripted, str], asynchronous: bool) -> None:
    script, url = scripted
    script.delay_s = 0.5
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        _create(url, asynchronous, Connection(timeout_s=0.2))
    assert time.monotonic() - started < 0.45


@both_clients
def test_nobody_there(asynchronous: bool) -> None:
    with pytest.raises(ServerUnavailableError, match="facewright serve"):
        _create("127.0.0.1:1", asynchronous, Connection(timeout_s=2.0, retries=QUICK))


@pytest.mark.parametrize("timeout_s", [-1.0, float("nan"), float("inf")])
def test_a_time_limit_that_makes_no_sense(timeout_s: float) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(ValueError, match="timeout_s"):
        client.create(b"photo", timeout_s=timeout_s)


def test_a_cancelled_task_cancels_the_request(scripted: tuple[Scripted, str]) -> None:
    script, url = scripted
    script.delay_s = 0.3

    async def leave() -> None:
        async with AsyncClient(url) as client:
            task = asyncio.create_task(client.create(b"photo"))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())


def test_saving_is_all_or_nothing(scripted: tuple[Scripted, str], tmp_path: Path) -> None:
    avatar = _create(scripted[1], False, Connection())
    assert avatar.save(tmp_path / "me.glb").read_bytes() == b"glTF\x02"
    assert [path.name for path in tmp_path.iterdir()] == ["me.glb"]


def test_the_contract_costs_the_stages_nothing() -> None:
    """The server's stages import the contract: that must not load gRPC, nor even NumPy."""
    code = (
        "import sys, facewright_client.contract;"
        "assert not {'grpc', 'numpy', 'tritonclient'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_client_needs_no_server_package() -> None:
    code = (
        "import sys, facewright_client as f; [getattr(f, n) for n in f.__all__];"
        "assert not {'facewright', 'torch', 'scipy', 'prometheus_client'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
