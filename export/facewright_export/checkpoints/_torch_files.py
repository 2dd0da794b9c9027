"""Read what ``torch.save`` wrote, and ``.safetensors``, without running anything that is in them."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Final

import torch

from facewright_export.checkpoints._files import (
    CheckpointError,
    LayoutError,
    UnsafeCheckpointError,
    damaged,
    first_bytes,
    listed,
)
from facewright_export.checkpoints._formats import (
    LEGACY_TORCH,
    ZIP_MAGIC,
    check_archive,
    is_safetensors,
    wrong_format,
)
from facewright_export.checkpoints._named_entries import entries_by_name
from facewright_export.checkpoints._torch_unpickler import (
    KINDS_OF_NUMBERS,
    TorchUnpickler,
    class_name,
    is_storage_key,
)

_SAVE_WEIGHTS: Final = (
    "where you trust it, save the weights alone: torch.save(network.state_dict(), 'weights.pt'), with the "
    "network that torch.load(FILE, weights_only=False) gives"
)


def read_entries(path: Path | str) -> dict[str, Any]:
    """Everything in a file by its full name: CPU tensors, plain values and `UnreadObject`.

    Both formats of ``torch.save`` are read (a zip archive, and the older sequence of pickles) and
    safetensors; which it is, the file's first bytes say. In names, a slash follows the key of a dict that
    holds further entries: ``state_dict/layer1.0.weight``.

    Raises UnreadableCheckpointError (missing, cut short, not a checkpoint), UnsafeCheckpointError (a whole
    network, a call that does something, or a claim of more memory than the file can fill) and LayoutError (no
    tensors by names).
    """
    path = Path(path)
    content = _read_content(path)
    try:
        entries = entries_by_name(content, path) if isinstance(content, Mapping) else {"": content}
    except CheckpointError:
        raise
    except Exception as error:  # names are made of keys, and those are the file's
        raise damaged(path, error) from error
    tensors = {name: value for name, value in entries.items() if isinstance(value, torch.Tensor)}
    kinds = {name: class_name(value) for name, value in sorted(entries.items())}
    objects = {name: kind for name, kind in kinds.items() if kind and kind not in KINDS_OF_NUMBERS.values()}
    if objects and not tensors:
        name, kind = next(iter(objects.items()))
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"{name or 'it'} is a whole network, an object of {kind}, whose code loading would run; "
            "nothing was run",
            _SAVE_WEIGHTS,
        )
    if not isinstance(content, Mapping):
        raise LayoutError(
            f"checkpoint {path}",
            f"it holds a {type(content).__name__}, expected a dict",
            "save the network's state_dict(), not the network",
        )
    if not tensors:
        there = [f"{name} ({kind})" if kind else name for name, kind in kinds.items() if name]
        seen = f"it holds no tensors, but {listed(there) or 'nothing'}"
        raise LayoutError(f"checkpoint {path}", seen, "save tensors by their names, with torch.save")
    return entries


def _read_content(path: Path) -> Any:
    start = first_bytes(path)
    if is_safetensors(start):
        return _read_safetensors(path)
    if start.startswith(ZIP_MAGIC):
        check_archive(path)
    elif not LEGACY_TORCH.match(start):
        raise wrong_format(path, "a file of torch.save or safetensors")
    return _read_torch(path, zipped=start.startswith(ZIP_MAGIC))


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # a damaged header makes it, or torch, raise whatever comes
        raise damaged(path, error) from error


class _Unmapped(io.BufferedReader):
    """A file without a number, so that torch reads through it, and tries no format of 2016 on it."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def _read_torch(path: Path, *, zipped: bool) -> Any:
    # torch reads archive, storages and byte order, and hands the pickle to our unpickler, which is stricter
    # than that of `weights_only`: it calls nothing but what is below.
    claimed: set[Any] = set()
    filled: set[Any] = set()

    class Bound(TorchUnpickler):
        def __init__(self, file: BinaryIO, **_: Any) -> None:
            super().__init__(file, path, claimed)

    def load(file: BinaryIO, **_: Any) -> Any:
        # the older format's versions, then notes on a machine, then the keys of the storages that follow;
        # torch hashes these and writes them into its errors
        loaded = Bound(file).load()
        if isinstance(loaded, dict):
            return {}
        parts = loaded if isinstance(loaded, list) else [loaded]
        if not all(map(is_storage_key, parts)):
            raise pickle.UnpicklingError("storages whose keys are no keys")
        filled.update(parts)
        return loaded

    ours = SimpleNamespace(__name__=__name__, Unpickler=Bound, load=load)
    try:
        with _Unmapped(path) as file, _not_forced():
            content = torch.load(file, map_location="cpu", pickle_module=ours, weights_only=False)
        # torch leaves a storage that the older format's keys leave out as it found the memory
        if not zipped and claimed - filled:
            raise pickle.UnpicklingError("storages without content")
        return content
    except CheckpointError:
        raise
    except Exception as error:  # torch raises whatever a damaged byte makes it stumble over
        raise damaged(path, error) from error


@contextmanager
def _not_forced() -> Iterator[None]:
    """Without the variable by which torch refuses every unpickler but its own, ours among them."""
    forced = os.environ.pop("TORCH_FORCE_WEIGHTS_ONLY_LOAD", None)
    try:
        yield
    finally:
        if forced is not None:
            os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = forced
