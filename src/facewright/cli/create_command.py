"""``facewright create``: many photos, several at once, resumable, one line for each that fails."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from facewright.core.errors import FacewrightError
from facewright_client import AsyncClient, Connection, FacewrightClientError, Tls
from facewright_client.contract import ErrorCode

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
        timeout_s: for one photo.

    Raises:
        FacewrightError: BAD_OPTION when a file to write is one of the photos.
    """

    photos: tuple[Path, ...]
    output: Path
    options: dict[str, Any] = field(default_factory=dict)
    pipeline: str = "avatar_twin"
    preview: bool = False
    report: bool = False
    again: bool = False
    parallel: int = 4
    timeout_s: float = 120.0

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

    def __post_init__(self) -> None:
        # Before any work, a server's start included: a photo that is overwritten cannot be brought back.
        photos = {identity for photo in self.photos for identity in _identities(photo)}
        written = [self.folder / FINISHED_FILE]
        for target in self.targets():
            written += [target, preview_path(target), report_path(target)]
        for path in written:
            if photos.intersection(_identities(path)):
                raise FacewrightError(
                    ErrorCode.BAD_OPTION,
                    f"{path} would be overwritten, and is one of the photos",
                    "write into another folder",
                )


class Finished:
    """What was made before, so that a second run makes only the rest.

    A file counts as finished when it exists and was made of the same photo with the same options.

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
        """Hash of everything that the avatar depends on, but the server's version."""
        asked = json.dumps([batch.pipeline, batch.options, batch.preview, batch.report], sort_keys=True)
        return hashlib.sha256(hashlib.sha256(photo).digest() + asked.encode()).hexdigest()

    def has(self, target: Path, fingerprint: str) -> bool:
        """Whether ``target`` is there and was made so."""
        return target.is_file() and self._made.get(target.name) == fingerprint

    def add(self, target: Path, fingerprint: str) -> None:
        """Note that ``target`` is finished."""
        self._made[target.name] = fingerprint
        unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(self._made, indent=0, sort_keys=True))
        unfinished.replace(self._path)


def preview_path(target: Path) -> Path:
    """The preview beside an avatar: never ``NAME.png``, which is often the photo itself."""
    return target.with_name(f"{target.stem}.preview.png")


def report_path(target: Path) -> Path:
    """The report beside an avatar."""
    return target.with_name(f"{target.stem}.report.json")


def create_avatars(batch: Batch, url: str, tls: Tls | None = None) -> int:
    """Make all avatars of a batch; returns 0, 1 when any photo failed, 2 when the request makes no sense."""
    if batch.single and len(batch.photos) > 1:
        print(f"error: {len(batch.photos)} photos cannot go into one file; give a folder", file=sys.stderr)
        return 2
    batch.folder.mkdir(parents=True, exist_ok=True)

    async def connected() -> int:
        # A connection belongs to the event loop that it is opened in.
        async with AsyncClient(url, Connection(tls=tls)) as client:
            return await _create_all(batch, client, batch.targets(), Finished(batch.folder))

    return asyncio.run(connected())


async def _create_all(batch: Batch, client: AsyncClient, targets: list[Path], finished: Finished) -> int:
    console = Console(stderr=True)
    failed = skipped = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    jobs = iter(list(zip(batch.photos, targets, strict=True)))
    with Progress(*columns, console=console, disable=len(targets) == 1 or not console.is_terminal) as bar:
        task = bar.add_task("avatars", total=len(targets))

        async def worker() -> None:
            nonlocal failed, skipped
            # One iterator for all workers: each takes the next photo when it is free.
            for photo, target in jobs:
                try:
                    made = await _create_one(client, batch, photo, target, finished)
                    skipped += not made
                except (FacewrightClientError, OSError) as error:
                    failed += 1
                    console.print(_line(photo, error), markup=False, highlight=False, soft_wrap=True)
                bar.advance(task)

        await asyncio.gather(*(worker() for _ in range(min(batch.parallel, len(targets)))))
    made = len(targets) - failed - skipped
    if len(targets) > 1 or skipped:
        console.print(f"{made} made, {skipped} already there, {failed} failed", highlight=False)
    return int(failed > 0)


async def _create_one(
    client: AsyncClient, batch: Batch, photo: Path, target: Path, finished: Finished
) -> bool:
    """Whether the avatar had to be made."""
    content = photo.read_bytes()
    fingerprint = Finished.fingerprint(content, batch)
    if not batch.again and finished.has(target, fingerprint):
        return False
    avatar = await client.create(
        content, batch.pipeline, preview=batch.preview, timeout_s=batch.timeout_s, **batch.options
    )
    if avatar.preview is not None:
        preview_path(target).write_bytes(avatar.preview)
    if batch.report:
        report_path(target).write_text(json.dumps(avatar.report, indent=2))
    avatar.save(target)
    finished.add(target, fingerprint)
    return True


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
    found: set[object] = {path.resolve()}
    try:
        status = path.stat()
        found.add((status.st_dev, status.st_ino))
    except OSError:
        pass
    return found


def _line(photo: Path, error: Exception) -> str:
    if isinstance(error, FacewrightClientError):
        return f"{photo}: {error.code}: {error}"
    return f"{photo}: {error.strerror or error}" if isinstance(error, OSError) else f"{photo}: {error}"
