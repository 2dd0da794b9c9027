"""Questions over gRPC, as KServe's version 2 has them: tritonclient's two clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from facewright_client import _refinement, _stream, _wire, contract
from facewright_client._api_key import show_key
from facewright_client._connection import Connection
from facewright_client._errors import ClientClosedError, FacewrightClientError
from facewright_client._request import Request
from facewright_client._transport import Told
from facewright_client._wire import Answer, Question


class GrpcTransport:
    """tritonclient's client.

    Args:
        url: the server.
        connection: the client's settings.

    Raises:
        ValueError, OSError: as `Connection.triton_arguments`.
    """

    resumes = False

    def __init__(self, url: str, connection: Connection) -> None:
        self._url, self._connection = url, connection
        self._triton = self._open()
        self._closed = False

    def answer(self, question: Question, request: Request, told: Told | None) -> Answer:
        """As `Transport.answer`."""
        try:
            if told is not None:
                return self._stream(question, request, told)
            arguments = _arguments(question)
            return _Answer(self._triton.infer(client_timeout=request.left_s, **arguments))
        except InferenceServerException as failure:
            raise request.failed(failure) from None

    def submit(
        self,
        question: Question,
        request: Request,
        answered: Callable[[Answer | None, FacewrightClientError | None], None],
    ) -> Callable[[], object]:
        """As `Transport.submit`."""

        def called_back(result: Any, error: Any) -> None:
            failure = None if error is None else request.failed(error)
            answered(None if failure else _Answer(result), failure)

        call = self._triton.async_infer(
            callback=called_back, client_timeout=request.left_s, **_arguments(question)
        )
        cancel: Callable[[], object] = call.cancel
        return cancel

    def ready(self, pipeline: str) -> bool:
        """As `Transport.ready`."""
        try:
            return bool(self._triton.is_model_ready(pipeline, client_timeout=_wire.SHORT_S))
        except InferenceServerException:
            return False

    def pipelines(self) -> list[str]:
        """As `Transport.pipelines`."""
        names = _wire.models(self._ask("get_model_repository_index"))
        found = (self._ask("get_model_metadata", model_name=name) for name in names)
        return [str(metadata["name"]) for metadata in found if _wire.makes_avatars(metadata)]

    def statistics(self) -> dict[str, Any]:
        """As `Transport.statistics`."""
        return self._ask("get_inference_statistics")

    def close(self) -> None:
        """As `Transport.close`."""
        self._closed = True
        self._triton.close()

    def _stream(self, question: Question, request: Request, told: Told) -> Answer:
        if self._closed:  # meanwhile: between two sends
            raise ClientClosedError
        # tritonclient's have one stream at a time, and a client serves several threads. To the same address
        # gRPC opens no second connection for it.
        opened = self._open()
        try:
            arguments = _streamed(question)
            # Where a stream would go on without an end, the server is to say which answer is the last.
            arguments["enable_empty_final_response"] = question.final == contract.REFINED_W_PLUS
            return _stream.stream(opened, arguments, partial(_read, question, told), request)
        finally:
            opened.close()

    def _open(self) -> Any:
        opened = triton.InferenceServerClient(**self._connection.triton_arguments(self._url))
        return show_key(opened, self._connection.key)

    def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """What the server says about itself: not counted, not asked again."""
        try:
            answer: dict[str, Any] = getattr(self._triton, method)(
                as_json=True, client_timeout=_wire.SHORT_S, **arguments
            )
        except InferenceServerException as failure:
            raise Request(self._url, self._connection, method, _wire.SHORT_S).failed(failure) from None
        return answer


class AsyncGrpcTransport:
    """tritonclient's client for asyncio, opened at its first use in an event loop; as `GrpcTransport`."""

    resumes = False

    def __init__(self, url: str, connection: Connection) -> None:
        self._url, self._connection = url, connection
        self._arguments = connection.triton_arguments(url)
        self._opened: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def answer(self, question: Question, request: Request, told: Told | None) -> Answer:
        """As `AsyncTransport.answer`."""
        connection = self._triton
        try:
            if told is not None:
                read = partial(_read, question, told)
                return await _stream.stream_async(connection, _streamed(question), read, request)
            arguments = _arguments(question)
            return _Answer(await connection.infer(client_timeout=request.left_s, **arguments))
        except InferenceServerException as failure:
            raise await asyncio.to_thread(request.failed, failure) from None

    async def ready(self, pipeline: str) -> bool:
        """As `Transport.ready`."""
        try:
            return bool(await self._triton.is_model_ready(pipeline, client_timeout=_wire.SHORT_S))
        except InferenceServerException:
            return False

    async def pipelines(self) -> list[str]:
        """As `Transport.pipelines`."""
        names = _wire.models(await self._ask("get_model_repository_index"))
        found = [await self._ask("get_model_metadata", model_name=name) for name in names]
        return [str(metadata["name"]) for metadata in found if _wire.makes_avatars(metadata)]

    async def statistics(self) -> dict[str, Any]:
        """As `Transport.statistics`."""
        return await self._ask("get_inference_statistics")

    async def close(self) -> None:
        """As `Transport.close`."""
        if self._opened is not None and self._loop is asyncio.get_running_loop():
            await self._opened.close()

    @property
    def _triton(self) -> Any:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # gRPC binds a connection to the loop that it is opened in
            opened = triton_aio.InferenceServerClient(**self._arguments)
            self._opened = show_key(opened, self._connection.key)
            self._loop = loop
        return self._opened

    async def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """What the server says about itself: not counted, not asked again."""
        try:
            answer: dict[str, Any] = await getattr(self._triton, method)(
                as_json=True, client_timeout=_wire.SHORT_S, **arguments
            )
        except InferenceServerException as failure:
            request = Request(self._url, self._connection, method, _wire.SHORT_S)
            raise await asyncio.to_thread(request.failed, failure) from None
        return answer


