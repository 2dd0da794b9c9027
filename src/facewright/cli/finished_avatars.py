"""Which avatars were made before, so that a second run of ``facewright create`` makes only the rest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from facewright.cli.batch import FINISHED_FILE, Batch, code_path, preview_path, report_path
from facewright.code.code_file import split_codes
from facewright.core.errors import FacewrightError
from facewright_client._whole_file import write_whole


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
        """Hash of everything that the avatar depends on, but the server's version, and that of the photo, or
        of the photos of one person, one after the other."""
        more = ["code"] * batch.code + ["together"] * batch.together
        asked = json.dumps(
            [batch.pipeline, batch.options, batch.preview, batch.report, *more], sort_keys=True
        )
        of_photo = hashlib.sha256(photo)
        return f"{hashlib.sha256(of_photo.digest() + asked.encode()).hexdigest()} {of_photo.hexdigest()}"

    def has(self, target: Path, fingerprint: str, batch: Batch) -> bool:
        """Whether ``target`` was made so, and with it everything that the batch asks for."""
        return (
            self._made_of(target)[:1] == fingerprint.split()[:1]
            and _is_whole_glb(target)
            and not (batch.preview and not _is_whole_png(preview_path(target)))
            and not (batch.report and not _is_whole_json(report_path(target)))
            and not (batch.code and not _has_codes(code_path(target)))
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


def _has_codes(path: Path) -> bool:
    """Whether a file has a whole code, or several."""
    try:
        return bool(split_codes(path.read_bytes()))
    except (OSError, FacewrightError):
        return False
