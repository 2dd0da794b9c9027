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
from torch.serialization import StorageType
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
    is_plain,
    latin1,
    require_keys,
)

_MAXIMUM_DEPTH: Final = 32
_LONGEST_NAME: Final = 1000
#: Names of everything in a file, in letters: a million entries have long names.
_MOST_LETTERS: Final = 1 << 27
_MOST_CLASSES: Final = 10_000
#: As many as NumPy's arrays have.
_MOST_DIMENSIONS: Final = 64
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
    try:
        entries = _by_name(content, path) if isinstance(content, Mapping) else {"": content}
    except CheckpointError:
        raise
    except Exception as error:  # names are made of keys, and those are the file's
        raise damaged(path, error) from error
    tensors = {name: value for name, value in entries.items() if isinstance(value, torch.Tensor)}
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
    return value.name if _is_unread(value) else ""


def _by_name(content: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """`_entries` by their names; two tensors of one name are refused unless they are equal."""
    entries: dict[str, Any] = {}
    places: dict[str, str] = {}
    for name, place, value in _entries(content, path):
        if isinstance(value, torch.Tensor):
            _check_tensor(name, value, path)
        if name in entries and not same_entry(entries[name], value):
            raise colliding(path, places[name], place)
        entries[name] = value
        places[name] = place
    return entries


def colliding(path: Path, first: str, second: str) -> LayoutError:
    """The error for two names in a file that mean one entry."""
    return LayoutError(
        f"checkpoint {path}",
        f"it holds {first} and {second}, which are one name, with other content",
        "save the one that is meant, alone, with torch.save",
    )


def same_entry(first: Any, second: Any) -> bool:
    """Whether it does not matter which of two entries is taken: equal tensors, or no tensor at all."""
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return not isinstance(first, torch.Tensor) and not isinstance(second, torch.Tensor)
    if first is second:
        return True
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    # NaN is told later, by name: here it is equal to itself.
    return bool(((first == second) | (first.isnan() & second.isnan())).all())


def _entries(content: Mapping[Any, Any], path: Path) -> Iterator[tuple[str, str, Any]]:
    """Everything in nested containers that holds nothing further: its name, its place as Python says it
    (``['module']['weight']``), and what it is.

    A container that occurs twice counts once. Numbers and texts in lists, of which trainers keep long ones,
    are left out.
    """
    within: list[Iterator[tuple[Any, Any]]] = [iter([(None, content)])]
    around: list[tuple[str, str]] = [("", "")]
    seen: set[int] = set()
    letters = 0
    while within:
        entry = next(within[-1], None)
        if entry is None:
            within.pop()
            around.pop()
            continue
        key, value = entry
        name, place = around[-1]
        if len(within) > 1:
            name, place = (f"{name}/" if name else "") + _key(key), f"{place}[{_subscript(key)}]"
        if len(within) - 1 > _MAXIMUM_DEPTH:
            raise UnsafeCheckpointError(f"checkpoint {path}", f"nested over {_MAXIMUM_DEPTH} deep", AGAIN)
        if len(name) > _LONGEST_NAME:
            raise UnsafeCheckpointError(f"checkpoint {path}", f"a name of {len(name)} letters", AGAIN)
        letters += len(name)
        if letters > _MOST_LETTERS:
            raise UnsafeCheckpointError(f"checkpoint {path}", f"names of {letters} letters in all", AGAIN)
        if not isinstance(value, Mapping | list | tuple) or not value:
            yield name, place, value
        elif id(value) not in seen:
            seen.add(id(value))
            around.append((name, place))
            within.append(iter(value.items()) if isinstance(value, Mapping) else _holding(value))


def _holding(entries: list[Any] | tuple[Any, ...]) -> Iterator[tuple[int, Any]]:
    return ((i, entry) for i, entry in enumerate(entries) if _may_hold_tensors(entry))


def _key(key: Any) -> str:
    """A key in a name, a line without slashes; of objects and classes, what they are called."""
    if not isinstance(key, str):
        return _subscript(key)
    text = key[: _LONGEST_NAME + 1].replace("/", "|")
    return text if text.isprintable() else repr(text)[1:-1]


def _subscript(key: Any) -> str:
    if isinstance(key, tuple):
        return f"({', '.join(map(_subscript, key))})"
    if isinstance(key, str | bytes):
        return repr(key[: _LONGEST_NAME + 1])
    return class_name(key) or repr(key)


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

    class Bound(_TorchUnpickler):
        def __init__(self, file: BinaryIO, **_: Any) -> None:
            super().__init__(file, path, claimed)

    def load(file: BinaryIO, **_: Any) -> Any:
        # the older format's versions, then notes on a machine, then the keys of the storages that follow;
        # torch hashes these and writes them into its errors
        loaded = Bound(file).load()
        if isinstance(loaded, dict):
            return {}
        parts = loaded if isinstance(loaded, list) else [loaded]
        if not all(map(_is_storage_key, parts)):
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
    return torch._utils._rebuild_tensor(storage, *_view(offset, size, stride))


def _view(offset: Any, size: Any, stride: Any) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Where in a storage a tensor lies; its size need not fit (`_check_tensor`)."""
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


def _is_unread(value: Any) -> bool:
    return isinstance(value, UnreadObject) or _is_unread_class(value)


def _is_key(part: Any) -> bool:
    """Objects and classes that were not read, too: trainers keep states by their enumerations and classes."""
    return is_plain(part) or _is_unread(part) or isinstance(part, torch.dtype)


def _is_storage_key(key: Any) -> bool:
    return is_plain(key) and not (isinstance(key, str | bytes) and len(key) > _LONGEST_NAME)


def _is_known(function: Any) -> bool:
    return _is_unread_class(function) or any(function is called for called in _CALLED)


class _TorchUnpickler(SafeUnpickler):
    """Makes tensors and dicts; everything else that a file names becomes an `UnreadObject`."""

    dispatch: ClassVar[dict[int, Any]] = dict(SafeUnpickler.dispatch)

    def __init__(self, file: BinaryIO, path: Path, claimed: set[Any]) -> None:
        super().__init__(file, path.stat().st_size, passing_over=(UnreadObject,))
        self._path = path
        self._classes: dict[str, type[UnreadObject]] = {}
        self._storages = claimed
        self._stored = 0

    def find_class(self, module: str, name: str) -> Any:
        if len(module) + len(name) > _LONGEST_NAME or not (module + name).isprintable():
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
            unread = type("UnreadObject", (UnreadObject,), {"name": _KINDS_OF_NUMBERS.get(full, plain)})
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
            return len(part) <= _MOST_DIMENSIONS and all(map(_is_storage_key, part))
        return _is_storage_key(part) or isinstance(part, StorageType) or part is torch.UntypedStorage

    dispatch[pickle.BINPERSID[0]] = load_binpersid
