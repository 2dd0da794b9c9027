"""Files that a running server reads again when they change: keys, certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

CHECK_EVERY_S: Final = 1.0


class FileState(NamedTuple):
    """What tells one content of a file from the next without reading it."""

    inode: int
    size: int
    modified_ns: int


class FollowedFiles:
    """Some files, and whether they are still those that were read last.

    They are asked rather than watched: a Kubernetes secret is a chain of links, of which only the first is
    replaced, and network file systems announce nothing.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._read: tuple[FileState | None, ...] | None = None

    def changed(self) -> bool:
        """Whether one of them is another than at the last call; true at the first.

        To be called before they are read: what is written meanwhile is then noticed at the next call.
        """
        now = tuple(_state(path) for path in self._paths)
        changed, self._read = now != self._read, now
        return changed


class Reloadable(Protocol):
    """What has files that it follows."""

    def reload(self) -> None:
        """Read them again where they changed. May block; raises nothing of what is wrong with the files."""


async def follow(*reloadables: Reloadable, every_s: float = CHECK_EVERY_S) -> None:
    """Keep them at what their files say, until this is cancelled. Files are touched off the loop."""
    while True:
        await asyncio.sleep(every_s)
        for reloadable in reloadables:
            await asyncio.to_thread(reloadable.reload)


def _state(path: Path) -> FileState | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns)
