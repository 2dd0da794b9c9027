"""What is told of a photo that no avatar was made of."""

from __future__ import annotations

import errno
import os
from glob import iglob
from pathlib import Path

from facewright.cli.messages import reason
from facewright_client import FacewrightClientError


def photo_failure(photo: Path, error: FacewrightClientError | OSError) -> str:
    """One line: the photo, what was wrong, and what may be behind it."""
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
