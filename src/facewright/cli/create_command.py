"""``facewright create``: many photos, several at once, resumable, one line for each that fails."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from glob import iglob
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from facewright.cli.live_bar import progress_on_log
from facewright.cli.messages import LOG, printable, reason, say
from facewright.core.errors import FacewrightError
from facewright.core.invocation import runnable
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
from facewright_client._whole_file import (
    file_behind,
    make_folder_first,
    obstacle,
    remove_forgotten,
    try_folder,
    write_whole,
)
from facewright_client.contract import ErrorCode

#: Seconds of silence after which it is told what is waited for, and after which it is told again.
_PATIENCE_S: Final = 1.0
_TOLD_AGAIN_S: Final = 30.0
#: Seconds between lines that say how far a batch is, off a terminal.
_TELL_EVERY_S: Final = 30.0
_OF_MANY: Final[tuple[ProgressColumn, ...]] = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeRemainingColumn(),
)
#: A bar of one photo would stand still; its stages are seen to go by.
_OF_ONE: Final[tuple[ProgressColumn, ...]] = (
    SpinnerColumn(),
    TimeElapsedColumn(),
    TextColumn("{task.fields[stage]}"),
)
#: In the output folder: what is finished, by file name.
FINISHED_FILE: Final = ".facewright-finished.json"


@dataclass(frozen=True)
class Batch:
    """What one command asks for.

    Args:
        photos: files.
        output: a ``.glb`` for one photo, else a folder.
        options: of the avatar, validated.
        pipeline: the ensemble.
        preview, report: also write ``NAME.preview.png`` and ``NAME.report.json``.
        again: make finished avatars again.
        parallel: photos under way at once.

    Raises:
        FacewrightError: BAD_OPTION when a file to write is one of the photos, or there are several photos for
            one file.
    """

    photos: tuple[Path, ...]
    output: Path
    options: dict[str, Any] = field(default_factory=dict)
    pipeline: str = "avatar_twin"
    preview: bool = False
    report: bool = False
    again: bool = False
    parallel: int = 4

    @property
    def single(self) -> bool:
        """Whether the output is a file and not a folder."""
        return self.output.suffix.lower() == ".glb" and not self.output.is_dir()

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.output.parent if self.single else self.output

    def targets(self) -> list[Path]:
        """The ``.glb`` of each photo."""
        return [self.output] if self.single else _targets(self.photos, self.folder)

    def written(self) -> list[Path]:
        """Every file that is written, by the names that are given to it."""
        paths = [self.folder / FINISHED_FILE]
        for target in self.targets():
            paths.append(target)
            if self.preview:
                paths.append(preview_path(target))
            if self.report:
                paths.append(report_path(target))
        return paths

    def __post_init__(self) -> None:
        if self.single and len(self.photos) > 1:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"{len(self.photos)} photos cannot go into the one file {self.output}",
                "give a folder",
            )
        # Before any work, a server's start included: a photo that is overwritten cannot be brought back.
        photos = {identity for photo in self.photos for identity in _identities(photo)}
        for path in self.written():
            if photos.intersection(_identities(path)):
                raise FacewrightError(
                    ErrorCode.BAD_OPTION,
                    f"{path} would be overwritten, and is one of the photos",
                    "write into another folder",
                )


class Finished:
    """What was made before, so that a second run makes only the rest.

    An avatar counts as finished when it was made of the same photo with the same options, and each file that
    was asked for is there and whole.

    Args:
        folder: the output folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FINISHED_FILE
        try:
            self._made: dict[str, str] = dict(json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            self._made = {}

    @staticmethod
    def fingerprint(photo: bytes, batch: Batch) -> str:
        """Hash of everything that the avatar depends on, but the server's version, and that of the photo."""
        asked = json.dumps([batch.pipeline, batch.options, batch.preview, batch.report], sort_keys=True)
        of_photo = hashlib.sha256(photo)
        return f"{hashlib.sha256(of_photo.digest() + asked.encode()).hexdigest()} {of_photo.hexdigest()}"

    def has(self, target: Path, fingerprint: str, batch: Batch) -> bool:
        """Whether ``target`` was made so, and with it everything that the batch asks for."""
        return (
            self._made_of(target)[:1] == fingerprint.split()[:1]
            and _is_whole_glb(target)
            and not (batch.preview and not _is_whole_png(preview_path(target)))
            and not (batch.report and not _is_whole_json(report_path(target)))
        )

    def of_another_photo(self, target: Path, fingerprint: str) -> bool:
        """Whether ``target`` is there and was made of another photo; False where that is not known."""
        before = self._made_of(target)[1:]
        return bool(before) and before != fingerprint.split()[1:] and target.exists()

    def _made_of(self, target: Path) -> list[str]:
        """The hashes of `fingerprint`; those of older versions have none of the photo."""
        return str(self._made.get(target.name, "")).split()

    def add(self, target: Path, fingerprint: str) -> None:
        """Note that ``target`` is finished."""
        self._made[target.name] = fingerprint
        write_whole(self._path, json.dumps(self._made, indent=0, sort_keys=True).encode())


def preview_path(target: Path) -> Path:
    """The preview beside an avatar: never ``NAME.png``, which is often the photo itself."""
    return target.with_name(f"{target.stem}.preview.png")


def report_path(target: Path) -> Path:
    """The report beside an avatar."""
    return target.with_name(f"{target.stem}.report.json")


def prepare(batch: Batch) -> bool:
    """Before a server is asked, or started: a place to write to, and at least one photo to read.

    Returns:
        False where no photo can be read; a line says why for each.

    Raises:
        FacewrightError: BAD_OPTION when nothing can be written there.
    """
    _prepare_output(batch)
    lines = []
    for photo in batch.photos:
        try:
            check_photo_file(photo)
        except (FacewrightClientError, OSError) as error:
            lines.append(_line(photo, error))
    if len(lines) < len(batch.photos):
        return True
    for line in lines:
        say(line)
    return False


def create_avatars(batch: Batch, url: str, connection: Connection) -> int:
    """Make all avatars of a batch by the server at ``url``; returns 0, or 1 when any photo failed.

    A server that is there and full is asked until a photo's time, the connection's, is over: nobody sits
    before a batch, and a photo that is given up has to be asked for again by hand.
    """
    return asyncio.run(_Creation(batch, url, connection).run())


class _Creation:
    """One run of the command: how far it is, and what is told on the way.

    Args:
        batch, url, connection: as `create_avatars`.
    """

    def __init__(self, batch: Batch, url: str, connection: Connection) -> None:
        self._batch = batch
        self._url = url
        self._connection = replace(connection, on_retry=self._waiting)
        self._targets = batch.targets()
        self._finished = Finished(batch.folder)
        self._console = Console(file=LOG, markup=False, emoji=False, highlight=False)
        self._made = self._skipped = self._failed = 0
        self._answered = False
        self._given_up = False
        #: Photos under way when it was given up, which failed for the same cause and have no line.
        self._alike: list[Path] = []
        self._waits: asyncio.TimerHandle | None = None
        self._patience_s = _PATIENCE_S
        self._waits_for: FacewrightClientError | None = None

    async def run(self) -> int:
        """All photos; the exit status."""
        for photo, target in zip(self._batch.photos, self._targets, strict=True):
            if not self._batch.single and target.stem != photo.stem:
                self._say(f"{photo} becomes {target}: another photo is called {photo.stem}, too")
        # One iterator for all workers: each takes the next photo when it is free.
        jobs = iter(list(zip(self._batch.photos, self._targets, strict=True)))
        with_bar = self._console.is_terminal
        columns = _OF_MANY if self._many else _OF_ONE
        telling = None if with_bar or not self._many else asyncio.create_task(self._tell_now_and_then())
        # A connection belongs to the event loop that it is opened in.
        try:
            async with AsyncClient(self._url, self._connection) as client:
                with progress_on_log(self._console, *columns, disable=not with_bar) as bar:
                    task = bar.add_task("avatars", total=len(self._targets), stage="")

                    def tell(stage: str) -> None:
                        bar.update(task, stage=stage.replace("_", " "))

                    async def worker() -> None:
                        for photo, target in jobs:
                            if self._given_up:
                                return
                            told = tell if with_bar and not self._many else None
                            await self._one(client, photo, target, told)
                            bar.advance(task)

                    workers = (worker() for _ in range(min(self._batch.parallel, len(self._targets))))
                    await asyncio.gather(*workers)
        except asyncio.CancelledError:
            if self._many:
                self._say(f"{self._so_far()}; the same command makes the rest")
            raise
        finally:
            self._stop_waiting()
            if telling is not None:
                telling.cancel()
        if self._alike:
            self._say(f"the same for {', '.join(map(str, self._alike))}")
        if self._many:
            self._say(self._so_far())
        return int(self._made + self._skipped < len(self._targets))

    @property
    def _many(self) -> bool:
        return len(self._targets) > 1

    def _so_far(self) -> str:
        left = len(self._targets) - self._made - self._skipped - self._failed
        not_tried = f", {left} not tried" if left else ""
        return f"{self._made} made, {self._skipped} already there, {self._failed} failed{not_tried}"

    async def _tell_now_and_then(self) -> None:
        """How far it is, where no bar shows it."""
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            done = self._made + self._skipped + self._failed
            self._say(f"{done} of {len(self._targets)} photos done")

    async def _one(
        self, client: AsyncClient, photo: Path, target: Path, tell: Callable[[str], None] | None
    ) -> None:
        """One photo, or a line about it; ``tell`` is told its stages."""
        try:
            content = photo_bytes(photo)
            fingerprint = Finished.fingerprint(content, self._batch)
            if not self._batch.again and self._finished.has(target, fingerprint, self._batch):
                self._skipped += 1
                if not self._many:
                    self._say(f"{target} is already there, of this photo and options; --again makes it again")
                return
            avatar = await client.create(
                content,
                self._batch.pipeline,
                preview=self._batch.preview,
                progress=tell,
                **self._batch.options,
            )
        except (FacewrightClientError, OSError) as error:
            await self._fail(client, photo, error)
            return
        self._heard()
        if self._finished.of_another_photo(target, fingerprint):
            self._say(f"{photo}: {target} was made of another photo and is replaced")
        try:
            written = _write(avatar, target, self._batch)
            self._finished.add(target, fingerprint)
        except OSError as error:  # the next would not find more room
            self._give_up(
                photo,
                f"error: {error.filename or target} cannot be written: {reason(error)}; mend: "
                f"{make_folder_first(target) or 'make room'} or give another --output, and run it again: "
                "what was made is kept",
            )
            return
        self._made += 1
        for warning in avatar.warnings:
            self._say(f"{f'{photo}: ' if self._many else ''}warning: {warning}")
        if not self._many:
            self._say(f"wrote {', '.join(map(str, written))}")

    async def _fail(self, client: AsyncClient, photo: Path, error: FacewrightClientError | OSError) -> None:
        line = _line(photo, error)
        if isinstance(error, BadRequestError):
            served = await _served(client)
            if served is not None and self._batch.pipeline not in served:
                there = ", ".join(served) or "no pipeline that makes avatars"
                what = f"the server at {self._url} does not serve {self._batch.pipeline}"
                self._give_up(photo, f"error: {what}; mend: choose another --pipeline; it serves {there}")
                return
        if isinstance(error, (WrongServerError, UnauthenticatedError)) or (
            isinstance(error, ServerUnavailableError) and not self._answered
        ):
            self._give_up(photo, line)
            return
        if isinstance(error, FacewrightClientError) and error.stage:
            self._heard()
        self._failed += 1
        self._say(line)

    def _give_up(self, photo: Path, line: str) -> None:
        """It will be the same for every photo: say so once, and try no others."""
        self._failed += 1
        self._stop_waiting()
        if self._given_up:
            self._alike.append(photo)
        else:
            self._given_up = True
            self._say(line)

    def _waiting(self, error: FacewrightClientError) -> None:
        """A photo is to be sent again; what for is told when nothing has been heard for a while, and later
        for a longer while: a batch before a busy server has many such moments.
        """
        self._waits_for = error
        if self._waits is None:
            self._waits = asyncio.get_running_loop().call_later(self._patience_s, self._tell_waiting)

    def _tell_waiting(self) -> None:
        self._patience_s = _TOLD_AGAIN_S
        gone = isinstance(self._waits_for, ServerUnavailableError)
        longest = self._connection.timeout_s
        if gone:
            longest = self._connection.retries.unavailable_s or longest
        self._say(f"waiting up to {longest:g} s for the server at {self._url}: {self._waits_for}")

    def _heard(self) -> None:
        """The server has answered."""
        self._answered = True
        self._stop_waiting()
        self._waits = None

    def _stop_waiting(self) -> None:
        if self._waits is not None:
            self._waits.cancel()

    def _say(self, line: str) -> None:
        self._console.print(printable(runnable(line)), soft_wrap=True)


async def _served(client: AsyncClient) -> list[str] | None:
    try:
        return await client.pipelines()
    except FacewrightClientError:
        return None


def _prepare_output(batch: Batch) -> None:
    folder = batch.folder
    try:
        if batch.single:
            if not folder.is_dir():
                folder.stat()  # says whether it is not there, or cannot be seen
                raise _no_output(f"{folder} is no folder")
        elif folder.exists() and not folder.is_dir():
            what = obstacle(folder)
            raise _no_output(f"{folder} {f'{what}, and no folder' if what else 'is a file, not a folder'}")
        try_folder(_there(folder))
        remove_forgotten(folder)
        for folder in _led_to(batch):
            try_folder(folder)
            remove_forgotten(folder)
    except OSError as error:
        mend = make_folder_first(folder / FINISHED_FILE) if isinstance(error, FileNotFoundError) else ""
        raise _no_output(
            f"nothing can be written to {folder}: {reason(error)}", f"{mend}, or " if mend else ""
        ) from None


def _there(folder: Path) -> Path:
    """A folder, or the nearest above it that is there: it is made when the first avatar is."""
    while not folder.exists():
        if folder.is_symlink():
            folder.stat()  # says why
        folder = folder.parent
    return folder


def _led_to(batch: Batch) -> list[Path]:
    """The folders that links in a batch's folder lead to.

    Raises:
        FacewrightError: BAD_OPTION when a file to write cannot be one.
    """
    places: dict[Path, None] = {}
    leading: dict[Path, Path] = {}
    for path in batch.written():
        what = obstacle(path)
        if what:
            raise _no_output(f"{path} {what}", "remove it, or " if path != batch.output else "")
        file = file_behind(path)
        if leading.setdefault(file, path) != path:
            raise _no_output(f"{path} and {leading[file]} are the same file")
        if path.is_symlink():
            places[file.parent] = None
    return list(places)


def _no_output(what: str, mend: str = "") -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_OPTION, what, f"{mend}give another --output: a .glb, or a folder")


