"""One Triton behind the door: serialised requests in, serialised answers out, over a Unix socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from facewright.core.errors import FacewrightError
from facewright.gateway.call import Call
from facewright.gateway.message import answer_of
from facewright_client._errors import WrongServerError, error_from_answer
from facewright_client.contract import ErrorCode

SERVICE: Final = "inference.GRPCInferenceService"
_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # Within the house a lost connection is looked for again at once.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 200),
)
#: No time allowed is longer; of one of 10^5 years gRPC's clock says that it is over.
_LONGEST_S: Final = 86_400.0


class LostError(Exception):
    """A request ended with what worked on it: it was not refused and may be sent again."""

    @property
    def unhealthy(self) -> bool:
        """Whether Triton has found that a stage's process does not move, and the others live on."""
        return "is not healthy" in str(self)


class Triton:
    """Where one Triton listens. To be made and used on the event loop.

    Args:
        socket: path of its Unix socket.

    Attributes:
        calls: that it has in its hands.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.calls = 0
        self._closed = False
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", _OPTIONS)
        self._infer = self._channel.unary_unary(f"/{SERVICE}/ModelInfer")
        self._stream = self._channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")

    async def answer(self, call: Call) -> bytes:
        """A serialised ``ModelInferResponse``.

        Raises:
            FacewrightError: a stage's own; DEADLINE_EXCEEDED; BAD_REQUEST or INTERNAL with Triton's words.
            LostError: Triton or a stage ended meanwhile.
        """
        with self._failures():
            answer: bytes = await self._infer(call.request, timeout=_left(call))
        return answer

    async def answers(self, call: Call) -> AsyncIterator[bytes]:
        """Serialised ``ModelInferResponse``s of a pipeline that streams, until the final one.

        Raises: as `answer`.
        """

        async def once() -> AsyncIterator[bytes]:
            yield call.request

        answers = self._stream(once(), timeout=_left(call))
        try:
            with self._failures():
                async for streamed in answers:
                    answer, error = answer_of(streamed)
                    if error:
                        raise _failure("INVALID_ARGUMENT", error)
                    yield answer
        finally:
            answers.cancel()

    async def ask(self, method: str, question: bytes, timeout_s: float) -> bytes:
        """What Triton says about itself: one of KServe's unary methods, in bytes.

        Raises: as `answer`.
        """
        with self._failures():
            answer: bytes = await self._channel.unary_unary(f"/{SERVICE}/{method}")(
                question, timeout=timeout_s
            )
        return answer

    async def close(self) -> None:
        """Close the connection; what is in flight ends as lost."""
        self._closed = True
        await self._channel.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Around a call, which is counted: what gRPC raises, as `answer` says it."""
        self.calls += 1
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise _failure(error.code().name, error.details() or "") from None
        except asyncio.CancelledError:
            # So gRPC ends what is in flight on a channel that is closed, though its caller still waits.
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise LostError("its connection was closed") from None
            raise
        finally:
            self.calls -= 1


def _left(call: Call) -> float | None:
    if call.deadline is None:
        return None
    return min(max(call.deadline - time.monotonic(), 0.001), _LONGEST_S)


def _failure(status: str, message: str) -> Exception:
    """A failed call as what the caller is told, or as lost."""
    told: Any = error_from_answer(status, message)
    if told.code == ErrorCode.UNAVAILABLE and not told.stage:
        return LostError(message)
    if isinstance(told, WrongServerError):  # of another service than Triton: there is no method of that name
        return FacewrightError(ErrorCode.BAD_REQUEST, message, "use the methods of KServe v2")
    return FacewrightError(ErrorCode(told.code), told.message, told.hint, told.stage)
