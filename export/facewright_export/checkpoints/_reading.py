"""Read what ``torch.save`` wrote without running anything that is in it, and fill a network with it strictly.

A PyTorch file is a pickle, and a pickle can call any function; a zip archive can claim any size. Every
refusal is a ``CheckpointError`` that says what was wrong with what was seen, and what mends it.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from facewright_export.checkpoints._files import (
    AGAIN,
    WHICH,
    ZIP_MAGIC,
    LayoutError,
    UnsafeCheckpointError,
    WeightError,
    check_archive,
    damaged,
    first_bytes,
    listed,
    wrong_format,
)

StateDict = dict[str, torch.Tensor]

_LEGACY_MAGIC: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


class _NumpyValue:
    """A number, array or dtype of NumPy in a trainer's state: nothing of it is kept."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


#: The names that pickles of NumPy 1 and 2 call; ``bytes()`` is the content of an empty array.
_PASSED_OVER: Final = tuple(
    (_NumpyValue, name)
    for name in (
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "builtins.bytes",
        "__builtin__.bytes",
    )
)


def read_torch(path: Path | str, *, allowed: Sequence[Callable[..., Any]] = ()) -> dict[str, Any]:
    """What ``torch.save`` wrote at ``path``: a nested dict whose leaves are CPU tensors and plain values.

    Both formats of ``torch.save`` are read (a zip archive, and the older sequence of pickles), with
    ``weights_only=True``; ``allowed`` lists the classes that this format is known to hold besides tensors and
    containers, for example ``argparse.Namespace``. NumPy's numbers and arrays, which trainers keep beside the
    weights (MICA its best score), are passed over: opaque values stand for them.

    Raises UnreadableCheckpointError (missing, cut short, not a checkpoint), UnsafeCheckpointError (it names a
    class or function beyond ``allowed``, or claims more memory than the file can fill) and LayoutError (not a
    dict).
    """
    path = Path(path)
    start = first_bytes(path)
    if start.startswith(ZIP_MAGIC):
        check_archive(path)
    elif not start.startswith(_LEGACY_MAGIC):
        raise wrong_format(path, start, "a file written by torch.save")
    try:
        with torch.serialization.safe_globals([*allowed, *_PASSED_OVER]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a damaged byte makes its unpickler stumble over
        named = re.search(r"GLOBAL (\S+)", str(error))
        if not isinstance(error, pickle.UnpicklingError) or named is None:
            raise damaged(path, error) from error
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"it asks for {named[1]}, which this format has no use for; nothing was run",
            "take the file from its publisher; one of your own: save its state_dict() alone, with torch.save",
        ) from error
    if not isinstance(content, Mapping):
        raise LayoutError(
            f"checkpoint {path}",
            f"it holds a {type(content).__name__}, expected a dict",
            "save the network's state_dict(), not the network",
        )
    for name, tensor in _tensors(content):
        _check_tensor(name, tensor, path)
    return dict(content)


def section(content: Mapping[str, Any], *names: str, source: str) -> StateDict:
    """The state dict (name → tensor) under ``names`` of what ``read_torch`` returned; no names: all of it.

    Raises LayoutError if a name is missing, listing what is there, or if the section holds anything but
    tensors.
    """
    found: Any = content
    for depth, name in enumerate(names):
        if not isinstance(found, Mapping) or name not in found:
            where = ".".join(names[:depth]) or "the file"
            there = listed(sorted(map(str, found))) if isinstance(found, Mapping) else type(found).__name__
            raise LayoutError(source, f"no {name!r} in {where}, which holds {there}", WHICH)
        found = found[name]
    if not isinstance(found, Mapping):
        raise LayoutError(source, f"{'.'.join(names)} is a {type(found).__name__}", WHICH)
    others = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise LayoutError(
            source,
            f"{'.'.join(names) or 'the file'} holds entries that are no tensors: {listed(sorted(others))}",
            WHICH,
        )
    return {str(name): value for name, value in found.items()}


def load_strictly(
    module: torch.nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    strip: str = "module.",
    unused: Collection[str] = (),
    source: str,
) -> None:
    """Fill ``module`` from ``state``: every entry must have its place, and every place its entry.

    Args:
        module: the network; unchanged when an error is raised.
        state: name → tensor; half-precision weights are widened to the module's dtype.
        strip: a prefix that is removed if *every* name has it (``DataParallel`` writes ``module.``).
        unused: names, or prefixes ending in a dot, that the published file holds and inference does not use.
        source: what to call the file in an error.

    BatchNorm's ``num_batches_tracked`` may be missing: files from before PyTorch 0.4.1 lack that counter,
    which inference does not read.

    Raises LayoutError naming every missing, extra and mis-shaped entry, and WeightError naming every entry
    that is not finite (the first 20 of each are shown).
    """
    if state and strip and all(name.startswith(strip) for name in state):
        state = {name[len(strip) :]: value for name, value in state.items()}
    prefixes = tuple(name for name in unused if name.endswith("."))
    used = {n: v for n, v in state.items() if n not in unused and not n.startswith(prefixes)}
    wanted = module.state_dict()
    missing = sorted(n for n in wanted if n not in used and not n.endswith(".num_batches_tracked"))
    extra = sorted(n for n in used if n not in wanted)
    wrong = [
        f"{name} is {_described(used[name])}, expected {_described(wanted[name])}"
        for name in sorted(used.keys() & wanted.keys())
        if used[name].shape != wanted[name].shape
        or used[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    complaints = [
        f"{len(names)} {kind}: {listed(names)}"
        for kind, names in (("missing", missing), ("extra", extra), ("mis-shaped", wrong))
        if names
    ]
    if complaints:
        raise LayoutError(
            f"{source} does not fit {type(module).__name__}",
            "; ".join(complaints),
            "take the published file of this network, or describe its sizes when making the network",
        )
    not_finite = sorted(
        name for name, value in used.items() if value.is_floating_point() and not value.isfinite().all()
    )
    if not_finite:
        raise WeightError(
            f"weights of {source}",
            f"NaN or infinity in {listed(not_finite)}",
            "the training diverged or the file is damaged: take an earlier checkpoint",
        )
    counters = {name: wanted[name] for name in wanted.keys() - used.keys()}
    module.load_state_dict({**used, **counters}, strict=True)


def _tensors(content: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in nested containers, with its dotted name; a container that occurs twice counts once."""
    waiting: list[tuple[str, Any]] = [("", content)]
    seen: set[int] = set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            entries = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting.extend((f"{name}.{key}".lstrip("."), entry) for key, entry in entries)


def _check_tensor(name: str, tensor: torch.Tensor, path: Path) -> None:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise LayoutError(
            f"checkpoint {path}",
            f"{name} is {tensor.layout}, {tensor.dtype}, on {tensor.device}; expected plain numbers",
            "save the state_dict() of the unquantized network, from the CPU",
        )
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    # an expanded view claims any size from a few bytes
    if tensor.numel() > stored:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"{name} claims shape {list(tensor.shape)} but stores {stored} numbers",
            AGAIN,
        )


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
