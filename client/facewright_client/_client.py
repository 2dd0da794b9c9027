"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from facewright_client import _refinement, _wire
from facewright_client._avatar import Avatar
from facewright_client._connection import Connection
from facewright_client._errors import (
    FacewrightClientError,
    error_from_answer,
)
from facewright_client._pending import PendingAvatar
from facewright_client._refinement import Refinement, RefinementProgress, RefinementStart


class Client:
    """A connection to a Facewright server; opened once, used for many photos, from several threads.

        with Client("localhost:8001") as client:
            client.create("me.jpg").save("me.glb")

    Args:
        url: host and gRPC port.
        connection: time limits, retries, TLS, metrics.
    """

    def __init__(self, url: str = "localhost:8001", connection: Connection | None = None) -> None:
        self.url = url
        self._connection = connection or Connection()
        self._triton = triton.InferenceServerClient(url, **self._connection.triton_arguments())

    def create(
        self,
        photo: _wire.Photo,
        pipeline: str = "avatar_twin",
        preview: bool = False,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """One photo's avatar.

        Args:
            photo: encoded bytes (`contract.PHOTO_FORMATS`), or the path of such a file.
            pipeline: the ensemble.
            preview: also render the preview sheet (adds time).
            timeout_s: longest time, retries included; the connection's by default.
            options: those of the pipeline, listed in docs/pipelines.md.

        Raises:
            FacewrightClientError: one subclass per error code.
        """
        seconds = self._connection.seconds_for(timeout_s)
        content = _wire.photo_bytes(photo)

        def send(left_s: float) -> Any:
            return self._triton.infer(
                pipeline,
                _wire.inputs(content),
                outputs=_wire.outputs(preview),
                parameters=_wire.parameters(options),
                client_timeout=left_s,
            )

        result = self._with_retries(pipeline, seconds, send)
        return _wire.avatar_from(result, preview)

    def submit(
        self,
        photo: _wire.Photo,
        pipeline: str = "avatar_twin",
        preview: bool = False,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> PendingAvatar:
        """Send a photo and return at once; `PendingAvatar.cancel` stops the server's work. Never retried."""
        seconds = self._connection.seconds_for(timeout_s)
        metrics, started = self._connection.metrics, time.monotonic()

        def ended(outcome: str) -> None:
            if metrics:
                metrics.finished(pipeline, outcome, time.monotonic() - started)

        pending = PendingAvatar(preview, ended)
        pending.sent(
            self._triton.async_infer(
                pipeline,
                _wire.inputs(_wire.photo_bytes(photo)),
                pending.answered,
                outputs=_wire.outputs(preview),
                parameters=_wire.parameters(options),
                client_timeout=seconds,
            )
        )
        return pending

    def refine(
        self,
        start: RefinementStart,
        progress: Callable[[RefinementProgress], None] | None = None,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> Refinement:
        """Latents changed until the render matches the photo (200 iterations by default).

        A ``deadline_ms`` answers with the best so far; ``timeout_s`` gives up.

        Args:
            start: the photo and what is known of it.
            progress: called in this thread for every iteration; where it raises, the server stops. With it
                the request streams and is never retried.
            timeout_s: longest time, retries included; the connection's by default.
            options: those of ``refine_latent``, listed in docs/pipelines.md.

        Raises:
            FacewrightClientError: one subclass per error code.
        """
        seconds = self._connection.seconds_for(timeout_s)
        if progress is None:

            def send(left_s: float) -> Any:
                return self._triton.infer(
                    _refinement.ONCE,
                    _refinement.inputs(start),
                    parameters=_wire.parameters(options),
                    client_timeout=left_s,
                )

            return _refinement.refinement_from(self._with_retries(_refinement.ONCE, seconds, send))
        # A connection has one stream at a time, and a client serves several threads.
        connection = triton.InferenceServerClient(self.url, **self._connection.triton_arguments())
        try:
            return _refinement.stream(connection, start, progress, seconds, options)
        except InferenceServerException as failure:
            # In a stream Triton refuses what is not the contract's without a status.
            raise error_from_answer(
                str(failure.status() or "INVALID_ARGUMENT"), str(failure.message())
            ) from None
        finally:
            connection.close()

    def ready(self, pipeline: str = "avatar_twin") -> bool:
        """Whether the server says that it serves ``pipeline``; False where none answers."""
        try:
            return bool(self._triton.is_model_ready(pipeline, client_timeout=5.0))
        except InferenceServerException:
            return False

    def statistics(self) -> dict[str, Any]:
        """Triton's statistics of every stage.

        Raises:
            FacewrightClientError: as `create`.
        """
        try:
            statistics: dict[str, Any] = self._triton.get_inference_statistics(
                as_json=True, client_timeout=5.0
            )
        except InferenceServerException as error:
            raise _typed(error) from None
        return statistics

    def close(self) -> None:
        """Close the connection."""
        self._triton.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _with_retries(self, pipeline: str, timeout_s: float, send: Callable[[float], Any]) -> Any:
        metrics, retries = self._connection.metrics, self._connection.retries
        started = time.monotonic()
        until = started + timeout_s
        attempt = 0
        while True:
            attempt += 1
            try:
                result = send(max(until - time.monotonic(), 0.001))
            except InferenceServerException as failure:
                error = _typed(failure)
                pause = retries.pause_after(attempt, error)
                if pause is None or time.monotonic() + pause >= until:
                    if metrics:
                        metrics.finished(pipeline, str(error.code), time.monotonic() - started)
                    raise error from None
                if metrics:
                    metrics.retried(pipeline, str(error.code))
                time.sleep(pause)
            else:
                if metrics:
                    metrics.finished(pipeline, "ok", time.monotonic() - started)
                return result


def _typed(failure: InferenceServerException) -> FacewrightClientError:
    return error_from_answer(str(failure.status()), str(failure.message()))
