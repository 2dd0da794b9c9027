"""Requests that were sent and not yet answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from facewright_client import _wire
from facewright_client._avatar import Avatar
from facewright_client._errors import CancelledError, FacewrightClientError
from facewright_client._request import Request
from facewright_client._wire import Answer

_CANCELLED = "the request was cancelled"


class PendingAvatar:
    """What `Client.submit` returns.

    Args:
        request: counts how it ends, before `result` returns.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._future: Future[Avatar] = Future()
        self._stop: Callable[[], object] = lambda: None

    def sent(self, stop: Callable[[], object]) -> None:
        """Keep what stops the server's work, for `cancel`."""
        self._stop = stop

    def answered(self, answer: Answer | None, error: FacewrightClientError | None) -> None:
        """The transport's callback."""
        try:
            with self._request:
                if error is not None:
                    raise error
                avatar = _wire.avatar_from(answer or {})
        except Exception as failure:
            self._future.set_exception(failure)
        else:
            self._future.set_result(avatar)

    def done(self) -> bool:
        """Whether `result` returns or raises at once."""
        return self._future.done()

    def result(self, timeout_s: float | None = None) -> Avatar:
        """Wait for the avatar.

        Raises:
            FacewrightClientError: the request failed or was cancelled.
            TimeoutError: no answer within ``timeout_s``; the request goes on.
        """
        return self._future.result(timeout_s)

    def cancel(self) -> None:
        """Tell the server to stop; `result` then raises CancelledError, unless the answer was faster."""
        self._stop()


class AsyncPendingAvatar:
    """What `AsyncClient.submit` returns.

    Args:
        task: waits for the answer.
        request: counts how it ends, before `result` returns.
    """

    def __init__(self, task: asyncio.Task[Avatar], request: Request) -> None:
        self._task = task
        self._request = request
        # Not in the task, which may be cancelled before its first step.
        task.add_done_callback(self._ended)

    def done(self) -> bool:
        """Whether `result` returns or raises at once."""
        return self._task.done()

    async def result(self, timeout_s: float | None = None) -> Avatar:
        """As `PendingAvatar.result`; cancelling the task that waits here leaves the request alone."""
        await asyncio.wait([self._task], timeout=timeout_s)
        if not self._task.done():
            raise TimeoutError
        if self._task.cancelled():
            raise CancelledError(_CANCELLED)
        return self._task.result()

    def cancel(self) -> None:
        """Tell the server to stop; `result` then raises CancelledError, unless the answer was faster."""
        self._task.cancel()

    def _ended(self, task: asyncio.Task[Avatar]) -> None:
        # Asked for the exception, asyncio does not tell of one that nobody else asked for.
        self._request.ended(asyncio.CancelledError() if task.cancelled() else task.exception())
