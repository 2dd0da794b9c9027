"""What every reader of checkpoints shares: the errors, and what a file's first bytes and sizes say of it."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: No published checkpoint of the five pipelines comes near this; what claims more is not read into memory.
MAXIMUM_BYTES: Final = 6 << 30
#: Small archives may inflate freely: a few megabytes hurt nobody.
_FREE_BYTES: Final = 64 << 20
#: Deflate shrinks zeros to a thousandth; weights and meshes stay above a tenth.
_LARGEST_INFLATION: Final = 40
_SHOWN: Final = 20

ZIP_MAGIC: Final = b"PK\x03\x04"
_LFS_MAGIC: Final = b"version https://git-lfs"

AGAIN: Final = "download the file again and compare its size and checksum with the publisher's"
WHICH: Final = "check which file this is"


class CheckpointError(Exception):
    """A checkpoint that cannot be used.

    Args:
        what: which file or network, and what is wrong with it.
        seen: the value or names that were found.
        mend: what its owner can do.
    """

    def __init__(self, what: str, seen: str, mend: str) -> None:
        super().__init__(f"{what}: {seen}; {mend}")
        self.what = what
        self.seen = seen
        self.mend = mend


class UnreadableCheckpointError(CheckpointError):
    """The file is missing, cut short, damaged, or of another format."""


class UnsafeCheckpointError(CheckpointError):
    """The file asks to run code or to fill the memory; nothing of it was run."""


class LayoutError(CheckpointError):
    """The file does not hold what the network needs: entries are missing, extra or mis-shaped."""


class WeightError(CheckpointError):
    """The weights hold NaN or infinity."""


def first_bytes(path: Path) -> bytes:
    """The first 512 bytes of a file that exists, is not empty, and is not larger than any checkpoint."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UnreadableCheckpointError(
            f"checkpoint {path}", error.strerror or str(error), "check the path"
        ) from error
    if not start:
        raise UnreadableCheckpointError(f"checkpoint {path}", "the file is empty", AGAIN)
    if size > MAXIMUM_BYTES:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"{size / 2**30:.1f} GiB, more than any published checkpoint",
            "check the path",
        )
    return start


def wrong_format(path: Path, start: bytes, expected: str) -> UnreadableCheckpointError:
    """The error for a file that does not begin as ``expected`` does: what it is instead."""
    begins = start.lstrip()[:200].lower()
    if begins.startswith((b"<!doctype", b"<html", b"<?xml")):
        seen = "it is a web page"
        mend = "the download ended on a login or confirmation page: download it in a browser"
    elif start.startswith(_LFS_MAGIC):
        seen, mend = "it is a Git LFS pointer, not the file", "fetch the file itself with `git lfs pull`"
    elif start.startswith(ZIP_MAGIC):
        seen, mend = "it is a zip archive", "unpack it and give the file inside"
    elif start.startswith(b"\x1f\x8b"):
        seen, mend = "it is compressed with gzip", "unpack it and give the file inside"
    elif start[257:262] == b"ustar":
        seen, mend = "it is a tar archive", "unpack it and give the file inside"
    elif start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        seen, mend = "it is a pickle that torch.save did not write", WHICH
    else:
        seen, mend = f"it begins with {start[:16]!r}", WHICH
    return UnreadableCheckpointError(f"{path} is not {expected}", seen, mend)


def damaged(path: Path, error: Exception) -> UnreadableCheckpointError:
    """The error for a file that a reader stumbled over, with the first sentence of what the reader said."""
    reason = str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__
    return UnreadableCheckpointError(f"checkpoint {path}", f"damaged or cut short ({reason})", AGAIN)


def check_archive(path: Path) -> None:
    """Refuse an archive that torch.save did not write, that is damaged, or that claims more than it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise damaged(path, error) from error
    if any(info.filename.endswith("/constants.pkl") for info in members):
        raise LayoutError(
            f"checkpoint {path}",
            "it is a TorchScript program",
            "give the state dict: torch.save(torch.jit.load(file).state_dict(), 'weights.pt')",
        )
    on_disk, declared = path.stat().st_size, sum(info.file_size for info in members)
    compressed = [info.filename for info in members if info.compress_type != zipfile.ZIP_STORED]
    if compressed:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"its entries are compressed ({listed(compressed)}), which torch.save never does",
            "take the published file as it is",
        )
    # overlapping entries add up to more than the file even where each of them is stored
    if declared > min(on_disk, MAXIMUM_BYTES):
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"its entries claim {declared / 2**20:.1f} MiB, the file has {on_disk / 2**20:.1f} MiB",
            AGAIN,
        )


def listed(names: Sequence[str]) -> str:
    """``names`` separated by commas: the first 20, and how many there are in all."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, … ({len(names)} in all)"


def inflation_bound(on_disk: int) -> int:
    """How many bytes a compressed file of ``on_disk`` bytes may inflate to before it counts as a bomb."""
    return min(max(_FREE_BYTES, _LARGEST_INFLATION * on_disk), MAXIMUM_BYTES)
