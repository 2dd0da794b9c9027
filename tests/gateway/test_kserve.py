"""The gRPC door as strangers' clients meet it: over real sockets, with a scripted Triton behind."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as tritonclient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from facewright.core.errors import FacewrightError
from facewright.gateway.admission import Admission, AdmissionSettings
from facewright.gateway.call import Caller
from facewright.gateway.callers import Callers
from facewright.gateway.house import TritonHouse
from facewright.gateway.kserve import LARGEST_REQUEST, Doorway, GrpcDoor
from facewright.gateway.marks import Marks
from facewright.gateway.triton import SERVICE, Triton
from facewright.pipelines.refinement import REFINEMENT
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import ErrorCode
from tests.support.triton_behind import Answer, RefusedError, TritonBehind, glb_of


def asked(
    folder: Path,
    question: Callable[[str], Any],
    answer: Answer = glb_of,
    authenticate: Callable[..., Caller] | None = None,
) -> tuple[Any, TritonBehind]:
    """What a blocking client gets that is given the door's address, and the Triton behind it."""

    async def scene() -> tuple[Any, TritonBehind]:
        expected_s = {row.name: 0.1 for row in (AVATAR_TWIN, *REFINEMENT)}
        house = TritonHouse(Admission(AdmissionSettings(), expected_s), Callers(), Marks())
        known = authenticate or (lambda _headers, peer: Caller(peer))
        door = GrpcDoor(Doorway(house, {row.name: row for row in (AVATAR_TWIN, *REFINEMENT)}, known))
        port = door.listen("127.0.0.1:0")
        async with TritonBehind(folder / "triton", answer) as triton:
            house.use(Triton(triton.socket))
            await door.start()
            await door.say_ready(True)
            try:
                return await asyncio.to_thread(question, f"127.0.0.1:{port}"), triton
            finally:
                await door.stop(0)

    return asyncio.run(scene())


def inferred(
    address: str, photo: bytes = b"a photo", model: str = "avatar_twin", **more: Any
) -> tuple[bytes, Any]:
    """As NVIDIA's client asks."""
    with tritonclient.InferenceServerClient(address) as client:
        tensor = tritonclient.InferInput("PHOTO", [1, len(photo)], "UINT8")
        tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
        result = client.infer(model, [tensor], **more)
        return bytes(result.as_numpy("GLB")[0]), result.get_response()


def request_of(pipeline: str, identity: str = "") -> Any:
    """A request with all that the pipeline takes; the pipeline need not be known."""
    request = service_pb2.ModelInferRequest(model_name=pipeline, id=identity)
    rows = {row.name: row for row in (AVATAR_TWIN, *REFINEMENT)}
    for tensor in rows[pipeline].takes if pipeline in rows else ():
        shape = [1, *(abs(size) for size in tensor.shape)]
        kind = tensor.dtype.removeprefix("TYPE_")
        request.inputs.add(name=tensor.name, datatype=kind, shape=shape)
        request.raw_input_contents.append(bytes(math.prod(shape) * (4 if kind == "FP32" else 1)))
    return request


def raw(address: str, method: str, message: bytes, **more: Any) -> bytes:
    """Bytes that need not be a message."""
    with grpc.insecure_channel(address) as channel:
        answer: bytes = channel.unary_unary(f"/{SERVICE}/{method}")(message, timeout=20, **more)
        return answer


def refusal(question: Callable[[], object]) -> tuple[grpc.StatusCode, dict[str, str]]:
    """The status and the wire form that a call ends with."""
    with pytest.raises(grpc.RpcError) as failed:
        question()
    error: Any = failed.value
    return error.code(), json.loads(error.details())


def test_a_strangers_client_is_answered(tmp_path: Path) -> None:
    """With its own request id, which Triton need not be given."""
    (glb, response), triton = asked(tmp_path, lambda door: inferred(door, request_id="mine", priority=3))
    assert glb == b"a photo"
    assert response.id == "mine"
    (seen,) = triton.seen
    assert seen.id not in ("", "mine")
    assert seen.parameters["priority"].uint64_param == 3


