"""What one ``facewright create`` is asked for: its photos, and the files that it writes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from facewright.core.errors import FacewrightError
from facewright_client.contract import MAX_CODES, ErrorCode

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
        preview, report, code: also write ``NAME.preview.png``, ``NAME.report.json`` and ``NAME.code``.
        together: whether all photos are of one person, who becomes one avatar.
        again: make finished avatars again.
        parallel: photos under way at once.

    Raises:
        FacewrightError: BAD_OPTION when a file to write is one of the photos, there are several photos for
            one file, or more of one person than are merged.
    """

    photos: tuple[Path, ...]
    output: Path
    options: dict[str, Any] = field(default_factory=dict)
    pipeline: str = "avatar_twin"
    preview: bool = False
    report: bool = False
    code: bool = False
    together: bool = False
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

    @property
    def people(self) -> list[tuple[Path, ...]]:
        """The photos of each avatar."""
        return [self.photos] if self.together else [(photo,) for photo in self.photos]

    def targets(self) -> list[Path]:
        """The ``.glb`` of each of `people`; in a folder it has the name of the first photo."""
        firsts = [photos[0] for photos in self.people if photos]
        return [self.output] if self.single else _targets(firsts, self.folder)

    def written(self) -> list[Path]:
        """Every file that is written, by the names that are given to it."""
        paths = [self.folder / FINISHED_FILE]
        for target in self.targets():
            paths.append(target)
            if self.preview:
                paths.append(preview_path(target))
            if self.report:
                paths.append(report_path(target))
            if self.code:
                paths.append(code_path(target))
        return paths

    def __post_init__(self) -> None:
        if self.single and len(self.people) > 1:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"{len(self.photos)} photos cannot go into the one file {self.output}",
                "give a folder, or, where all are of one person, --together",
            )
        if self.together and len(self.photos) > MAX_CODES:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"--together with {len(self.photos)} photos",
                f"give at most {MAX_CODES}, the sharpest",
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


def preview_path(target: Path) -> Path:
    """The preview beside an avatar: never ``NAME.png``, which is often the photo itself."""
    return target.with_name(f"{target.stem}.preview.png")


def report_path(target: Path) -> Path:
    """The report beside an avatar."""
    return target.with_name(f"{target.stem}.report.json")


def code_path(target: Path) -> Path:
    """The code beside an avatar."""
    return target.with_name(f"{target.stem}.code")


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
