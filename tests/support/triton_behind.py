"""A Triton behind the door, of which a test says what it answers: KServe over a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

Answer = Callable[[Any], Awaitable[Any]]


async def glb_of(request: Any) -> Any:
    """An answer with one output, GLB, that holds the photo's first bytes."""
    answer = service_pb2.ModelInferResponse(model_name=request.model_name, id=request.id)
    content = request.raw_input_contents[0][:16]
    answer.outputs.add(name="GLB", datatype="UINT8", shape=[1, len(content)])
    answer.raw_output_contents.append(content)
    return answer


class RefusedError(Exception):
    """What an answer raises to end with a status.

    Args:
        status: of gRPC.
        words: the details.
    """

    def __init__(self, status: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


class TritonBehind(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Listens while it is entered; leaving kills it, and whatever it has in its hands is lost.

    Args:
        socket: where it listens.
        answer: makes a ``ModelInferResponse`` of a ``ModelInferRequest``, or raises `RefusedError`.
    """

    def __init__(self, socket: Path, answer: Answer = glb_of) -> None:
        self.socket, self._answer = socket, answer
        self.seen: list[Any] = []
        self.cancelled = 0

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802  # of the protocol
        """KServe's."""
        self.seen.append(request)
        try:
            return await self._answer(request)
        except RefusedError as refusal:
            await context.abort(refusal.status, refusal.words)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[Any], _context: Any
    ) -> AsyncIterator[Any]:
        """KServe's: three answers for each request, the last one final."""
        async for request in requests:
            self.seen.append(request)
            for number in range(3):
                try:
                    answer = await self._answer(request)
                except RefusedError as refusal:
                    yield service_pb2.ModelStreamInferResponse(error_message=refusal.words)
                    break
                answer.parameters["triton_final_response"].bool_param = number == 2
                yield service_pb2.ModelStreamInferResponse(infer_response=answer)

    async def ModelMetadata(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """KServe's."""
        return service_pb2.ModelMetadataResponse(name=request.name, platform="ensemble")

    async def __aenter__(self) -> TritonBehind:
        self._server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._server.stop(None)
