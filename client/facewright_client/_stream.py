"""Requests that are answered several times, or told of on the way: KServe's ``ModelStreamInfer``."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import grpc.aio
from tritonclient.grpc._utils import get_error_grpc
from tritonclient.utils import InferenceServerException

from facewright_client._errors import TIME_HINT, DeadlineExceededError, InternalServerError
from facewright_client._request import Request
from facewright_client._wire import SHORT_S

_T = TypeVar("_T")
#: In place of the status and its details, whatever they were (``set_internal_error`` of grpc.aio 1.85).
_STATUS_LOST: Final = "Internal error from Core"


def stream(
    connection: Any,
    arguments: dict[str, Any],
    told: Callable[[Any], _T | None],
    request: Request,
) -> _T:
    """Send one request over a connection of its own; ``told`` is called in this thread for every answer.

    The server stops where ``told`` raises.

    Args:
        connection: tritonclient's; one stream at a time.
        arguments: of its ``async_stream_infer``.
        told: what an answer brings: the result, or None where it is not the last.
        request: its time.

    Raises:
        InferenceServerException: the server refused or failed.
        DeadlineExceededError: the time is over.
    """
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    running = True
    connection.start_stream(lambda result, error: answers.put((result, error)), stream_timeout=request.left_s)
    try:
        try:
            connection.async_stream_infer(**arguments)
        except InferenceServerException as failure:
            answers.put((None, failure))  # after what broke the stream, where something has
        while True:
            try:
                result, error = answers.get(timeout=request.left_s)
            except queue.Empty:
                raise _out_of_time() from None
            if error is not None:
                running = False
                raise error
            last = _last(result, told)
            if last is not None:
                running = False
                return last
    finally:
        # Triton 2.51 counts a request that failed before its stream was cancelled as in flight for ever, and
        # then does not stop in time.
        connection.stop_stream(cancel_requests=running)


async def stream_async(
    connection: Any,
    arguments: dict[str, Any],
    told: Callable[[Any], _T | None],
    request: Request,
) -> _T:
    """As `stream`, for asyncio; a connection has as many streams as one likes.

    Nothing more is sent after the request, so that the stream ends with the last answer.
    """

    async def sent() -> AsyncIterator[dict[str, Any]]:
        yield arguments

    answers = connection.stream_infer(sent(), stream_timeout=request.left_s)
    running = True
    try:
        while True:
            try:
                result, error = await asyncio.wait_for(anext(answers), request.left_s)
            except TimeoutError:
                raise _out_of_time() from None
            except StopAsyncIteration:
                raise _ended() from None
            except grpc.aio.AioRpcError as failure:
                running = False
                if failure.details() == _STATUS_LOST:
                    raise await _found_again(connection, request) from None
                raise get_error_grpc(failure) from None
            if error is not None:
                running = False
                raise error
            last = _last(result, told)
            if last is not None:
                running = False
                return last
    finally:
        if running:  # or else: see `stream`
            answers.cancel()
        else:
            await _rest_of(answers)


async def _found_again(connection: Any, request: Request) -> InferenceServerException:
    """Why a stream was ended while its request was sent, which grpc.aio forgets: what is refused before it is
    read, such as a key, is refused to a question, too.

    Raises:
        InferenceServerException: that refusal.
    """
    await connection.is_server_ready(client_timeout=min(request.left_s, SHORT_S))
    return InferenceServerException("the server ended the stream as the request was sent", "UNAVAILABLE")


async def _rest_of(answers: Any) -> None:
    """Let a stream end by itself."""
    with suppress(StopAsyncIteration, grpc.RpcError):
        while True:
            await anext(answers)


def _last(result: Any, told: Callable[[Any], _T | None]) -> _T | None:
    """The result, where this answer has it.

    Raises:
        InternalServerError: it has not, and is the last.
    """
    last = told(result)
    if last is None and result.get_response().parameters["triton_final_response"].bool_param:
        raise _ended()
    return last


def _ended() -> InternalServerError:
    """A stream ended too early."""
    return InternalServerError("the stream ended without a result", "the server's log has the details")


def _out_of_time() -> DeadlineExceededError:
    return DeadlineExceededError("no answer within the time allowed", TIME_HINT)
