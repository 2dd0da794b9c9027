"""The asyncio client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Never, TypeVar

from facewright_client import _refinement, _wire, contract
from facewright_client._avatar import Avatar, RelitAvatar
from facewright_client._connection import Connection, connection_of
from facewright_client._errors import (
    RETRYABLE,
    CancelledError,
    ClientClosedError,
    FacewrightClientError,
    of_photo,
)
from facewright_client._pending import AsyncPendingAvatar
from facewright_client._photo_file import Photo, Photos, is_code, numbered, photo_bytes, several
from facewright_client._refinement import Refinement, RefinementProgress, RefinementStart
from facewright_client._request import Request
from facewright_client._transport import AsyncTransport, Step, Told, async_transport_to
from facewright_client._wire import Answer, Question

_T = TypeVar("_T")


class AsyncClient:
    """As `Client`, for asyncio: the same methods, to be awaited. Cancelling the task that awaits `create` or
    `refine` cancels the server's work.

        async with AsyncClient("localhost:8001") as client:
            avatar = await client.create(photo)

    It connects at its first request, in the event loop that runs then; used in another loop later, anew.

    Args:
        url: host and gRPC port; or ``http://`` or ``https://``, host and REST port, where nothing else gets
            through.
        connection: time limits, retries, TLS, API key, metrics.

    Raises:
        ValueError, OSError: ``url`` is no address, a file of TLS is none, or the key would be sent in plain
            text to another machine.
        TypeError: ``connection`` is no `Connection`, or one of its settings is given here.
    """

    def __init__(
        self, url: str = "localhost:8001", connection: Connection | None = None, **misplaced: Never
    ) -> None:
        self.url = url
        self._connection = connection_of(connection, misplaced)
        self._opened = async_transport_to(url, self._connection)
        self._closed = False

    async def create(
        self,
        photo: Photos,
        pipeline: str = contract.AVATAR_PIPELINE,
        preview: bool = False,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        code: bool = False,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """One person's avatar; arguments and errors as `Client.create`.

        Several photos are worked on at once. ``progress`` is called in the event loop and must not block.
        """
        _wire.check_progress(progress)
        photos = several(photo)
        if photos is None:
            request = self._request(pipeline, timeout_s)
            content = await _content(photo)  # type: ignore[arg-type]  # no list
            if not is_code(content):
                return await self._made(
                    request,
                    lambda: _wire.avatar_question(content, pipeline, preview, code, options),
                    _wire.avatar_from,
                    progress,
                )
            photos = [content]
        allowed_s = self._connection.seconds_for(timeout_s)
        until = time.monotonic() + allowed_s
        contents = [await asyncio.to_thread(numbered, one, number) for number, one in enumerate(photos, 1)]
        of_codes = all(map(is_code, contents))
        merging = _wire.options_of_codes(pipeline, options) if of_codes else _wire.merge_options(options)
        making = [
            asyncio.create_task(self._code(one, number, pipeline, allowed_s, progress, options))
            for number, one in enumerate(contents, 1)
        ]
        try:
            codes = await asyncio.gather(*making)
        finally:  # the others' work is in vain where one fails
            for task in making:
                task.cancel()
        merged = await self.merge(codes, preview, max(until - time.monotonic(), 0.001), progress, **merging)
        return replace(merged, code=b"".join(codes)) if code else merged

    async def merge(
        self,
        codes: Sequence[bytes],
        preview: bool = False,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """As `Client.merge`; ``progress`` is called in the event loop and must not block."""
        _wire.check_progress(progress)
        content = _wire.joined_codes(codes)
        return await self._made(
            self._request(contract.MERGE_PIPELINE, timeout_s),
            lambda: _wire.merge_question(content, preview, options),
            _wire.avatar_from,
            progress,
        )

    async def interpolate(
        self,
        codes: Sequence[bytes],
        shares: Sequence[float] | None = None,
        preview: bool = False,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """As `Client.interpolate`; ``progress`` is called in the event loop and must not block."""
        _wire.check_progress(progress)
        content = _wire.whole_codes(codes)
        return await self._made(
            self._request(contract.INTERPOLATE_PIPELINE, timeout_s),
            lambda: _wire.interpolate_question(content, shares, preview, options),
            _wire.avatar_from,
            progress,
        )

    async def relight(
        self,
        code: bytes,
        light: Any = None,
        environment: bytes | None = None,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> RelitAvatar:
        """As `Client.relight`."""
        content = _wire.whole_codes([code])
        return await self._made(
            self._request(contract.RELIGHT_PIPELINE, timeout_s),
            lambda: _wire.relight_question(content, light, environment, options),
            _wire.relit_from,
            None,
        )

    async def submit(
        self,
        photo: Photo,
        pipeline: str = contract.AVATAR_PIPELINE,
        preview: bool = False,
        timeout_s: float | None = None,
        code: bool = False,
        **options: _wire.OptionValue,
    ) -> AsyncPendingAvatar:
        """Send a photo and go on; `AsyncPendingAvatar.cancel` stops the server's work. Never retried."""
        request = self._request(pipeline, timeout_s)
        question = _wire.avatar_question(await _content(photo), pipeline, preview, code, options)
        transport = self._transport

        async def answer() -> Avatar:
            return _wire.avatar_from(await transport.answer(question, request, None))

        return AsyncPendingAvatar(asyncio.create_task(answer()), request)

    async def refine(
        self,
        start: RefinementStart,
        progress: Callable[[RefinementProgress], None] | None = None,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> Refinement:
        """As `Client.refine`; ``progress`` is called in the event loop and must not block."""
        _wire.check_progress(progress)
        model = _refinement.ONCE if progress is None else _refinement.WITH_PROGRESS
        with self._request(model, timeout_s) as request:
            question = _refinement.question(model, start, options)
            if progress is None:
                return _refinement.refinement_from(await self._answer(request, question))

            def told(step: Step) -> None:
                if isinstance(step, RefinementProgress):
                    with request.left_by_caller():
                        progress(step)

            send = self._answer if self._transport.resumes else self._once
            return _refinement.refinement_from(await send(request, question, told))

    async def ready(self, pipeline: str = contract.AVATAR_PIPELINE) -> bool:
        """Whether the server says that it serves ``pipeline``; False where none answers."""
        return await self._transport.ready(pipeline)

    async def pipelines(self) -> list[str]:
        """Names of what the server makes avatars of photos with; errors as `Client.pipelines`."""
        return await self._transport.pipelines()

    async def statistics(self) -> dict[str, Any]:
        """Triton's statistics of every stage; errors as `Client.statistics`."""
        return await self._transport.statistics()

    async def close(self) -> None:
        """Close the connection; whatever is asked of the client then raises ClientClosedError."""
        self._closed = True
        await self._opened.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _transport(self) -> AsyncTransport:
        """The way to the server.

        Raises:
            ClientClosedError: the client is closed.
        """
        if self._closed:
            raise ClientClosedError
        return self._opened

    async def _code(
        self,
        photo: bytes,
        number: int,
        pipeline: str,
        timeout_s: float,
        progress: Callable[[str], None] | None,
        options: Mapping[str, _wire.OptionValue],
    ) -> bytes:
        """The code of one of several photos, which may be one; its errors say which it is."""
        if is_code(photo):
            return photo
        try:
            request = self._request(pipeline, timeout_s)
            return await self._made(
                request,
                lambda: _wire.code_question(photo, pipeline, options),
                _wire.code_from,
                progress,
            )
        except FacewrightClientError as error:
            raise of_photo(error, number) from None

    async def _made(
        self,
        request: Request,
        question: Callable[[], Question],
        read: Callable[[Answer], _T],
        progress: Callable[[str], None] | None,
    ) -> _T:
        """What ``read`` makes of the answer; ``progress`` is told the stages."""
        with request:
            return read(await self._answer(request, question(), request.stages_for(progress)))

    def _request(self, pipeline: str, timeout_s: float | None) -> Request:
        if self._closed:
            raise ClientClosedError
        return Request(self.url, self._connection, pipeline, timeout_s)

    async def _once(self, request: Request, question: Question, told: Told | None) -> Answer:
        return await self._transport.answer(question, request, told)

    async def _answer(self, request: Request, question: Question, told: Told | None = None) -> Answer:
        while True:
            try:
                return await self._once(request, question, told)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if self._closed and task is not None and not task.cancelling():
                    raise CancelledError("the client was closed during the request") from None
                raise
            except RETRYABLE as error:
                await asyncio.sleep(request.pause_after(error))


async def _content(photo: Photo) -> bytes:
    """A photo's bytes; a file is read in a thread."""
    if isinstance(photo, bytes):
        return photo_bytes(photo)
    return await asyncio.to_thread(photo_bytes, photo)
