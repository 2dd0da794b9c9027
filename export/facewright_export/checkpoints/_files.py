"""What every reader of checkpoints shares: the errors, and what a file's first bytes and sizes say of it."""

from __future__ import annotations

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
_LONGEST_REASON: Final = 200

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


def damaged(path: Path, error: Exception) -> UnreadableCheckpointError:
    """The error for a file that a reader stumbled over, with the first sentence of what the reader said."""
    reason = str(error).strip().split("\n")[0].split(". ")[0][:_LONGEST_REASON] or type(error).__name__
    reason = "".join(letter if letter.isprintable() else "?" for letter in reason)
    return UnreadableCheckpointError(f"checkpoint {path}", f"damaged or cut short ({reason})", AGAIN)


def listed(names: Sequence[str]) -> str:
    """``names`` separated by commas: the first 20, and how many there are in all."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, … ({len(names)} in all)"


def inflation_bound(on_disk: int) -> int:
    """How many bytes a compressed file of ``on_disk`` bytes may inflate to before it counts as a bomb."""
    return min(max(_FREE_BYTES, _LARGEST_INFLATION * on_disk), MAXIMUM_BYTES)
