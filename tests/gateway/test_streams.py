"""What a stream tells of a request on the way, by our own clients through the gRPC door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call, Caller
from facewright.gateway.kserve import Doorway, GrpcDoor
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client import (
    AsyncClient,
    Client,
    Connection,
    NoFaceError,
    OverloadedError,
    RetryPolicy,
    UnauthenticatedError,
)
from facewright_client.contract import PROGRESS_PARAMETER, STAGE_PARAMETER, ErrorCode
from tests.support.scripted_house import GLB, ScriptedHouse

STAGES = ("find_face", "fit_head", "bake_texture")
KEY = "fw_" + "k" * 43
QUICK = RetryPolicy(attempts=3, first_pause_s=0.01, longest_pause_s=0.02)

Use = Callable[[Any], Any]


def asked(
    house: ScriptedHouse, question: Callable[[str], Any], authenticate: Callable[..., Caller] | None = None
) -> Any:
    """What a blocking caller makes of the address of a door before the house."""

    async def scene() -> Any:
        known = authenticate or (lambda _headers, peer: Caller(peer))
        doorway: Any = Doorway(house, {"avatar_twin": AVATAR_TWIN}, known)  # type: ignore[arg-type]
        door = GrpcDoor(doorway)
        port = door.listen("127.0.0.1:0")
        await door.start()
        try:
            return await asyncio.to_thread(question, f"127.0.0.1:{port}")
        finally:
            await door.stop(0)

    return asyncio.run(scene())


def test_a_fault_ends_one_request_of_a_stream_and_says_nothing_of_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = ScriptedHouse()
    house.failures.append(ZeroDivisionError("a secret"))

    def requests(address: str) -> dict[str, str]:
        with grpc.insecure_channel(address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            asked = []
            for identity in ("first", "second"):
                request = service_pb2.ModelInferRequest(model_name="avatar_twin", id=identity)
                request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, 5])
                request.outputs.add(name="GLB")
                request.raw_input_contents.append(b"photo")
                asked.append(request)
            answers = stub.ModelStreamInfer(iter(asked), timeout=60)
            return {answer.infer_response.id: answer.error_message for answer in answers}

    told = asked(house, requests)
    assert told["second"] == ""
    assert '"INTERNAL"' in told["first"]
    assert "secret" not in told["first"] + caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_fault_of_one_call_says_nothing_of_itself() -> None:
    house = ScriptedHouse()
    house.failures.append(ZeroDivisionError("a secret"))

    def question(address: str) -> Any:
        with grpc.insecure_channel(address) as channel:
            request = service_pb2.ModelInferRequest(model_name="avatar_twin")
            request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, 5])
            request.raw_input_contents.append(b"photo")
            with pytest.raises(grpc.RpcError) as failed:
                service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)
            return failed.value

    told = asked(house, question)
    assert told.code() is grpc.StatusCode.INTERNAL
    assert '"INTERNAL"' in told.details()
    assert "secret" not in told.details()


@pytest.fixture(params=[False, True], ids=["Client", "AsyncClient"])
def uses(request: pytest.FixtureRequest) -> Callable[[Use, Connection], Callable[[str], Any]]:
    """Each client in turn, as a question for `asked`."""

    def question(use: Use, connection: Connection) -> Callable[[str], Any]:
        def blocking(address: str) -> Any:
            with Client(address, connection) as client:
                return use(client)

        def asynchronous(address: str) -> Any:
            async def call() -> Any:
                async with AsyncClient(address, connection) as client:
                    return await use(client)

            return asyncio.run(call())

        return asynchronous if request.param else blocking

    return question


def test_stages_are_told_before_the_avatar(uses: Any) -> None:
    house, told = ScriptedHouse(), []
    house.stages = STAGES
    avatar = asked(house, uses(lambda client: client.create(b"photo", progress=told.append), Connection()))
    assert avatar.glb == GLB
    assert tuple(told) == STAGES
    (request,) = house.requests
    assert request.parameters[PROGRESS_PARAMETER].bool_param


def test_who_does_not_ask_is_told_nothing() -> None:
    house = ScriptedHouse()
    house.stages = STAGES

    def stream(address: str) -> list[Any]:
        request = service_pb2.ModelInferRequest(
            model_name="avatar_twin", id="mine", raw_input_contents=[b"p"]
        )
        request.inputs.add(name="PHOTO", datatype="UINT8", shape=[1, 1])
        request.outputs.add(name="GLB")
        with grpc.insecure_channel(address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            return [answer.infer_response for answer in stub.ModelStreamInfer(iter([request]), timeout=20)]

    (answer,) = asked(house, stream)
    assert answer.id == "mine"
    assert answer.raw_output_contents == [GLB]
    assert answer.parameters["triton_final_response"].bool_param
    assert STAGE_PARAMETER not in answer.parameters


def test_a_stream_that_fails_is_sent_again(uses: Any) -> None:
    house, told = ScriptedHouse(), []
    house.stages = STAGES
    busy = FacewrightError(ErrorCode.OVERLOADED, "full", "later", retry_after_s=0.01)
    house.failures = [busy, busy]
    avatar = asked(house, uses(lambda c: c.create(b"photo", progress=told.append), Connection(retries=QUICK)))
    assert avatar.glb == GLB
    assert tuple(told) == STAGES * 3


@pytest.mark.parametrize(
    ("code", "error"), [(ErrorCode.NO_FACE, NoFaceError), (ErrorCode.OVERLOADED, OverloadedError)]
)
def test_what_ends_a_stream_is_told_as_ever(uses: Any, code: ErrorCode, error: type[Exception]) -> None:
    house = ScriptedHouse()
    house.failures = [FacewrightError(code, "m", "h")] * 9
    with pytest.raises(error, match=r"m \(h\)"):
        asked(
            house, uses(lambda c: c.create(b"photo", progress=lambda _stage: None), Connection(retries=QUICK))
        )
    assert len(house.calls) == (3 if code is ErrorCode.OVERLOADED else 1)


class _EnoughError(Exception):
    pass


def test_whoever_has_seen_enough_ends_the_request(uses: Any) -> None:
    house = ScriptedHouse()
    house.stages, house.held = STAGES, True

    def enough(stage: str) -> None:
        if stage == "fit_head":
            raise _EnoughError

    def question(address: str) -> None:
        with pytest.raises(_EnoughError):
            uses(lambda client: client.create(b"photo", progress=enough), Connection())(address)
        assert house.cancelled.wait(20)

    asked(house, question)


def test_the_door_knows_until_when_a_stream_is_waited_for(uses: Any) -> None:
    house = ScriptedHouse()
    asked(house, uses(lambda c: c.create(b"p", timeout_s=50, progress=lambda _stage: None), Connection()))
    (call,) = house.calls
    assert call.deadline is not None
    assert 0 < call.deadline - call.arrived < 50.1  # gRPC rounds what is left


def _known(headers: Any, _peer: str) -> Caller:
    if headers.get("authorization") != f"Bearer {KEY}":
        raise FacewrightError(ErrorCode.UNAUTHENTICATED, "nobody has this API key", "send Authorization")
    return Caller("me")


@pytest.mark.parametrize("options", [{}, {"progress": lambda _stage: None}], ids=["unary", "stream"])
def test_a_key_is_shown_with_every_call(uses: Any, options: dict[str, Any]) -> None:
    house = ScriptedHouse()
    question = uses(lambda client: client.create(b"photo", **options), Connection(key=KEY))
    assert asked(house, question, _known).glb == GLB
    assert [call.caller.name for call in house.calls] == ["me"]


@pytest.mark.parametrize("options", [{}, {"progress": lambda _stage: None}], ids=["unary", "stream"])
@pytest.mark.parametrize(
    ("key", "hint"), [(None, "give the key"), ("fw_wrong", "check the key")], ids=["none", "wrong"]
)
def test_who_has_no_key_is_told_once_where_it_is_given(
    uses: Any, options: dict[str, Any], key: str | None, hint: str
) -> None:
    """Also while its photo is still being sent, where grpc.aio forgets why."""
    house, photo = ScriptedHouse(), bytes(8_000_000)
    question = uses(lambda client: client.create(photo, **options), Connection(key=key, retries=QUICK))
    with pytest.raises(UnauthenticatedError, match=rf"nobody has this API key \({hint}.*--key-file") as told:
        asked(house, question, _known)
    assert key is None or key not in str(told.value)
    assert house.calls == []


def test_what_the_server_tells_of_itself_is_asked_with_the_key(uses: Any) -> None:
    """All of the client's questions come as far as the house, which here knows none of them."""
    seen: list[str] = []

    class Curious(ScriptedHouse):
        triton = None

        async def ask(self, method: str, _question: bytes, _timeout_s: float) -> bytes:
            seen.append(method)
            return b""

    def asks(client: Any) -> Any:
        if isinstance(client, AsyncClient):
            return asyncio.wait_for(_all(client), 20)
        client.ready()
        client.pipelines()
        return client.statistics()

    async def _all(client: AsyncClient) -> Any:
        await client.ready()
        await client.pipelines()
        return await client.statistics()

    asked(Curious(), uses(asks, Connection(key=KEY)), _known)
    assert seen == ["ModelReady", "ModelMetadata", "ModelStatistics"]


def test_a_call_may_be_told_of_stages_after_its_end() -> None:
    """A mark may be read when the answer is out."""
    house = ScriptedHouse()
    house.stages = STAGES
    avatar = asked(house, lambda address: _created(address))
    assert avatar.glb == GLB
    call: Call = house.calls[0]
    call.began("package_avatar")


def _created(address: str) -> Any:
    with Client(address) as client:
        return client.create(b"photo", progress=lambda _stage: None)