def _write(avatar: Avatar, target: Path, batch: Batch) -> list[Path]:
    """Each file whole or not at all; the avatar last, by whose presence one looks. Returns their paths."""
    if not batch.single:
        batch.folder.mkdir(parents=True, exist_ok=True)
    written = []
    if avatar.preview is not None:
        written.append(write_whole(preview_path(target), avatar.preview))
    if batch.report:
        written.append(write_whole(report_path(target), json.dumps(avatar.report, indent=2).encode()))
    return [avatar.save(target), *written]


def _is_whole_glb(path: Path) -> bool:
    """Whether a binary glTF file is as long as its header says (section 4.4.2 of the specification)."""
    try:
        with path.open("rb") as file:
            header = file.read(12)
            return header[:4] == b"glTF" and int.from_bytes(header[8:12], "little") == path.stat().st_size
    except OSError:
        return False


def _is_whole_png(path: Path) -> bool:
    """Whether a PNG has its last chunk."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")


def _is_whole_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False


def each_once(photos: Iterable[Path]) -> tuple[Path, ...]:
    """Photos without those that were given before, in whatever spelling of the path."""
    given: dict[tuple[str, str], Path] = {}
    for photo in photos:
        given.setdefault((os.path.realpath(photo), photo.name), photo)
    return tuple(given.values())


def _targets(photos: Iterable[Path], folder: Path) -> list[Path]:
    """One ``.glb`` for each photo: its name, with its extension and then a number where names collide."""
    taken: set[str] = set()
    targets = []
    for photo in photos:
        numbered = (f"{photo.name}-{number}" for number in count(2))
        name = next(name for name in chain((photo.stem, photo.name), numbered) if name not in taken)
        taken.add(name)
        targets.append(folder / f"{name}.glb")
    return targets


def _identities(path: Path) -> set[object]:
    """A file by its path and, where it exists, by its inode: links and letter case make other names."""
    found: set[object] = {os.path.realpath(path)}  # where Path.resolve() raises for links in a circle
    try:
        status = path.stat()
        found.add((status.st_dev, status.st_ino))
    except OSError:
        pass
    return found


def _line(photo: Path, error: FacewrightClientError | OSError) -> str:
    if isinstance(error, FacewrightClientError):
        return f"{photo}: {error.code}: {error}"
    return f"{photo}: {reason(error)}{_cause(photo, error)}"


def _cause(photo: Path, error: OSError) -> str:
    """What may be behind a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        if photo.is_symlink():
            return f"; it is a link to {os.readlink(photo)}, which is not there"
        if any(character in str(photo) for character in "*?["):
            return (
                "; take off the quotes, so that the shell finds the files"
                if _meets_files(photo)
                else ("; no file has a name like that")
            )
        if str(photo).startswith("~"):
            return "; a shell replaces ~ only where it is not quoted"
        return "; check the name and the folder"
    if error.errno == errno.ELOOP:
        return "; it is a link that leads back to itself"
    return "; allow this user to read it" if isinstance(error, PermissionError) else ""


def _meets_files(pattern: Path) -> bool:
    """Whether a pattern, as a shell reads it, is met by any file."""
    return next(iglob(str(pattern), recursive=True), None) is not None
