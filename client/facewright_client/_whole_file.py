"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4


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
