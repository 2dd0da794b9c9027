"""Files that are no checkpoint of ours, by their first bytes: what each is, and what its owner can do."""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path
from typing import Final

from facewright_export.checkpoints._files import (
    AGAIN,
    WHICH,
    CheckpointError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    damaged,
    first_bytes,
    listed,
)

ZIP_MAGIC: Final = b"PK\x03\x04"
#: What `torch.save` wrote before it wrote zip archives: a pickled number, in whichever protocol.
LEGACY_TORCH: Final = re.compile(
    rb"\x80[\x02-\x05](?:\x95\x0d\x00{7})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL
)

#: A pickle's beginning: protocols 2 to 5, or 0 and 1 of a dict, a list or an instance.
PICKLE: Final = re.compile(rb"\x80[\x02-\x05]|\([dil]|\(?c[\w.]+\n[\w.]+\n|\}")

_UNPACK: Final = "unpack it and give the file inside"
_CONVERT: Final = "take the published PyTorch file, or save the same names and shapes with torch.save"
_NOT_WEIGHTS: Final = "give the checkpoint that it was made from"
_BROWSER: Final = "the download ended on a login or confirmation page: download it in a browser"

#: First bytes, where they stand, what begins so, what mends it.
_MAGICS: Final = (
    (0, b"\x89HDF\r\n\x1a\n", "HDF5, as Keras and MATLAB 7.3 write it", _CONVERT),
    (0, b"\x93NUMPY", "a NumPy array", _CONVERT),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file", "fetch it with `git lfs pull`"),
    (0, b"/annex/objects", "a git-annex pointer, not the file", "fetch it with `git annex get`"),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed with xz", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a rar archive", _UNPACK),
    (0, b"GGUF", "a GGUF file", _CONVERT),
    (0, b"\x12\x01\x00\x00\x00\x00\x00\x00", "an MXNet file", _CONVERT),
    (0, b"ftrt", "a TensorRT plan", _NOT_WEIGHTS),
    (4, b"TFL3", "a TensorFlow Lite file", _CONVERT),
    (4, b"ET12", "an ExecuTorch program", _NOT_WEIGHTS),
)
#: Names of formats whose first bytes say nothing of them.
_ENDINGS: Final = (
    (r"\.onnx", "an ONNX file", _NOT_WEIGHTS),
    (r"\.pb", "a TensorFlow graph", _CONVERT),
    (r"\.(index|meta|data-\d+-of-\d+)", "a TensorFlow checkpoint", _CONVERT),
    (r"\.(mlmodel|caffemodel|pdmodel|xml)", "a model of another framework", _CONVERT),
)
_PLAIN_PICKLE: Final = (
    "where you trust it, save what it holds with PyTorch: "
    "torch.save(pickle.load(open(FILE, 'rb')), 'weights.pt')"
)
#: How much of a pickle is searched for the names in NVIDIA's.
_SEARCHED_BYTES: Final = 1 << 20


def is_safetensors(start: bytes) -> bool:
    """Whether a file begins as ``.safetensors`` do: the length of a header, then JSON."""
    return start[8:9] == b"{" and not start.startswith(b"{")


def wrong_format(path: Path, expected: str) -> CheckpointError:
    """The error for a file that does not begin as ``expected`` does: what it is instead."""
    start = first_bytes(path)
    seen, mend = _foreign(path, start) or _checkpoint_of_another_kind(path, start)
    if "Python source code" in seen:
        return UnsafeCheckpointError(f"checkpoint {path}", seen, mend)
    return UnreadableCheckpointError(f"{path} is not {expected}", f"it is {seen}", mend)


def require_checkpoint(path: Path) -> None:
    """Refuses a file that no importer reads, whichever network it is meant for.

    Raises UnreadableCheckpointError (a missing or empty file, a web page, an archive, another framework's)
    and UnsafeCheckpointError (too large, or code to be run).
    """
    start = first_bytes(path)
    if _foreign(path, start) is not None:
        raise wrong_format(path, "a checkpoint")


def check_archive(path: Path) -> None:
    """Refuse an archive that torch.save did not write, that is damaged, or that claims more than it holds."""
    if (foreign := _foreign_archive(path)) is not None:
        seen, mend = foreign
        raise UnreadableCheckpointError(f"{path} is not a file written by torch.save", f"it is {seen}", mend)
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    on_disk, declared = path.stat().st_size, sum(info.file_size for info in members)
    compressed = [info.filename for info in members if info.compress_type != zipfile.ZIP_STORED]
    if compressed:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"its entries are compressed ({listed(compressed)}), which torch.save never does",
            "take the published file as it is",
        )
    # overlapping entries add up to more than the file even where each of them is stored
    if declared > on_disk:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"its entries claim {declared / 2**20:.1f} MiB, the file has {on_disk / 2**20:.1f} MiB",
            AGAIN,
        )


