"""What the pickles in PyTorch's files may make: tensors, dicts, and objects that stay unread."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any, BinaryIO, ClassVar, Final

import torch
from torch.serialization import StorageType
from torch.storage import TypedStorage

from facewright_export.checkpoints._pickles import (
    SafeUnpickler,
    asks_for,
    does_something,
    is_plain,
    latin1,
    require_keys,
)

LONGEST_NAME: Final = 1000
_MOST_CLASSES: Final = 10_000
#: As many as NumPy's arrays have.
_MOST_DIMENSIONS: Final = 64


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


def class_name(value: Any) -> str:
    """The class of an object that was not read, or the class or function itself; "" of everything else."""
    return value.name if _is_unread(value) else ""


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """``torch._utils._rebuild_tensor`` and ``_rebuild_tensor_v2``: what follows is about gradients."""
    if not isinstance(storage, TypedStorage):
        raise pickle.UnpicklingError(f"a tensor over a {type(storage).__name__}")
    return torch._utils._rebuild_tensor(storage, *_view(offset, size, stride))


def _view(offset: Any, size: Any, stride: Any) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Where in a storage a tensor lies; its size need not fit, which `entries_by_name` finds."""
    for numbers in (size, stride):
        if not isinstance(numbers, tuple | list) or len(numbers) > _MOST_DIMENSIONS:
            raise pickle.UnpicklingError(f"a tensor of over {_MOST_DIMENSIONS} dimensions, or of none")
    if not all(isinstance(number, int) and is_plain(number) for number in (offset, *size, *stride)):
        raise pickle.UnpicklingError("a tensor whose sizes are no numbers")
    return offset, tuple(size), tuple(stride)


def _tensor_with_dtype(
    storage: Any, offset: Any, size: Any, stride: Any, _gradient: Any, _hooks: Any, dtype: Any, *_: Any
) -> torch.Tensor:
    """``torch._utils._rebuild_tensor_v3``: of types that have no storage of their own."""
    if not isinstance(storage, TypedStorage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError(f"a tensor over a {type(storage).__name__}")
    return torch._utils._rebuild_tensor_v3(storage, *_view(offset, size, stride), False, {}, dtype)


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
        require_keys([key for key, _ in pairs], _is_key)
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
KINDS_OF_NUMBERS: Final = {
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


def _is_unread(value: Any) -> bool:
    return isinstance(value, UnreadObject) or _is_unread_class(value)


def _is_key(part: Any) -> bool:
    """Objects and classes that were not read, too: trainers keep states by their enumerations and classes."""
    return is_plain(part) or _is_unread(part) or isinstance(part, torch.dtype)


def is_storage_key(key: Any) -> bool:
    return is_plain(key) and not (isinstance(key, str | bytes) and len(key) > LONGEST_NAME)


def _is_known(function: Any) -> bool:
    return _is_unread_class(function) or any(function is called for called in _CALLED)


class TorchUnpickler(SafeUnpickler):
    """Makes tensors and dicts; everything else that a file names becomes an `UnreadObject`."""

    dispatch: ClassVar[dict[int, Any]] = dict(SafeUnpickler.dispatch)

    def __init__(self, file: BinaryIO, path: Path, claimed: set[Any]) -> None:
        super().__init__(file, path.stat().st_size, passing_over=(UnreadObject,))
        self._path = path
        self._classes: dict[str, type[UnreadObject]] = {}
        self._storages = claimed
        self._stored = 0

    def find_class(self, module: str, name: str) -> Any:
        if len(module) + len(name) > LONGEST_NAME or not (module + name).isprintable():
            raise pickle.UnpicklingError("a class whose name is no name")
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if does_something(module, name):
            raise asks_for(self._path, module, name, "checkpoint")
        if full not in self._classes:
            if len(self._classes) == _MOST_CLASSES:
                raise pickle.UnpicklingError(f"objects of over {_MOST_CLASSES} classes")
            plain = full.removeprefix("__builtin__.").removeprefix("builtins.")
            unread = type("UnreadObject", (UnreadObject,), {"name": KINDS_OF_NUMBERS.get(full, plain)})
            self._classes[full] = unread
        return self._classes[full]

    def is_key(self, part: Any) -> bool:
        return _is_key(part)

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
            return
        if not isinstance(saved, tuple) or not all(map(self._may_tell_a_storage, saved)):
            raise pickle.UnpicklingError("numbers that are stored nowhere")
        super().load_binpersid()  # type: ignore[misc]
        _, _, key, _, count, *_ = saved
        # one entry of an archive answers to many keys: torch takes capitals for small letters
        if key not in self._storages:
            self._storages.add(key)
            self._stored += count * self.stack[-1].dtype.itemsize  # type: ignore[attr-defined]
        if self._stored > self._size:
            raise pickle.UnpicklingError("storages of more bytes than the file has")

    def _may_tell_a_storage(self, part: Any) -> bool:
        """Whether torch may hash this and write it into its errors: its name, key, place, length or part."""
        if isinstance(part, tuple):
            return len(part) <= _MOST_DIMENSIONS and all(map(is_storage_key, part))
        return is_storage_key(part) or isinstance(part, StorageType) or part is torch.UntypedStorage

    dispatch[pickle.BINPERSID[0]] = load_binpersid
