"""A gRPC server that speaks Triton's protocol and answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from facewright_client import contract
from tests.support.scripted_answers import ITERATIONS, add_output, avatar_of, refinement_of

_INFO = json.dumps(
    {
        "iterations": ITERATIONS,
        "ended": "iterations",
        "first_loss": 1.0,
        "best_loss": 0.5,
        "ms_per_iteration": 1.0,
    }
).encode()


def wire_error(code: str) -> str:
    """A stage's failure as an ensemble passes it on."""
    fields = {"code": code, "stage": "find_face", "message": "m", "hint": "h"}
    return f"in ensemble 'avatar_twin', {json.dumps(fields)}"


class Scripted(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Answers requests with the given failures one after the other, then with an avatar of zeros; for each
    None among them with an avatar, too.
    """

    def __init__(self) -> None:
        self.contents = {"GLB": b"glTF\x02", "REPORT": b'{"warnings": ["blurred"]}', "PREVIEW": b"\x89PNG"}
        self.failures: list[Any] = []  # status and message
        self.refinement_info = _INFO
        self.requests: list[service_pb2.ModelInferRequest] = []
        self.stages: tuple[str, ...] = ()  # that begin before an avatar that is streamed
        self.key: str | None = None  # without which nothing is answered
        self.arrived = threading.Event()
        self.release = threading.Event()
        self.release.set()
        self.cancelled = threading.Event()

    def ModelInfer(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        """An avatar or a refinement, unless a failure is due; held back until `release`."""
        self._require_key(context)
        self.requests.append(request)
        # gRPC calls this when the call ends: held back, it can only end from the other side.
        context.add_callback(lambda: self.release.is_set() or self.cancelled.set())
        self.arrived.set()
        self.release.wait()
        if failure := self._due():
            context.abort(*failure)
        if request.model_name == "refine_latent":
            return refinement_of(request, self.refinement_info)
        return avatar_of(request, self.contents)

    def ModelStreamInfer(self, requests, context):  # type: ignore[no-untyped-def]  # noqa: N802
        """Iterations and the result, or stages and an avatar, unless a failure is due; held back until
        `release`.
        """
        self._require_key(context)
        context.add_callback(lambda: self.release.is_set() or self.cancelled.set())
        request = next(requests)
        self.requests.append(request)
        self.arrived.set()
        if failure := self._due():
            yield service_pb2.ModelStreamInferResponse(error_message=failure[1])
            return
        if not request.model_name.startswith("refine_"):
            for stage in self.stages:
                told = service_pb2.ModelInferResponse()
                told.parameters[contract.STAGE_PARAMETER].string_param = stage
                yield service_pb2.ModelStreamInferResponse(infer_response=told)
            avatar = avatar_of(request, self.contents)
            yield service_pb2.ModelStreamInferResponse(infer_response=avatar)
            return
        for iteration in range(1, ITERATIONS + 1):
            state = {"iteration": iteration, "iterations": ITERATIONS, "losses": {"total": 1.0 / iteration}}
            told = service_pb2.ModelInferResponse(model_name=request.model_name)
            add_output(told, contract.REFINEMENT_PROGRESS, json.dumps(state).encode())
            yield service_pb2.ModelStreamInferResponse(infer_response=told)
            self.release.wait()
        last = refinement_of(request, self.refinement_info)
        last.parameters["triton_final_response"].bool_param = True
        yield service_pb2.ModelStreamInferResponse(infer_response=last)

    def ModelReady(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        """Whether it is the one pipeline."""
        self._require_key(context)
        return service_pb2.ModelReadyResponse(ready=request.name == "avatar_twin")

    def ModelStatistics(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        """A pipeline and a stage."""
        self._require_key(context)
        names = ("avatar_twin", "find_face")
        return service_pb2.ModelStatisticsResponse(
            model_stats=[service_pb2.ModelStatistics(name=name) for name in names]
        )

    def RepositoryIndex(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        """Two pipelines, of which one makes an avatar."""
        names = ("avatar_twin", "refine_latent")
        index = service_pb2.RepositoryIndexResponse()
        for name in names:
            index.models.add(name=name)
        return index

    def ModelMetadata(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        """All take a photo; one pipeline gives an avatar."""
        answer = service_pb2.ModelMetadataResponse(name=request.name)
        answer.inputs.add(name="PHOTO")
        answer.outputs.add(name="GLB" if request.name == "avatar_twin" else "FACE_CROP")
        return answer

    def _due(self) -> tuple[grpc.StatusCode, str] | None:
        return self.failures.pop(0) if self.failures else None

    def _require_key(self, context: grpc.ServicerContext) -> None:
        shown = dict(context.invocation_metadata()).get("authorization")
        if self.key is not None and shown != f"Bearer {self.key}":
            fields = {"code": "UNAUTHENTICATED", "stage": "gateway", "message": "no such key", "hint": "h"}
            context.abort(grpc.StatusCode.UNAUTHENTICATED, json.dumps(fields))


@contextmanager
def scripted_server(
    credentials: grpc.ServerCredentials | None = None,
) -> Iterator[tuple[Scripted, str]]:
    """The server's script and its address."""
    servicer = Scripted()
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield servicer, f"127.0.0.1:{port}"
    finally:
        servicer.release.set()
        server.stop(0).wait()
