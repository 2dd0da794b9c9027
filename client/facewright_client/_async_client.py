"""The asyncio client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from facewright_client import _wire
from facewright_client._avatar import Avatar
from facewright_client._connection import Connection
from facewright_client._errors import CancelledError, FacewrightClientError, error_from_answer


class AsyncClient:
    """As `Client`, for asyncio. Cancelling the task that awaits `create` cancels the server's work.

        async with AsyncClient("localhost:8001") as client:
            avatar = await client.create(photo)

    Args:
        url: host and gRPC port.
        connection: time limits, retries, TLS, metrics.
    """

    def __init__(self, url: str = "localhost:8001", connection: Connection | None = None) -> None:
        self.url = url
        self._connection = connection or Connection()
        self._triton = triton.InferenceServerClient(url, **self._connection.triton_arguments())

    async def create(
        self,
        photo: _wire.Photo,
        pipeline: str = "avatar_twin",
        preview: bool = False,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """One photo's avatar; arguments and errors as `Client.create`."""
        metrics = self._connection.metrics
        seconds, started = self._connection.seconds_for(timeout_s), time.monotonic()
        if isinstance(photo, bytes):
            content = _wire.photo_bytes(photo)
        else:
            content = await asyncio.to_thread(_wire.photo_bytes, photo)
        outcome = str(CancelledError.code)
        try:
            result = await self._with_retries(
                pipeline, started + seconds, _wire.inputs(content), _wire.outputs(preview), options
            )
            outcome = "ok"
        except FacewrightClientError as error:
            outcome = str(error.code)
            raise
        finally:
            # Whoever cancels the task passes here, too.
            if metrics:
                metrics.finished(pipeline, outcome, time.monotonic() - started)
        return _wire.avatar_from(result, preview)

    async def _with_retries(
        self,
        pipeline: str,
        until: float,
        inputs: list[Any],
        outputs: list[Any],
        options: Mapping[str, _wire.OptionValue],
    ) -> Any:
        metrics, retries = self._connection.metrics, self._connection.retries
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._triton.infer(
                    pipeline,
                    inputs,
                    outputs=outputs,
                    parameters=_wire.parameters(options),
                    client_timeout=max(until - time.monotonic(), 0.001),
                )
            except InferenceServerException as failure:
                error = error_from_answer(str(failure.status()), str(failure.message()))
                pause = retries.pause_after(attempt, error)
                if pause is None or time.monotonic() + pause >= until:
                    raise error from None
                if metrics:
                    metrics.retried(pipeline, str(error.code))
                await asyncio.sleep(pause)

    async def ready(self, pipeline: str = "avatar_twin") -> bool:
        """Whether the server says that it serves ``pipeline``; False where none answers."""
        try:
            return bool(await self._triton.is_model_ready(pipeline, client_timeout=5.0))
        except InferenceServerException:
            return False

    async def close(self) -> None:
        """Close the connection."""
        await self._triton.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