def test_triton_s_own_timeout_ends_a_request(tmp_path: Path) -> None:
    """Microseconds, which Triton itself would pass over; the caller's own connection waits for ever."""

    async def never(_request: Any) -> Any:
        await asyncio.Event().wait()

    def failure(door: str) -> Any:
        with pytest.raises(InferenceServerException) as failed:
            inferred(door, timeout=400_000)
        return failed.value

    told, triton = asked(tmp_path, failure, never)
    assert told.status() == "StatusCode.DEADLINE_EXCEEDED"
    assert len(triton.seen) == triton.cancelled == 1


def test_what_a_stage_refuses_is_told_in_one_form(tmp_path: Path) -> None:
    form = {"code": "NO_FACE", "stage": "find_face", "message": "m", "hint": "h"}

    async def refuses(_request: Any) -> Any:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"in ensemble 'avatar_twin', {json.dumps(form)}")

    request = request_of("avatar_twin")
    told, _ = asked(
        tmp_path, lambda door: refusal(lambda: raw(door, "ModelInfer", request.SerializeToString())), refuses
    )
    assert told == (grpc.StatusCode.INVALID_ARGUMENT, form)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\xff" * 40, "this is no ModelInferRequest"),
        (b"", "'' is not served"),
        (
            service_pb2.ModelInferRequest(model_name="fit_head").SerializeToString(),
            "'fit_head' is not served",
        ),
        (
            service_pb2.ModelInferRequest(
                model_name="avatar_twin",
                inputs=[
                    service_pb2.ModelInferRequest.InferInputTensor(
                        name="PHOTO",
                        parameters={
                            "shared_memory_region": service_pb2.InferParameter(string_param="triton_shm")
                        },
                    )
                ],
            ).SerializeToString(),
            "shared memory",
        ),
        (
            service_pb2.ModelInferRequest(model_name="refine_latent").SerializeToString(),
            "refine_latent takes FACE_CROP, FACE_MASK, INTRINSICS",
        ),
        (
            service_pb2.ModelInferRequest(
                model_name="avatar_twin",
                parameters={"progress": service_pb2.InferParameter(bool_param=True)},
            ).SerializeToString(),
            "progress is told on streams",
        ),
    ],
)
def test_what_is_not_for_the_public_never_reaches_triton(tmp_path: Path, message: bytes, words: str) -> None:
    (status, form), triton = asked(tmp_path, lambda door: refusal(lambda: raw(door, "ModelInfer", message)))
    assert status is grpc.StatusCode.INVALID_ARGUMENT
    assert form["code"] == ErrorCode.BAD_REQUEST
    assert words in form["message"]
    assert triton.seen == []


@pytest.mark.parametrize("method", ["ServerMetadata", "ModelStatistics", "ModelMetadata"])
@pytest.mark.parametrize(
    ("question", "words"), [(b"\xff" * 40, "this is no "), (b"\x0a\x88\x27" + b"a" * 5000, "has 5003 bytes")]
)
def test_a_question_about_the_server_is_one(tmp_path: Path, method: str, question: bytes, words: str) -> None:
    (status, form), triton = asked(tmp_path, lambda door: refusal(lambda: raw(door, method, question)))
    assert (status, form["code"]) == (grpc.StatusCode.INVALID_ARGUMENT, ErrorCode.BAD_REQUEST)
    assert words in form["message"]
    assert triton.seen == []


@pytest.mark.parametrize(
    "method",
    [
        "SystemSharedMemoryRegister",
        "CudaSharedMemoryRegister",
        "RepositoryModelUnload",
        "RepositoryModelLoad",
        "TraceSetting",
        "LogSettings",
    ],
)
def test_what_changes_a_server_has_no_door(tmp_path: Path, method: str) -> None:
    def tries(door: str) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as failed:
            raw(door, method, b"")
        error: Any = failed.value
        status: grpc.StatusCode = error.code()
        return status

    assert asked(tmp_path, tries)[0] is grpc.StatusCode.UNIMPLEMENTED


def test_what_is_too_large_or_packed_is_refused_unread(tmp_path: Path) -> None:
    def tries(door: str) -> list[grpc.StatusCode]:
        statuses = []
        for message, more in (
            (b"\0" * (LARGEST_REQUEST + 1), {}),
            (b"\0" * 4_000_000, {"compression": grpc.Compression.Gzip}),
        ):
            with pytest.raises(grpc.RpcError) as failed:
                raw(door, "ModelInfer", message, **more)
            error: Any = failed.value
            statuses.append(error.code())
        assert inferred(door)[0] == b"a photo"
        return statuses

    statuses, triton = asked(tmp_path, tries)
    assert statuses == [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNIMPLEMENTED]
    assert len(triton.seen) == 1