class _Answer(Mapping[str, NDArray[Any]]):
    """tritonclient's result: each tensor by its name, without the batch dimension, read when asked for."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __getitem__(self, name: str) -> NDArray[Any]:
        if self._result.get_output(name) is None:
            raise KeyError(name)
        tensor: NDArray[Any] = self._result.as_numpy(name)[0]
        return tensor

    def __iter__(self) -> Iterator[str]:
        return (output.name for output in self._result.get_response().outputs)

    def __len__(self) -> int:
        return len(self._result.get_response().outputs)


def _arguments(question: Question) -> dict[str, Any]:
    """Those of tritonclient's ``infer`` and of its streams."""
    inputs = []
    for tensor, array in question.inputs:
        sent = triton.InferInput(tensor.name, [1, *array.shape], tensor.dtype.removeprefix("TYPE_"))
        sent.set_data_from_numpy(np.ascontiguousarray(array)[None])
        inputs.append(sent)
    outputs = [triton.InferRequestedOutput(tensor.name) for tensor in question.outputs]
    return {
        "model_name": question.pipeline,
        "inputs": inputs,
        "outputs": outputs or None,
        "parameters": dict(question.parameters) or None,
        "priority": question.priority,
    }


def _streamed(question: Question) -> dict[str, Any]:
    """The same, of which the server tells the stages as they begin, or its iterations by itself."""
    arguments = _arguments(question)
    if question.final != contract.REFINED_W_PLUS:
        arguments["parameters"] = {**(arguments["parameters"] or {}), contract.PROGRESS_PARAMETER: True}
    return arguments


def _read(question: Question, told: Told, result: Any) -> Answer | None:
    """What one answer of a stream brings: the last one whole, or a step for ``told``."""
    answer, parameters = _Answer(result), result.get_response().parameters
    if question.final.name in answer or (answer and contract.REFINEMENT_PROGRESS.name not in answer):
        return answer
    if contract.REFINEMENT_PROGRESS.name in answer:
        told(_refinement.progress_from(answer))
    elif contract.STAGE_PARAMETER in parameters:
        told(parameters[contract.STAGE_PARAMETER].string_param)
    return None
