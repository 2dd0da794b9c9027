"""A request from its first send to its end: what `Client` and `AsyncClient` have in common."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

from facewright_client._connection import Connection
from facewright_client._diagnosis import diagnosed
from facewright_client._errors import (
    CancelledError,
    DeadlineExceededError,
    FacewrightClientError,
    InternalServerError,
    ServerUnavailableError,
    UnauthenticatedError,
    WrongServerError,
    error_from_answer,
)

#: gRPC's words for a connection that did not come about.
_NO_CONNECTION: Final = re.compile(r"failed to connect|resol", re.IGNORECASE)
#: And for an address that is none, which no server has seen.
_NO_ADDRESS: Final = re.compile(
    r"target uri is not valid|status code from resolver|empty address list", re.IGNORECASE
)
#: What is left for the last send of a request, seconds.
_LAST_TRY_S: Final = 0.5
#: How whoever waits for an answer leaves.
_LEFT: Final = (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)


class Request:
    """The time that one request has, whether it is sent again, and what is counted of it.

    As a context manager it counts how the request ended: every block ends once, whatever is raised in it.

    Args:
        url: the server's address.
        connection: the client's settings.
        pipeline: what is asked.
        timeout_s: longest time, retries included; the connection's by default.

    Raises:
        ValueError: a time limit that is none.
    """

    def __init__(
        self, url: str, connection: Connection, pipeline: str, timeout_s: float | None = None
    ) -> None:
        self._url = url
        self._connection = connection
        self._pipeline = pipeline
        self._started = time.monotonic()
        self._until = self._started + connection.seconds_for(timeout_s)
        self._failures = 0
        self._last: FacewrightClientError | None = None
        self._unavailable_since: float | None = None
        self._left = False

    @property
    def left_s(self) -> float:
        """Seconds until the time is over; never 0, which gRPC takes for no limit."""
        return max(self._until - time.monotonic(), 0.001)

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return time.monotonic() >= self._until

    def failed(self, failure: Any) -> FacewrightClientError:
        """tritonclient's exception as the typed one.

        May take seconds to find out what is at the address: asyncio calls it in a thread.
        """
        status = failure.status()
        if status is None and not failure.message():
            return InternalServerError("no answer and no reason", "the server's log has the details")
        # In a stream Triton refuses what is not the contract's without a status.
        status = str(status or "INVALID_ARGUMENT").removeprefix("StatusCode.")
        message = str(failure.message())
        error = error_from_answer(status, message)
        if isinstance(error, (InternalServerError, ServerUnavailableError)) and _NO_ADDRESS.search(message):
            return WrongServerError(
                f"{self._url!r} is no address of a server: {message}", "write host:port, such as gpu:8001"
            )
        # A connection that was there and broke is of a server that goes away: the address is right.
        never_connected = status == "UNAVAILABLE" and _NO_CONNECTION.search(message)
        if never_connected and isinstance(error, ServerUnavailableError):
            return diagnosed(error, self._url, self._connection.tls)
        return self.told(error)

    def told(self, error: FacewrightClientError) -> FacewrightClientError:
        """A server's failure in words for whoever made this request."""
        if isinstance(error, UnauthenticatedError):
            return self._told_to_caller(error)
        if isinstance(error, DeadlineExceededError) and not error.stage and self._last is not None:
            return self._out_of_time(error, self._last)
        return error

    def pause_after(self, error: FacewrightClientError) -> float:
        """Seconds to wait before the next send.

        Raises:
            FacewrightClientError: ``error`` itself, where there is to be none.
        """
        if self._left:
            raise error  # it is the caller's own
        self._failures += 1
        self._last = error
        pause = self._connection.retries.pause_after(self._failures, error)
        left = self._patience_s(error) - _LAST_TRY_S
        if pause is None or left <= 0:
            raise error from error.__cause__
        if self._connection.metrics:
            self._connection.metrics.retried(self._pipeline, str(error.code))
        if self._connection.on_retry:
            self._connection.on_retry(error)
        return min(pause, left)

    def _patience_s(self, error: FacewrightClientError) -> float:
        """Seconds for which the request is sent again after this failure."""
        now = time.monotonic()
        until = self._until
        longest = self._connection.retries.unavailable_s
        if not isinstance(error, ServerUnavailableError) or error.retry_after_s is not None:
            self._unavailable_since = None  # it is there, and says so
        elif longest is not None:
            if self._unavailable_since is None:
                self._unavailable_since = now
            until = min(until, self._unavailable_since + longest)
        return until - now

    def _told_to_caller(self, error: UnauthenticatedError) -> UnauthenticatedError:
        """The server speaks of headers; here keys are given by other names."""
        places = "--key-file FILE or $FACEWRIGHT_KEY, in Python Connection(key=…)"
        hint = f"check the key of {places}; or ask whoever runs the server for a new one"
        if self._connection.key is None:
            hint = f"give the key that you got from whoever runs the server: {places}"
        return UnauthenticatedError(error.message, hint, error.stage)

    def _out_of_time(
        self, error: DeadlineExceededError, last: FacewrightClientError
    ) -> DeadlineExceededError:
        """The same error with what the time went by with."""
        unavailable = isinstance(last, ServerUnavailableError)
        found = "restarting or not reachable" if unavailable else "overloaded"
        told = DeadlineExceededError(
            f"{error.message}: the server at {self._url} was {found}; last: {last.message}",
            f"{last.hint}; or {error.hint}" if last.hint else error.hint,
        )
        told.__cause__ = last
        return told

    def stages_for(self, progress: Callable[[str], None] | None) -> Callable[[object], None] | None:
        """What is told the steps of an answer, and tells ``progress`` the stages among them."""
        if progress is None:
            return None

        def told(step: object) -> None:
            if isinstance(step, str):
                with self.left_by_caller():
                    progress(step)

        return told

    @contextmanager
    def left_by_caller(self) -> Iterator[None]:
        """What is raised in this block is the caller's own, who thereby cancels the request."""
        try:
            yield
        except BaseException:
            self._left = True
            raise

    def __enter__(self) -> Request:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended(error)

    def ended(self, error: BaseException | None) -> None:
        """Count how it ended: with an answer, where there is no ``error``."""
        if self._connection.metrics:
            seconds = time.monotonic() - self._started
            self._connection.metrics.finished(self._pipeline, self._outcome(error), seconds)

    def _outcome(self, error: BaseException | None) -> str:
        """The label of how it ended: ok, or an error code."""
        if error is None:
            return "ok"
        if isinstance(error, FacewrightClientError):
            return str(error.code)
        left = self._left or isinstance(error, _LEFT)
        return str(CancelledError.code if left else InternalServerError.code)
