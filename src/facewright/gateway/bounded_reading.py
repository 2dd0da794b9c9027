"""What the gRPC door holds of messages before it knows them, and of answers that nobody reads.

A message counts for its stream only when it is whole: of one connection's hundred streams each may have sent
all but the last byte of 33 MiB, and leave it at that (tests/gateway/test_attacks.py does).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from facewright.core.errors import FacewrightError
from facewright.gateway.addresses import grpc_peer_name
from facewright.gateway.photo_budget import PhotoBudget
from facewright.gateway.reading_turns import ReadingTurns
from facewright.gateway.statuses import STATUS
from facewright_client.contract import ErrorCode

#: Messages that are read at a time beside those for avatars: whoever asks after the server's health waits for
#: nobody's photo.
_QUESTIONS_AT_ONCE: Final = 4
#: Streams that are open at a time, each of which may have sent a part of its next message.
_STREAMS_AT_ONCE: Final = 16
#: A message that does not arrive in as long is given up, and so is waiting to be read.
_ARRIVES_WITHIN_S: Final = 30.0
_STREAM_WAITS_S: Final = 2.0
#: Answers that wait to be read. What was written cannot be taken back: it stays until its caller reads it or
#: goes.
_UNREAD_BYTES: Final = 256 * 2**20
_COME_BACK_S: Final = 5.0
#: A caller that leaves sends nothing, first; then its call is cancelled.
_NOTICED_S: Final = 0.1


class BoundedReading(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # of an untyped package
    """Has every method of a server read in turns, whoever has written it: grpcio's own servants of health and
    reflection read what is sent to them before they look at it.

    Args:
        at_once: messages for avatars that are read at a time; it holds so many of the largest at most.
    """

    def __init__(self, at_once: int) -> None:
        self._messages = ReadingTurns(at_once, _ARRIVES_WITHIN_S, _ARRIVES_WITHIN_S)
        self._questions = ReadingTurns(_QUESTIONS_AT_ONCE, _ARRIVES_WITHIN_S, _ARRIVES_WITHIN_S)
        self._streams = ReadingTurns(_STREAMS_AT_ONCE, _STREAM_WAITS_S)
        self._unread = PhotoBudget(_UNREAD_BYTES)
        self._bounded: dict[str, grpc.RpcMethodHandler] = {}  # by method

    async def photo(self, context: Any, caller: str) -> Any:
        """The one message of a call for an avatar.

        Raises:
            FacewrightError: OVERLOADED, DEADLINE_EXCEEDED, BAD_REQUEST: it does not come.
        """
        return await _first(context, caller, self._messages)

    async def question(self, context: Any, caller: str) -> Any:
        """The one message of any other call; raises as `photo`."""
        return await _first(context, caller, self._questions)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler | None:
        """gRPC's entry point."""
        handler = await continuation(details)
        if handler is None:
            return None
        bounded = self._bounded.get(details.method)
        if bounded is None:
            bounded = self._bounded[details.method] = self._handler(handler)
        return bounded

    def _handler(self, handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
        """A method that reads in turns, as one whose requests are a stream: of any other, gRPC itself reads
        the message before anybody is asked. On the line they look alike.
        """

        async def one(requests: AsyncIterator[Any], context: Any) -> Any:
            caller = grpc_peer_name(context.peer())
            try:
                if handler.request_streaming:  # a photo; these read by themselves
                    self._check_unread(caller)
                    answer = await handler.stream_unary(requests, context)
                else:
                    answer = await handler.unary_unary(await self.question(context, caller), context)
            except FacewrightError as error:
                await refuse(context, error)
            self._hold_until_read(answer, context, caller)
            return answer

        async def many(requests: AsyncIterator[Any], context: Any) -> None:
            caller = grpc_peer_name(context.peer())
            try:
                if handler.request_streaming:
                    self._check_unread(caller)
                    async with self._streams.turn(caller):
                        await _write_all(handler.stream_stream(requests, context), context)
                else:
                    request = await self.question(context, caller)
                    await _write_all(handler.unary_stream(request, context), context)
            except FacewrightError as error:
                await refuse(context, error)

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(
                many, handler.request_deserializer, handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            one, handler.request_deserializer, handler.response_serializer
        )

    @contextmanager
    def unread(self, answer: bytes, caller: str) -> Iterator[None]:
        """For as long as one of a stream's answers waits for its caller.

        Raises:
            FacewrightError: OVERLOADED: others wait for it already, and this one is not kept.
        """
        self._check_unread(caller)
        self._unread.take(caller, len(answer))
        try:
            yield
        finally:
            self._unread.take(caller, -len(answer))

    def _check_unread(self, caller: str) -> None:
        if not self._unread.has_room(caller, 1):
            raise FacewrightError(
                ErrorCode.OVERLOADED,
                "earlier answers to this caller were not read",
                "read them, or cancel those calls",
                retry_after_s=_COME_BACK_S,
            )

    def _hold_until_read(self, answer: Any, context: Any, caller: str) -> None:
        """Count an answer until its call has ended: until the caller has taken it, but for what its window
        lets through, or has gone.
        """
        size = len(answer) if isinstance(answer, bytes) else 0
        self._unread.take(caller, size)
        context.add_done_callback(lambda _: self._unread.take(caller, -size))


async def _write_all(answers: Any, context: Any) -> None:
    """What a servant yields, or writes itself."""
    if isinstance(answers, AsyncIterator):
        async for answer in answers:
            await context.write(answer)
    else:
        await answers


async def refuse(context: Any, error: FacewrightError) -> NoReturn:
    """End a call with an error's wire form; when to come back is said as gRFC A6 has it, too."""
    trailing: tuple[tuple[str, str], ...] = ()
    if error.retry_after_s is not None:
        trailing = (("grpc-retry-pushback-ms", str(round(error.retry_after_s * 1e3))),)
    error.stage = error.stage or "gateway"
    await context.abort(STATUS[error.code].grpc, error.to_json(), trailing)
    raise error  # never: abort does


async def _first(context: Any, caller: str, turns: ReadingTurns) -> Any:
    async with turns.turn(caller):
        request = await context.read()
    if request is not grpc.aio.EOF:
        return request
    await asyncio.sleep(_NOTICED_S)
    raise FacewrightError(ErrorCode.BAD_REQUEST, "the call has no request", "send one")
