"""A request that was sent and not yet answered."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from facewright_client import _wire
from facewright_client._avatar import Avatar
from facewright_client._errors import error_from_answer


class PendingAvatar:
    """What `Client.submit` returns.

    Args:
        preview: whether a preview was asked for.
        ended: called with the outcome, "ok" or an error code, before `result` returns.
    """

    def __init__(self, preview: bool, ended: Callable[[str], None]) -> None:
        self._preview = preview
        self._ended = ended
        self._future: Future[Avatar] = Future()
        self._call: Any = None

    def sent(self, call: Any) -> None:
        """Keep the call, for `cancel`."""
        self._call = call

    def answered(self, result: Any, error: Any) -> None:
        """tritonclient's callback."""
        try:
            if error is not None:
                failed = error_from_answer(str(error.status()), str(error.message()))
                self._ended(str(failed.code))
                raise failed
            avatar = _wire.avatar_from(result, self._preview)
            self._ended("ok")
            self._future.set_result(avatar)
        except Exception as failure:
            self._future.set_exception(failure)

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
        self._call.cancel()