def _foreign(path: Path, start: bytes) -> tuple[str, str] | None:
    """What a file is that no importer reads, and what mends it; None for one that some importer may."""
    for position, magic, seen, mend in _MAGICS:
        if start[position:].startswith(magic):
            return seen, mend
    if start.startswith(ZIP_MAGIC):
        return _foreign_archive(path)
    if start[257:262] == b"ustar":
        return _foreign_tar(start)
    begins = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if begins.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page", _BROWSER
    if b'"weight_map"' in begins and begins.startswith(b"{"):
        with path.open(errors="replace") as file:
            shards = len(set(re.findall(r"[\w.-]+\.(?:safetensors|bin)", file.read(_SEARCHED_BYTES))))
        return f"the index of a network in {shards} shards", "save the network's state_dict() as one file"
    for ending, seen, mend in _ENDINGS:
        if re.search(ending + "$", path.name, re.IGNORECASE):
            return seen, mend
    if re.match(rb"\x08[\x03-\x14]\x12.(pytorch|[\w. -]*onnx|tf2onnx|skl)", start):
        return "an ONNX file", _NOT_WEIGHTS
    if not start.strip(b"\0"):
        return "zeros alone", "the download did not finish: " + AGAIN
    if not start.startswith(b"MATLAB") and not PICKLE.match(start) and (text := _text(start)):
        return f"text: {text[:40]!r}", WHICH
    return _foreign_pickle(path, start)


def _foreign_pickle(path: Path, start: bytes) -> tuple[str, str] | None:
    """NVIDIA's pickles, which no importer reads; another may be of arrays, as FLAME's is."""
    if not start.startswith(b"\x80") or LEGACY_TORCH.match(start):
        return None
    with path.open("rb") as file:
        content = file.read(_SEARCHED_BYTES)
    if not any(name in content for name in (b"torch_utils.persistence", b"dnnlib.tflib", b"G_ema")):
        return None
    return (
        "NVIDIA's .pkl files hold Python source code that loading would run; nothing was run",
        "where you trust the file, load it with NVIDIA's code and run "
        "torch.save(pickled['G_ema'].state_dict(), 'generator.pt'), then give generator.pt",
    )


def _foreign_archive(path: Path) -> tuple[str, str] | None:
    """What a zip archive is that torch.save did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise damaged(path, error) from error
    endings = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in endings:
        return (
            "a TorchScript program",
            "give the state dict: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')",
        )
    if "data.pkl" in endings:
        return None
    if "archive_format" in endings:
        return (
            "a program of torch.export",
            "give the state dict: torch.save(torch.export.load(FILE).state_dict, 'weights.pt')",
        )
    if "model.weights.h5" in endings:
        return "a Keras archive", _CONVERT
    if names and all(name.endswith(".npy") for name in names):
        return (
            "a NumPy archive",
            "save its arrays with PyTorch: torch.save({k: torch.from_numpy(v) for k, v in "
            "numpy.load(FILE).items()}, 'weights.pt')",
        )
    return f"a zip archive that holds {listed(names)}", _UNPACK


def _foreign_tar(start: bytes) -> tuple[str, str]:
    first = start[:100].rstrip(b"\0").decode("utf-8", "replace")
    if first in ("sys_info", "pickle", "storages", "tensors"):
        return "torch's format of 2016", "read it with PyTorch 1.x and save it again with torch.save"
    return f"a tar archive that holds {first}", _UNPACK


def _checkpoint_of_another_kind(_path: Path, start: bytes) -> tuple[str, str]:
    if start.startswith(ZIP_MAGIC) or LEGACY_TORCH.match(start):
        return "a file of torch.save", WHICH
    if is_safetensors(start):
        return "a safetensors file", WHICH
    if start.startswith(b"MATLAB"):
        return "a MATLAB file", WHICH
    if PICKLE.match(start):
        return "a pickle that torch.save did not write", _PLAIN_PICKLE
    return f"of no format that is known here: it begins with {start[:16]!r}", WHICH


def _text(start: bytes) -> str:
    """The beginning of a text; "" where it is none."""
    try:
        text = start.decode("utf-8").strip()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() or re.fullmatch(r"[\s\x20-\x7e]+", text) else ""
