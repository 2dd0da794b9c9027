"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Never, TypeVar

from facewright_client import _refinement, _wire, contract
from facewright_client._avatar import Avatar, RelitAvatar
from facewright_client._connection import Connection, connection_of
from facewright_client._errors import RETRYABLE, ClientClosedError, FacewrightClientError, of_photo
from facewright_client._pending import PendingAvatar
from facewright_client._photo_file import Photo, Photos, is_code, numbered, photo_bytes, several
from facewright_client._refinement import Refinement, RefinementProgress, RefinementStart
from facewright_client._request import Request
from facewright_client._transport import Step, Told, Transport, transport_to
from facewright_client._wire import Answer, Question

_T = TypeVar("_T")


class Client:
    """A connection to a Facewright server; opened once, used for many photos, from several threads.

        with Client("localhost:8001") as client:
            client.create("me.jpg").save("me.glb")

    `AsyncClient` has the same methods.

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
        self._opened = transport_to(url, self._connection)
        self._closed = False

    def create(
        self,
        photo: Photos,
        pipeline: str = contract.AVATAR_PIPELINE,
        preview: bool = False,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        code: bool = False,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """One person's avatar.

        Args:
            photo: encoded bytes (`contract.PHOTO_FORMATS`; a bytearray or any buffer of bytes, too), or the
                path of such a file; or a list of up to eight photos of the same person, who are merged. A
                code (`Avatar.code`, or its file) may stand in a photo's place.
            pipeline: the ensemble.
            preview: also render the preview sheet (adds time).
            timeout_s: longest time, retries included; the connection's by default.
            progress: called in this thread with the name of each stage as it begins, such as ``fit_head``;
                where it raises, the server stops. A stage begins twice where it is done again, and anew for
                each of several photos.
            code: also give `Avatar.code`: biometric data, see there.
            options: those of the pipeline, listed in docs/pipelines.md; and ``priority``, 0 the most urgent.

        Raises:
            FacewrightClientError: one subclass per error code; of several photos it says which.
            OSError: the file cannot be read.
            TypeError: ``photo`` is neither, or ``progress`` no function.
        """
        _wire.check_progress(progress)
        photos = several(photo)
        if photos is None:
            request = self._request(pipeline, timeout_s)
            content = photo_bytes(photo)  # type: ignore[arg-type]  # no list
            if not is_code(content):
                return self._made(
                    request,
                    lambda: _wire.avatar_question(content, pipeline, preview, code, options),
                    _wire.avatar_from,
                    progress,
                )
            photos = [content]
        until = time.monotonic() + self._connection.seconds_for(timeout_s)
        contents = [numbered(one, number) for number, one in enumerate(photos, 1)]
        of_codes = all(map(is_code, contents))
        merging = _wire.options_of_codes(pipeline, options) if of_codes else _wire.merge_options(options)
        codes = [
            self._code(one, number, pipeline, until - time.monotonic(), progress, options)
            for number, one in enumerate(contents, 1)
        ]
        merged = self.merge(codes, preview, max(until - time.monotonic(), 0.001), progress, **merging)
        return replace(merged, code=b"".join(codes)) if code else merged

    def merge(
        self,
        codes: Sequence[bytes],
        preview: bool = False,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """One person's avatar of codes, without the photos.

        Args:
            codes: `Avatar.code` of avatars of the same person, or their files' bytes.
            preview, timeout_s, progress: as `create`.
            options: those of ``merge_avatars``, listed in docs/pipelines.md.

        Raises:
            FacewrightClientError: BadCodeError above all; it says which.
            TypeError: ``codes`` are no bytes, or ``progress`` no function.
        """
        _wire.check_progress(progress)
        content = _wire.joined_codes(codes)
        return self._made(
            self._request(contract.MERGE_PIPELINE, timeout_s),
            lambda: _wire.merge_question(content, preview, options),
            _wire.avatar_from,
            progress,
        )

    def interpolate(
        self,
        codes: Sequence[bytes],
        shares: Sequence[float] | None = None,
        preview: bool = False,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        **options: _wire.OptionValue,
    ) -> Avatar:
        """An avatar between several people's, by the latents in their codes.

        Args:
            codes: of ``avatar_normalized``, each an `Avatar.code`.
            shares: of each, brought to a sum of 1; None: alike.
            preview, timeout_s, progress: as `create`.
            options: those of ``interpolate_avatars``, listed in docs/pipelines.md.

        Raises:
            FacewrightClientError: BadCodeError for a code without latents, EngineMismatchError for one of
                other weights.
            TypeError: ``codes`` are no bytes, or ``progress`` no function.
        """
        _wire.check_progress(progress)
        content = _wire.whole_codes(codes)
        return self._made(
            self._request(contract.INTERPOLATE_PIPELINE, timeout_s),
            lambda: _wire.interpolate_question(content, shares, preview, options),
            _wire.avatar_from,
            progress,
        )

    def relight(
        self,
        code: bytes,
        light: Any = None,
        environment: bytes | None = None,
        timeout_s: float | None = None,
        **options: _wire.OptionValue,
    ) -> RelitAvatar:
        """An avatar in another light: a picture, and its texture times the light. Over gRPC.

        Args:
            code: the avatar's.
            light: spherical harmonics ``[9, 3]``, or another avatar's code, whose photo's light it is.
            environment: an encoded equirectangular picture instead; its middle is what the face looks at.
            timeout_s: as `create`.
            options: those of ``relight_avatar``, listed in docs/pipelines.md.

        Raises:
            FacewrightClientError: BadCodeError, BadOptionError or BadPhotoError above all.
        """
        content = _wire.whole_codes([code])
        return self._made(
            self._request(contract.RELIGHT_PIPELINE, timeout_s),
            lambda: _wire.relight_question(content, light, environment, options),
            _wire.relit_from,
            None,
        )

    def submit(
        self,
        photo: Photo,
        pipeline: str = contract.AVATAR_PIPELINE,
        preview: bool = False,
        timeout_s: float | None = None,
        code: bool = False,
        **options: _wire.OptionValue,
    ) -> PendingAvatar:
        """Send a photo and return at once; `PendingAvatar.cancel` stops the server's work. Never retried."""
        request = self._request(pipeline, timeout_s)
        question = _wire.avatar_question(photo_bytes(photo), pipeline, preview, code, options)
        pending = PendingAvatar(request)
        pending.sent(self._transport.submit(question, request, pending.answered))
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
                the request streams and, over gRPC, is never retried.
            timeout_s: longest time, retries included; the connection's by default.
            options: those of ``refine_latent``, listed in docs/pipelines.md.

        Raises:
            FacewrightClientError: one subclass per error code.
        """
        _wire.check_progress(progress)
        model = _refinement.ONCE if progress is None else _refinement.WITH_PROGRESS
        with self._request(model, timeout_s) as request:
            question = _refinement.question(model, start, options)
            if progress is None:
                return _refinement.refinement_from(self._answer(request, question))

            def told(step: Step) -> None:
                if isinstance(step, RefinementProgress):
                    with request.left_by_caller():
                        progress(step)

            send = self._answer if self._transport.resumes else self._once
            return _refinement.refinement_from(send(request, question, told))

    def ready(self, pipeline: str = contract.AVATAR_PIPELINE) -> bool:
        """Whether the server says that it serves ``pipeline``; False where none answers."""
        return self._transport.ready(pipeline)

    def pipelines(self) -> list[str]:
        """Names of what the server makes avatars of photos with.

        Raises:
            FacewrightClientError: as `create`.
        """
        return self._transport.pipelines()

    def statistics(self) -> dict[str, Any]:
        """Triton's statistics of every stage.

        Raises:
            FacewrightClientError: as `create`; BadRequestError over REST, which has none.
        """
        return self._transport.statistics()

    def close(self) -> None:
        """Close the connection; whatever is asked of the client then raises ClientClosedError."""
        self._closed = True
        self._opened.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _transport(self) -> Transport:
        """The way to the server.

        Raises:
            ClientClosedError: the client is closed.
        """
        if self._closed:
            raise ClientClosedError
        return self._opened

    def _code(
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
            request = self._request(pipeline, max(timeout_s, 0.001))
            return self._made(
                request,
                lambda: _wire.code_question(photo, pipeline, options),
                _wire.code_from,
                progress,
            )
        except FacewrightClientError as error:
            raise of_photo(error, number) from None

    def _made(
        self,
        request: Request,
        question: Callable[[], Question],
        read: Callable[[Answer], _T],
        progress: Callable[[str], None] | None,
    ) -> _T:
        """What ``read`` makes of the answer; ``progress`` is told the stages."""
        with request:
            return read(self._answer(request, question(), request.stages_for(progress)))

    def _request(self, pipeline: str, timeout_s: float | None) -> Request:
        if self._closed:
            raise ClientClosedError
        return Request(self.url, self._connection, pipeline, timeout_s)

    def _once(self, request: Request, question: Question, told: Told | None) -> Answer:
        return self._transport.answer(question, request, told)

    def _answer(self, request: Request, question: Question, told: Told | None = None) -> Answer:
        while True:
            try:
                return self._once(request, question, told)
            except RETRYABLE as error:
                time.sleep(request.pause_after(error))