def test_who_may_not_enter_is_told_before_its_photo_is_read(tmp_path: Path) -> None:
    def known(headers: Any, _peer: str) -> Caller:
        if headers.get("authorization") != "Bearer of news":
            raise FacewrightError(ErrorCode.UNAUTHENTICATED, "there is no such key", "ask for one")
        return Caller("news")

    def tries(door: str) -> grpc.StatusCode:
        status, form = refusal(lambda: raw(door, "ModelInfer", b""))
        assert form["code"] == ErrorCode.UNAUTHENTICATED
        assert inferred(door, headers={"authorization": "Bearer of news"})[0] == b"a photo"
        return status

    assert asked(tmp_path, tries, authenticate=known)[0] is grpc.StatusCode.UNAUTHENTICATED


def test_it_is_found_out_what_can_be_asked(tmp_path: Path) -> None:
    def explores(door: str) -> tuple[list[str], list[int], list[str], bool]:
        with grpc.insecure_channel(door) as channel:
            reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            )
            services = [row.name for row in next(reflected).list_services_response.service]
            health = health_pb2_grpc.HealthStub(channel)
            states = [
                health.Check(health_pb2.HealthCheckRequest(service=name)).status
                for name in ("", "avatar_twin")
            ]
            kserve = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            index = kserve.RepositoryIndex(service_pb2.RepositoryIndexRequest())
            metadata = kserve.ModelMetadata(service_pb2.ModelMetadataRequest(name="avatar_twin"))
            live = kserve.ServerLive(service_pb2.ServerLiveRequest()).live
            ready = kserve.ServerReady(service_pb2.ServerReadyRequest()).ready
            with pytest.raises(grpc.RpcError, match="not served"):
                kserve.ModelMetadata(service_pb2.ModelMetadataRequest(name="fit_head"))
        return services, states, [*(row.name for row in index.models), metadata.name], live and ready

    (services, states, names, ready), _ = asked(tmp_path, explores)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(services)
    assert states == [health_pb2.HealthCheckResponse.SERVING] * 2
    assert names == ["avatar_twin", "refine_latent", "refine_latent_progress", "avatar_twin"]
    assert ready


def streamed(door: str, *requests: Any) -> list[Any]:
    """All that a stream answers."""
    with grpc.insecure_channel(door) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return list(stub.ModelStreamInfer(iter(requests), timeout=20))


def test_a_stream_answers_each_request_with_its_id(tmp_path: Path) -> None:
    """A pipeline that streams, one that does not, and one that is refused between them."""

    def streams(door: str) -> dict[str, list[str]]:
        asked = [("first", "refine_latent_progress"), ("wrong", "fit_head"), ("second", "avatar_twin")]
        told: dict[str, list[str]] = {}
        for answer in streamed(
            door,
            *(request_of(model, name) for name, model in asked),
        ):
            response = answer.infer_response
            final = response.parameters["triton_final_response"].bool_param
            code = json.loads(answer.error_message)["code"] if answer.error_message else ""
            told.setdefault(response.id, []).append(code or ("final" if final else "more"))
        return told

    told, _ = asked(tmp_path, streams)
    assert told == {"first": ["more", "more", "final"], "wrong": ["BAD_REQUEST"], "second": ["final"]}


def test_a_client_that_goes_away_ends_its_request(tmp_path: Path) -> None:
    at_work, ended = threading.Event(), threading.Event()

    async def never(_request: Any) -> Any:
        at_work.set()
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    def leaves(door: str) -> str:
        for allowed_s in (0.2, 1.0, 5.0, 25.0):  # until one comes as far as Triton
            with pytest.raises(InferenceServerException) as late:
                inferred(door, client_timeout=allowed_s)
            if at_work.is_set():
                break
        assert ended.wait(60)
        return str(late.value.status())

    status, triton = asked(tmp_path, leaves, never)
    assert status == "StatusCode.DEADLINE_EXCEEDED"
    assert triton.cancelled == len(triton.seen) == 1
