"""The asyncio client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Never, TypeVar

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from facewright_client import _refinement, _stream, _wire, contract
from facewright_client._api_key import show_key
from facewright_client._avatar import Avatar
from facewright_client._connection import Connection, connection_of
from facewright_client._errors import CancelledError, ClientClosedError, FacewrightClientError, of_photo
from facewright_client._pending import AsyncPendingAvatar
from facewright_client._photo_file import Photo, Photos, is_code, numbered, photo_bytes, several
from facewright_client._refinement import Refinement, RefinementProgress, RefinementStart
from facewright_client._request import Request

_T = TypeVar("_T")


class AsyncClient:
    """As `Client`, for asyncio: the same methods, to be awaited. Cancelling the task that awaits `create` or
    `refine` cancels the server's work.

        async with AsyncClient("localhost:8001") as client:
            avatar = await client.create(photo)

    It connects at its first request, in the event loop that runs then; used in another loop later, anew.

    Args:
        url: host and gRPC port.
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
        self._arguments = self._connection.triton_arguments(url)
        self._opened: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
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
                    lambda: _wire.create_arguments(content, pipeline, preview, code, options),
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
            lambda: _wire.merge_arguments(content, preview, options),
            _wire.avatar_from,
            progress,
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
        arguments = _wire.create_arguments(await _content(photo), pipeline, preview, code, options)
        connection = self._triton

        async def answer() -> Avatar:
            try:
                result = await connection.infer(client_timeout=request.left_s, **arguments)
            except InferenceServerException as failure:
                raise await asyncio.to_thread(request.failed, failure) from None
            return _wire.avatar_from(result)

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
        if progress is None:
            with self._request(_refinement.ONCE, timeout_s) as request:
                arguments = _refinement.arguments(_refinement.ONCE, start, options)
                return _refinement.refinement_from(await self._answer(request, arguments))
        with self._request(_refinement.WITH_PROGRESS, timeout_s) as request:
            arguments = _refinement.arguments(_refinement.WITH_PROGRESS, start, options)
            told = partial(_refinement.told, progress=progress, request=request)
            try:
                return await self._stream(arguments, told, request)
            except InferenceServerException as failure:
                raise await asyncio.to_thread(request.failed, failure) from None

    async def ready(self, pipeline: str = contract.AVATAR_PIPELINE) -> bool:
        """Whether the server says that it serves ``pipeline``; False where none answers."""
        try:
            return bool(await self._triton.is_model_ready(pipeline, client_timeout=_wire.SHORT_S))
        except InferenceServerException:
            return False

    async def pipelines(self) -> list[str]:
        """Names of what the server makes avatars of photos with; errors as `Client.pipelines`."""
        names = _wire.models(await self._ask("get_model_repository_index"))
        found = [await self._ask("get_model_metadata", model_name=name) for name in names]
        return [str(metadata["name"]) for metadata in found if _wire.makes_avatars(metadata)]

    async def statistics(self) -> dict[str, Any]:
        """Triton's statistics of every stage; errors as `Client.statistics`."""
        return await self._ask("get_inference_statistics")

    async def close(self) -> None:
        """Close the connection; whatever is asked of the client then raises ClientClosedError."""
        self._closed = True
        if self._opened is not None and self._loop is asyncio.get_running_loop():
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
    def _triton(self) -> Any:
        """tritonclient's connection in the running event loop, opened at its first use there.

        Raises:
            ClientClosedError: the client is closed.
        """
        if self._closed:
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # gRPC binds a connection to the loop that it is opened in
            self._opened = show_key(triton.InferenceServerClient(**self._arguments), self._connection.key)
            self._loop = loop
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
                lambda: _wire.code_arguments(photo, pipeline, options),
                _wire.code_from,
                progress,
            )
        except FacewrightClientError as error:
            raise of_photo(error, number) from None

    async def _made(
        self,
        request: Request,
        arguments: Callable[[], dict[str, Any]],
        read: Callable[[Any], _T],
        progress: Callable[[str], None] | None,
    ) -> _T:
        """What ``read`` makes of the answer; ``progress`` is told the stages."""
        with request:
            asked = arguments()
            if progress is None:
                return read(await self._answer(request, asked))
            told = partial(_wire.told, read=read, progress=progress, request=request)
            return await self._retried(
                request, partial(self._stream, _wire.with_progress(asked), told, request)
            )

    def _request(self, pipeline: str, timeout_s: float | None) -> Request:
        if self._closed:
            raise ClientClosedError
        return Request(self.url, self._connection, pipeline, timeout_s)

    async def _answer(self, request: Request, arguments: dict[str, Any]) -> Any:
        return await self._retried(
            request, lambda: self._triton.infer(client_timeout=request.left_s, **arguments)
        )

    async def _stream(
        self, arguments: dict[str, Any], told: Callable[[Any], _T | None], request: Request
    ) -> _T:
        return await _stream.stream_async(self._triton, arguments, told, request)

    async def _retried(self, request: Request, send: Callable[[], Awaitable[_T]]) -> _T:
        while True:
            try:
                return await send()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if self._closed and task is not None and not task.cancelling():
                    raise CancelledError("the client was closed during the request") from None
                raise
            except InferenceServerException as failure:
                error = await asyncio.to_thread(request.failed, failure)
                await asyncio.sleep(request.pause_after(error))

    async def _ask(self, method: str, **arguments: Any) -> dict[str, Any]:
        """What the server says about itself: not counted, not asked again."""
        try:
            answer: dict[str, Any] = await getattr(self._triton, method)(
                as_json=True, client_timeout=_wire.SHORT_S, **arguments
            )
        except InferenceServerException as failure:
            request = self._request(method, _wire.SHORT_S)
            raise await asyncio.to_thread(request.failed, failure) from None
        return answer


async def _content(photo: Photo) -> bytes:
    """A photo's bytes; a file is read in a thread."""
    if isinstance(photo, bytes):
        return photo_bytes(photo)
    return await asyncio.to_thread(photo_bytes, photo)
