"""A photo as it is given: bytes, or the path of a file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from facewright_client import contract
from facewright_client._errors import BadPhotoError, FacewrightClientError, PhotoTooLargeError, of_photo
from facewright_client._whole_file import check_name

Photo = bytes | bytearray | memoryview | str | os.PathLike[str]
#: One photo, or a list or tuple of several of one person; codes, too, in a photo's place.
Photos = Photo | Sequence[Photo]

_URL: Final = re.compile(r"(https?|ftps?|file|data|s3|gs|blob):", re.IGNORECASE)


#: Of Linux's (PATH_MAX).
_LONGEST_PATH: Final = 4096


def is_url(text: str) -> bool:
    """Whether a path is rather a URL."""
    return _URL.match(text) is not None


def photo_bytes(photo: Photo) -> bytes:
    """A photo's encoded bytes, given so or as a path.

    Raises:
        BadPhotoError: what was given cannot be a photo: a URL, a folder, a pipe, nothing.
        PhotoTooLargeError: more bytes than any server takes; nothing was read or sent.
        OSError: the file is not there or cannot be read.
        TypeError: neither bytes nor a path.
    """
    if isinstance(photo, (str, os.PathLike)):
        check_photo_file(photo)
        return Path(photo).read_bytes()
    content = _encoded(photo)
    _check_size(len(content))
    return content


def numbered(photo: Photo, number: int) -> bytes:
    """`photo_bytes` of one of several photos; its errors say which it is."""
    try:
        return photo_bytes(photo)
    except FacewrightClientError as error:
        raise of_photo(error, number) from None


def is_code(content: bytes) -> bool:
    """Whether what was given for a photo is a code, or several one after the other."""
    return content.startswith(contract.CODE_MAGIC)


def several(photos: Photos) -> list[Photo] | None:
    """The photos of one person; None: it is one photo.

    Raises:
        BadPhotoError: there are none, or too many.
    """
    if not isinstance(photos, (list, tuple)):
        return None
    if not photos:
        raise BadPhotoError("there is no photo in the list", "give one, or several of one person")
    if len(photos) > contract.MAX_CODES:
        raise BadPhotoError(
            f"there are {len(photos)} photos of one person",
            f"give at most {contract.MAX_CODES}, the sharpest",
        )
    return list(photos)


def check_photo_file(path: str | os.PathLike[str]) -> None:
    """Whether a file may be a photo, by what can be told without reading it.

    Raises:
        As `photo_bytes`.
    """
    name = os.fspath(path)
    if not name:
        raise BadPhotoError("the photo is an empty name", "give a file, or its bytes")
    if len(name) > _LONGEST_PATH or name.startswith("data:"):
        # Not quoted: it may be the photo itself.
        raise BadPhotoError(
            f"the photo is a text of {len(name)} letters, not the path of a file",
            "decode it where it is base64, and give the bytes",
        )
    if is_url(name):
        raise BadPhotoError("the photo is a URL", "download it, and give the file")
    try:
        check_name(name)
    except ValueError as error:
        raise BadPhotoError(f"the photo's name is none: {error}", "give a file, or its bytes") from None
    status = Path(path).stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise BadPhotoError(f"the photo is {kind}", "give a file")
    _check_size(status.st_size)
    with Path(path).open("rb"):
        return


def _encoded(photo: object) -> bytes:
    """What is not a path as bytes."""
    if isinstance(photo, bytes):
        return photo
    kind = type(photo).__name__
    taken = f"a photo is the bytes of a {contract.PHOTO_FORMATS} file, or its path"
    try:
        view = memoryview(photo)  # type: ignore[arg-type]
    except TypeError:
        mend = "give what its read() returns" if hasattr(photo, "read") else "save it as such a file"
        raise TypeError(f"{taken}, not {kind}; {mend}") from None
    if view.ndim != 1 or view.itemsize != 1:
        raise TypeError(f"{taken}, not {kind} of shape {view.shape}; save pixels as such a file")
    return view.tobytes()


def _check_size(size: int) -> None:
    if not size:
        raise BadPhotoError("the photo is empty", f"give a whole {contract.PHOTO_FORMATS} file")
    if size > contract.MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(
            f"the photo has {size} bytes", f"send at most {contract.MAX_PHOTO_BYTES >> 20} MiB"
        )
