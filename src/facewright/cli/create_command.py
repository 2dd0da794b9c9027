"""``facewright create``: many photos, several at once, resumable, one line for each that fails."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from facewright.cli.batch import Batch
from facewright.cli.batch_output import prepare_output, write_avatar
from facewright.cli.batch_progress import BatchProgress
from facewright.cli.finished_avatars import Finished
from facewright.cli.messages import reason, say
from facewright.cli.photo_failure import photo_failure
from facewright_client import (
    AsyncClient,
    Avatar,
    BadRequestError,
    Connection,
    FacewrightClientError,
    ServerUnavailableError,
    UnauthenticatedError,
    WrongServerError,
)
from facewright_client._photo_file import check_photo_file, photo_bytes
from facewright_client._whole_file import make_folder_first

#: What the likeness of a merge's photos says: docs/avatar_code.md.
_ALIKE: Final = "(1: the same; half of one person's are above 0.5, half of strangers' below 0.2)"
_Tell = Callable[[str], None]


def prepare(batch: Batch) -> bool:
    """Before a server is asked, or started: a place to write to, and at least one photo to read.

    Returns:
        False where no photo can be read; a line says why for each.

    Raises:
        FacewrightError: BAD_OPTION when nothing can be written there.
    """
    prepare_output(batch)
    lines = []
    for photo in batch.photos:
        try:
            check_photo_file(photo)
        except (FacewrightClientError, OSError) as error:
            lines.append(photo_failure(photo, error))
    if len(lines) < len(batch.photos):
        return True
    for line in lines:
        say(line)
    return False


def create_avatars(batch: Batch, url: str, connection: Connection) -> int:
    """Make all avatars of a batch, for which there is room (`prepare`), by the server at ``url``; returns 0,
    or 1 when any photo failed.

    A server that is there and full is asked until a photo's time, the connection's, is over: nobody sits
    before a batch, and a photo that is given up has to be asked for again by hand.
    """
    return asyncio.run(_Creation(batch, url, connection).run())


class _Creation:
    """One run of the command.

    Args:
        batch, url, connection: as `create_avatars`.
    """

    def __init__(self, batch: Batch, url: str, connection: Connection) -> None:
        self._batch, self._url = batch, url
        self._targets = batch.targets()
        self._progress = BatchProgress(len(self._targets), url, connection)
        self._connection = replace(connection, on_retry=self._progress.waiting)
        self._finished = Finished(batch.folder)
        self._given_up = False
        #: Photos under way when it was given up, which failed for the same cause and have no line.
        self._alike: list[Path] = []

    async def run(self) -> int:
        """All photos; the exit status."""
        progress = self._progress
        for (photo, *_), target in zip(self._batch.people, self._targets, strict=True):
            if not self._batch.single and target.stem != photo.stem:
                progress.say(f"{photo} becomes {target}: another photo is called {photo.stem}, too")
        # One iterator for all workers: each takes the next photo when it is free.
        jobs = iter(list(zip(self._batch.people, self._targets, strict=True)))
        try:
            # A connection belongs to the event loop that it is opened in.
            async with AsyncClient(self._url, self._connection) as client:
                with progress.shown() as (advance, tell):

                    async def worker() -> None:
                        for photos, target in jobs:
                            if self._given_up:
                                return
                            await self._one(client, photos, target, tell)
                            advance()

                    workers = (worker() for _ in range(min(self._batch.parallel, len(self._targets))))
                    await asyncio.gather(*workers)
        except asyncio.CancelledError:
            if progress.many:
                progress.say(f"{progress}; the same command makes the rest")
            raise
        if self._alike:
            progress.say(f"the same for {', '.join(map(str, self._alike))}")
        if progress.many:
            progress.say(str(progress))
        return int(progress.made + progress.skipped < len(self._targets))

    async def _one(
        self, client: AsyncClient, photos: tuple[Path, ...], target: Path, tell: _Tell | None
    ) -> None:
        """One person's photos, or a line about them; ``tell`` is told their stages."""
        progress, together = self._progress, self._batch.together
        contents: list[bytes] = []
        try:
            for photo in photos:
                contents.append(photo_bytes(photo))
            photo = target if together else photo
            fingerprint = Finished.fingerprint(b"".join(contents), self._batch)
            if not self._batch.again and self._finished.has(target, fingerprint, self._batch):
                progress.skipped += 1
                if not progress.many:
                    progress.say(
                        f"{target} is already there, of this photo and options; --again makes it again"
                    )
                return
            avatar = await client.create(
                contents if together else contents[0],
                self._batch.pipeline,
                preview=self._batch.preview,
                progress=tell,
                code=self._batch.code,
                **self._batch.options,
            )
        except (FacewrightClientError, OSError) as error:
            await self._fail(client, photo, error)
            return
        progress.heard()
        if self._finished.of_another_photo(target, fingerprint):
            progress.say(f"{photo}: {target} was made of another photo and is replaced")
        try:
            written = write_avatar(avatar, target, self._batch)
            self._finished.add(target, fingerprint)
        except OSError as error:  # the next would not find more room
            self._give_up(
                photo,
                f"error: {error.filename or target} cannot be written: {reason(error)}; mend: "
                f"{make_folder_first(target) or _room(error)} or give another --output, and run it again"
                f"{': what was made is kept' if progress.made + progress.skipped else ''}",
            )
            return
        progress.made += 1
        for warning in avatar.warnings:
            progress.say(f"{f'{photo}: ' if progress.many else ''}warning: {warning}")
        if agreement := _agreement(target, avatar, len(photos)):
            progress.say(agreement)
        if not progress.many:
            progress.say(f"wrote {', '.join(map(str, written))}")

    async def _fail(self, client: AsyncClient, photo: Path, error: FacewrightClientError | OSError) -> None:
        line = photo_failure(photo, error)
        if isinstance(error, BadRequestError):
            served = await _served(client)
            if served is not None and self._batch.pipeline not in served:
                there = ", ".join(served) or "no pipeline that makes avatars"
                what = f"the server at {self._url} does not serve {self._batch.pipeline}"
                self._give_up(photo, f"error: {what}; mend: choose another --pipeline; it serves {there}")
                return
        if isinstance(error, (WrongServerError, UnauthenticatedError)) or (
            isinstance(error, ServerUnavailableError) and not self._progress.answered
        ):
            self._give_up(photo, line)
            return
        if isinstance(error, FacewrightClientError) and error.stage:
            self._progress.heard()
        self._progress.failed += 1
        self._progress.say(line)

    def _give_up(self, photo: Path, line: str) -> None:
        """It will be the same for every photo: say so once, and try no others."""
        self._progress.failed += 1
        self._progress.stop_waiting()
        if self._given_up:
            self._alike.append(photo)
        else:
            self._given_up = True
            self._progress.say(line)


def _agreement(target: Path, avatar: Avatar, files: int) -> str:
    """What is said of a merge, "" where there was none: of whom its photos are is the caller's to know.

    Args:
        target: the avatar's file.
        avatar: whose report says how alike its photos are.
        files: that it was made of; one may hold several codes.
    """
    merged = avatar.report.get("merge", {}).get("photos", ())
    likeness = [f"{photo['likeness']:.2f}" for photo in merged if "likeness" in photo]
    photos = max(files, len(likeness))
    if photos < 2:
        return ""
    said = f"{target} is made of {photos} photos, which should all be of one person"
    if len(likeness) < 2:
        return said
    # Of two photos it is the same number twice.
    alike = likeness[0] if len(likeness) == 2 else f"{', '.join(likeness[:-1])} and {likeness[-1]}"
    return f"{said}: alike by {alike} {_ALIKE}"


def _room(error: OSError) -> str:
    limited = error.errno == errno.EFBIG
    return "raise the limit of a file's size (ulimit -f)" if limited else "make room"


async def _served(client: AsyncClient) -> list[str] | None:
    try:
        return await client.pipelines()
    except FacewrightClientError:
        return None
