"""Read what ``torch.save`` wrote, and ``.safetensors``, without running anything that is in them."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any, BinaryIO, ClassVar, Final

import torch
from torch.storage import TypedStorage

from facewright_export.checkpoints._files import (
    AGAIN,
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
from facewright_export.checkpoints._pickles import (
    SafeUnpickler,
    asks_for,
    does_something,
    latin1,
    require_flat,
)

_MAXIMUM_DEPTH: Final = 32
_LONGEST_NAME: Final = 1000
_SAVE_WEIGHTS: Final = (
    "where you trust it, save the weights alone: torch.save(network.state_dict(), 'weights.pt'), with the "
    "network that torch.load(FILE, weights_only=False) gives"
)


class UnreadObject(dict[Any, Any]):
    """Stands for an object of a class that this reader does not know; the class is not imported.

    What the file puts into it as into a dict is kept, because trainers keep state dicts in dicts of classes
    of their own; whatever else it does with the object is passed over.
    """

    #: The class that the file names.
    name = ""

    def __new__(cls, *_: Any, **__: Any) -> UnreadObject:
        """Whatever the class takes."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __call__(self, *_: Any, **__: Any) -> UnreadObject:
        """What a function that the file made gives: as little known as the function."""
        return self

    def append(self, item: Any) -> None:
        """Entries of a list are passed over."""

    extend = add = append
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other


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
    entries = dict(_entries(content, path)) if isinstance(content, Mapping) else {"": content}
    tensors = {name: value for name, value in entries.items() if isinstance(value, torch.Tensor)}
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, path)
    kinds = {name: class_name(value) for name, value in sorted(entries.items())}
    objects = {name: kind for name, kind in kinds.items() if kind and kind not in _KINDS_OF_NUMBERS.values()}
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


def class_name(value: Any) -> str:
    """The class of an object that was not read, or the class or function itself; "" of everything else."""
    return value.name if isinstance(value, UnreadObject) or _is_unread_class(value) else ""


def _entries(content: Mapping[Any, Any], path: Path) -> Iterator[tuple[str, Any]]:
    """Everything in nested containers that holds nothing further.

    A container that occurs twice counts once. Numbers and texts in lists, of which trainers keep long ones,
    are left out.
    """
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    seen: set[int] = set()
    while waiting:
        name, value, depth = waiting.pop()
        if depth > _MAXIMUM_DEPTH:
            raise UnsafeCheckpointError(f"checkpoint {path}", f"nested over {_MAXIMUM_DEPTH} deep", AGAIN)
        if len(name) > _LONGEST_NAME:
            raise UnsafeCheckpointError(f"checkpoint {path}", f"a name of {len(name)} letters", AGAIN)
        if not isinstance(value, Mapping | list | tuple) or not value:
            yield name, value
        elif id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Mapping):
                within: list[tuple[Any, Any]] = list(value.items())
            else:
                within = [(i, entry) for i, entry in enumerate(value) if _may_hold_tensors(entry)]
            begins = f"{name}/" if name else ""
            waiting.extend((begins + _key(key), entry, depth + 1) for key, entry in within[::-1])


def _key(key: Any) -> str:
    return key.replace("/", "|") if isinstance(key, str) else str(key)


def _may_hold_tensors(value: Any) -> bool:
    return isinstance(value, torch.Tensor | Mapping | list | tuple) or bool(class_name(value))


def _read_content(path: Path) -> Any:
    start = first_bytes(path)
    if is_safetensors(start):
        return _read_safetensors(path)
    if start.startswith(ZIP_MAGIC):
        check_archive(path)
    elif not LEGACY_TORCH.match(start):
        raise wrong_format(path, "a file of torch.save or safetensors")
    return _read_torch(path)


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


def _read_torch(path: Path) -> Any:
    # torch reads archive, storages and byte order, and hands the pickle to our unpickler, which is stricter
    # than that of `weights_only`: it calls nothing but what is below.
    class Bound(_TorchUnpickler):
        def __init__(self, file: BinaryIO, **_: Any) -> None:
            super().__init__(file, path)

    ours = SimpleNamespace(__name__=__name__, Unpickler=Bound, load=lambda file, **_: Bound(file).load())
    try:
        with _Unmapped(path) as file, _not_forced():
            return torch.load(file, map_location="cpu", pickle_module=ours, weights_only=False)
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


