"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

_UNFINISHED: Final = re.compile(r"\.facewright-[0-9a-f]{32}")
#: No file takes longer to write.
_FORGOTTEN_AFTER_S: Final = 3600.0
#: What keeps a file from being written, by the system's number.
_OBSTACLES: Final = {
    errno.ELOOP: "is a link that leads back to itself",
    errno.EISDIR: "is a folder",
    errno.EEXIST: "is no file, but a pipe, a socket or a device",
}


def obstacle(path: Path) -> str:
    """What is at a path and cannot be written over, such as "is a folder"; "" where nothing is, or a file.

    Raises:
        OSError: it cannot be seen.
    """
    number = _obstacle(path)
    return _OBSTACLES[number] if number else ""


def file_behind(path: Path) -> Path:
    """The file that a path leads to, through links, be it there or not."""
    # Not Path.resolve(), which raises for links in a circle.
    return Path(os.path.realpath(path))


def make_folder_first(path: Path) -> str:
    """What to do before a file can be written whose folder is not there; "" where it is."""
    folder = file_behind(path).parent if path.is_symlink() else path.parent
    try:
        folder.stat()
    except FileNotFoundError:
        return "" if folder.is_symlink() else f"make the folder {folder} first"
    except OSError:
        pass
    return ""


def check_name(name: str) -> None:
    """Refuse what no file can be called.

    Raises:
        ValueError: empty, with a NUL character, or with characters that the file system has not.
    """
    if not name:
        raise ValueError("an empty name is no file's")
    try:
        usable = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValueError(f"no file can have the name {name!r:.100}")


def write_whole(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, all of it or nothing; returns its path.

    Until it is whole its bytes are in a hidden file beside it. Where the path is a link, what it leads to is
    written and the link stays.

    Raises:
        ValueError: no file can have that name.
        OSError: it cannot be written, a folder, a pipe, a socket or a device is there; what was there before
            is still there.
    """
    check_name(os.fspath(path))
    path = Path(path)
    number = _obstacle(path)
    if number:
        raise OSError(number, f"it {_OBSTACLES[number]}; give the name of a file", str(path))
    target = file_behind(path)
    # A name of its own for each call, since several may write the same file at once, and a short one: with
    # the file's own it could be longer than names may be.
    unfinished = target.with_name(f".facewright-{uuid4().hex}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(target)
    except OSError as error:
        mend = make_folder_first(path)
        why = f"{error.strerror}: {mend}" if mend else error.strerror
        raise OSError(error.errno, why, str(path)) from None  # not of the hidden one, which nobody gave
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def try_folder(folder: Path) -> None:
    """Write a file that nobody sees into a folder.

    Raises:
        OSError: nothing can be written there.
    """
    with tempfile.TemporaryFile(dir=folder) as trial:
        trial.write(b"\0")


def remove_forgotten(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `write_whole` left in a folder."""
    for path in folder.glob(".facewright-*"):
        if _UNFINISHED.fullmatch(path.name):
            try:
                if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
                    path.unlink()
            except OSError:  # somebody else was faster, or owns it
                continue


def _obstacle(path: Path) -> int:
    """The system's number for what keeps a path from being written; 0 for nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return 0
    except OSError as error:
        if error.errno == errno.ELOOP:
            return errno.ELOOP
        raise
    if stat.S_ISDIR(mode):
        return errno.EISDIR
    return 0 if stat.S_ISREG(mode) else errno.EEXIST
