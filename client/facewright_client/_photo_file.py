"""A photo as it is given: bytes, or the path of a file."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

from facewright_client import contract
from facewright_client._errors import BadPhotoError, PhotoTooLargeError

Photo = bytes | str | os.PathLike[str]

_URL: Final = re.compile(r"(https?|ftps?|file|data|s3|gs|blob):", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether a path is rather a URL."""
    return _URL.match(text) is not None


def photo_bytes(photo: Photo) -> bytes:
    """A photo's encoded bytes, given so or as a path.

    Raises:
        BadPhotoError: what was given cannot be a photo: a URL, a folder, a pipe, nothing.
        PhotoTooLargeError: more bytes than any server takes; nothing was read or sent.
        OSError: the file is not there or cannot be read.
    """
    if isinstance(photo, bytes):
        _check_size(len(photo))
        return photo
    check_photo_file(photo)
    return Path(photo).read_bytes()


def check_photo_file(path: str | os.PathLike[str]) -> None:
    """Whether a file may be a photo, by what can be told without reading it.

    Raises:
        As `photo_bytes`.
    """
    if is_url(os.fspath(path)):
        raise BadPhotoError("the photo is a URL", "download it, and give the file")
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise BadPhotoError(f"the photo is {kind}", "give a file")
    _check_size(status.st_size)
    if not status.st_size:
        raise BadPhotoError("the photo is empty", f"give a whole {contract.PHOTO_FORMATS} file")
    with Path(path).open("rb"):
        return


def _check_size(size: int) -> None:
    if size > contract.MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(
            f"the photo has {size} bytes", f"send at most {contract.MAX_PHOTO_BYTES >> 20} MiB"
        )