def _check_tensor(name: str, tensor: torch.Tensor, path: Path) -> None:
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    # an expanded view claims any size from a few bytes
    if tensor.numel() > stored:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"{name.replace('/', '.')} claims shape {list(tensor.shape)} but stores {stored} numbers",
            AGAIN,
        )


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """``torch._utils._rebuild_tensor`` and ``_rebuild_tensor_v2``: what follows is about gradients."""
    if not isinstance(storage, TypedStorage):
        raise pickle.UnpicklingError(f"a tensor over a {type(storage).__name__}")
    return torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))


def _tensor_with_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, _gradient: Any, _hooks: Any, dtype: Any, *_: Any
) -> torch.Tensor:
    """``torch._utils._rebuild_tensor_v3``: of types that have no storage of their own."""
    if not isinstance(storage, TypedStorage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError(f"a tensor over a {type(storage).__name__}")
    return torch._utils._rebuild_tensor_v3(storage, offset, tuple(size), tuple(stride), False, {}, dtype)


def _first(tensor: Any, *_: Any) -> Any:
    """``torch._utils._rebuild_parameter``: a parameter is its tensor."""
    return tensor


def _subclassed(rebuild: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    """``torch._tensor._rebuild_from_type_v2``: a tensor of a class or with attributes of its own."""
    if not _is_known(rebuild):
        raise pickle.UnpicklingError("a tensor rebuilt by an unknown function")
    return rebuild(*arguments)


def _plain_dict(*entries: Any) -> dict[Any, Any]:
    """``OrderedDict``, ``defaultdict``, ``Counter``: dicts, whatever else they do.

    Python 2 wrote an ``OrderedDict`` with its pairs, others are filled afterwards.
    """
    if entries and isinstance(entries[0], list):
        pairs = [(key, value) for key, value in entries[0]]
        require_flat([key for key, _ in pairs])
        return dict(pairs)
    return dict(entries[0]) if entries and isinstance(entries[0], Mapping) else {}


def _old_instance(kind: Any, *_: Any) -> Any:
    """``copyreg._reconstructor(class, base, state)``."""
    if not _is_unread_class(kind):
        raise pickle.UnpicklingError("an instance of no class")
    return kind()


_KNOWN: Final[dict[str, Any]] = {
    "collections.OrderedDict": _plain_dict,
    "collections.defaultdict": _plain_dict,
    "collections.Counter": _plain_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    "torch.storage.UntypedStorage": torch.UntypedStorage,
    "_codecs.encode": latin1,
    "copyreg._reconstructor": _old_instance,
    "copy_reg._reconstructor": _old_instance,
    **{f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
}
#: The others are marks on storages; `torch.UntypedStorage`, called, would take memory of any size.
_CALLED: Final = tuple(value for value in _KNOWN.values() if isinstance(value, FunctionType))
#: What to call numbers that are no plain tensors, by the functions that make them.
_KINDS_OF_NUMBERS: Final = {
    **{
        f"numpy.{core}.{name}": "a NumPy number" if name.endswith("scalar") else "a NumPy array"
        for core in ("core", "_core")
        for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
    },
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without numbers",
}


def _is_unread_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, UnreadObject)


def _is_known(function: Any) -> bool:
    return _is_unread_class(function) or any(function is called for called in _CALLED)


class _TorchUnpickler(SafeUnpickler):
    """Makes tensors and dicts; everything else that a file names becomes an `UnreadObject`."""

    dispatch: ClassVar[dict[int, Any]] = dict(SafeUnpickler.dispatch)

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if does_something(module, name):
            raise asks_for(self._path, module, name, "checkpoint")
        plain = full.removeprefix("__builtin__.").removeprefix("builtins.")
        return type("UnreadObject", (UnreadObject,), {"name": _KINDS_OF_NUMBERS.get(full, plain)})

    def is_callable(self, function: Any) -> bool:
        return isinstance(function, UnreadObject) or _is_known(function)

    def set_state(self, instance: Any, _state: Any) -> None:
        # attributes are passed over, and `_metadata` of a state dict with them
        if not isinstance(instance, dict):
            raise pickle.UnpicklingError(f"attributes of a {type(instance).__name__}")

    def load_binpersid(self) -> None:
        # a class with its source, as torch wrote whole networks before it wrote archives
        saved = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(saved, tuple) and len(saved) > 1 and saved[0] == "module":
            self.stack[-1] = saved[1]  # type: ignore[attr-defined]
        else:
            super().load_binpersid()  # type: ignore[misc]

    dispatch[pickle.BINPERSID[0]] = load_binpersid
