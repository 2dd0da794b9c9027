"""Files that are written whole or not at all."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final
from uuid import uuid4

_UNFINISHED: Final = re.compile(r"\.facewright-[0-9a-f]{32}")
#: No file takes longer to write.
_FORGOTTEN_AFTER_S: Final = 3600.0


def write_whole(path: str | Path, content: bytes) -> Path:
    """Write a file, all of it or nothing; returns its path.

    Until it is whole its bytes are in a hidden file beside it.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    path = Path(path)
    # A name of its own for each call, since several may write the same file at once, and a short one: with
    # the file's own it could be longer than names may be.
    unfinished = path.with_name(f".facewright-{uuid4().hex}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def remove_forgotten(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `write_whole` left in a folder."""
    for path in folder.glob(".facewright-*"):
        if _UNFINISHED.fullmatch(path.name):
            try:
                if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
                    path.unlink()
            except OSError:  # somebody else was faster, or owns it
                continue
