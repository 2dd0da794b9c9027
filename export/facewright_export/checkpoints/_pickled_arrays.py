"""Read a pickle of arrays, such as FLAME's model file, without constructing anything that it names."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from facewright_export.checkpoints._files import (
    AGAIN,
    WHICH,
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    damaged,
    first_bytes,
)
from facewright_export.checkpoints._formats import PICKLE, wrong_format
from facewright_export.checkpoints._pickles import SafeUnpickler, asks_for, latin1

Array = npt.NDArray[Any]

_MAXIMUM_DEPTH: Final = 32
#: Entries of a sparse matrix when it is written out; FLAME's has 25 115.
_MOST_ENTRIES: Final = 1 << 24


def read_pickle_arrays(path: Path | str) -> dict[str, Any]:
    """The dict of arrays in a Python 2 or 3 pickle such as FLAME's ``generic_model.pkl``.

    NumPy arrays come out as they were, chumpy arrays and SciPy's compressed columns as the plain NumPy arrays
    that they stand for; strings, numbers and containers as themselves. No class of the file is constructed:
    arrays are rebuilt from their bytes here, so neither chumpy nor SciPy is imported and nothing that the
    file names is called.

    Raises UnreadableCheckpointError, UnsafeCheckpointError (naming what the file asked for) and LayoutError.
    """
    path = Path(path)
    start = first_bytes(path)
    if not PICKLE.match(start):
        raise wrong_format(path, "a pickle of arrays")
    stream = path.read_bytes()
    if not stream.endswith(pickle.STOP):
        raise UnreadableCheckpointError(
            f"pickle {path}", "cut short: it does not end as a pickle does", AGAIN
        )
    try:
        content = _Plain(path).of(_ArrayUnpickler(stream, path).load())
    except CheckpointError:
        raise
    except Exception as error:  # a damaged byte makes the unpickler stumble over anything
        raise damaged(path, error) from error
    if not isinstance(content, dict):
        raise LayoutError(
            f"pickle {path}",
            f"it holds a {type(content).__name__}, expected a dict",
            WHICH,
        )
    return content


class _StoredDtype:
    """``numpy.dtype`` in a pickle: its letters, and the byte order that follows as state."""

    def __init__(self, letters: Any, *_: Any) -> None:
        text = letters.decode("latin1") if isinstance(letters, bytes) else letters
        if not isinstance(text, str) or not re.fullmatch(r"[<>|=]?[fiub]\d{1,2}", text):
            told = repr(text[:20]) if isinstance(text, str) else f"of the type {type(text).__name__}"
            raise pickle.UnpicklingError(f"an array of dtype {told}")
        self.letters = text.lstrip("<>|=")
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        self.order = ">" if order == ">" else "<"

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.letters)


class _StoredArray:
    """``numpy.ndarray`` in a pickle: version, shape, dtype, Fortran order, bytes."""

    array: Array

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        array = np.frombuffer(_raw(content), dtype.dtype()).reshape(
            tuple(shape), order="F" if fortran else "C"
        )
        self.array = array.astype(array.dtype.newbyteorder("="), copy=False)


class _StoredObject:
    """An instance of chumpy's ``Ch`` or SciPy's ``csc_matrix`` in a pickle: nothing but its attributes."""

    kind = ""

    def __init__(self, *_: Any) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        found: Any = next((part for part in (state if isinstance(state, tuple) else (state,)) if part), {})
        if not isinstance(found, dict):
            raise pickle.UnpicklingError(f"a {self.kind} without attributes")
        self.attributes = found


class _StoredChumpy(_StoredObject):
    kind = "chumpy array"


class _StoredColumns(_StoredObject):
    kind = "sparse matrix"


def _raw(content: Any) -> bytes:
    """An array's bytes, which Python 2 wrote as text; a number, to ``bytes`` a length, is refused."""
    if isinstance(content, str):
        return content.encode("latin1")
    if isinstance(content, bytes | bytearray):
        return bytes(content)
    raise pickle.UnpicklingError(f"an array whose content is a {type(content).__name__}")


def _array(*_: Any) -> _StoredArray:
    return _StoredArray()


def _from_buffer(content: Any, dtype: _StoredDtype, shape: Any, order: str) -> _StoredArray:
    """``numpy._core.numeric._frombuffer``, as protocol 5 makes arrays."""
    stored = _StoredArray()
    stored.__setstate__((1, shape, dtype, order == "F", content))
    return stored


def _set(*_: Any) -> set[Any]:
    """A set, whose entries nobody reads: chumpy notes in them what it has computed."""
    return set()


def _no_bytes() -> bytes:
    """``bytes()``, as protocol 2 writes the content of an empty array."""
    return b""


def _scalar(dtype: _StoredDtype, content: Any) -> Any:
    return np.frombuffer(_raw(content), dtype.dtype())[0].item()


def _old_instance(stored: Callable[[], Any], *_: Any) -> Any:
    """``copy_reg._reconstructor(class, base, state)``, as protocols 0 and 1 make instances."""
    if stored not in (_StoredChumpy, _StoredColumns):
        raise pickle.UnpicklingError("an instance of an unknown class")
    return stored()


_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("numpy", "ndarray"): _StoredArray,
    ("numpy", "dtype"): _StoredDtype,
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("chumpy.ch", "Ch"): _StoredChumpy,
    ("scipy.sparse.csc", "csc_matrix"): _StoredColumns,
    ("scipy.sparse._csc", "csc_matrix"): _StoredColumns,
    ("copy_reg", "_reconstructor"): _old_instance,
    ("copyreg", "_reconstructor"): _old_instance,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): _set,
    ("builtins", "set"): _set,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
    ("_codecs", "encode"): latin1,
}


class _ArrayUnpickler(SafeUnpickler):
    dispatch: ClassVar[dict[int, Any]] = dict(SafeUnpickler.dispatch)

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), len(content), fix_imports=False)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise asks_for(self._path, module, name, "pickle")
        return _ALLOWED[module, name]

    def is_callable(self, function: Any) -> bool:
        return any(function is allowed for allowed in _ALLOWED.values())

    def set_state(self, instance: Any, state: Any) -> None:
        if not isinstance(instance, _StoredDtype | _StoredArray | _StoredObject):
            raise pickle.UnpicklingError("state for something that is no array")
        instance.__setstate__(state)
        if isinstance(instance, _StoredArray):
            self.count_made(instance.array.nbytes)

    def load_reduce(self) -> None:
        super().load_reduce()
        made = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(made, _StoredArray) and hasattr(made, "array"):
            self.count_made(made.array.nbytes)

    dispatch[pickle.REDUCE[0]] = load_reduce


class _Plain:
    """Turns what stood in for arrays into arrays; a container that occurs many times is turned once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[int, Any] = {}
        self._dense_entries = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        if depth > _MAXIMUM_DEPTH:
            raise UnsafeCheckpointError(f"pickle {self._path}", f"nested over {_MAXIMUM_DEPTH} deep", AGAIN)
        if value is None or isinstance(value, str | bytes | int | float | bool):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = self._converted(value, depth + 1)
        return self._done[id(value)]

    def _converted(self, value: Any, depth: int) -> Any:
        if isinstance(value, _StoredArray):
            return value.array
        if isinstance(value, _StoredChumpy):
            if "x" not in value.attributes:
                raise LayoutError(f"pickle {self._path}", "a chumpy array without its values (x)", WHICH)
            return self.of(value.attributes["x"], depth)
        if isinstance(value, _StoredColumns):
            columns = {str(name): self.of(part, depth) for name, part in value.attributes.items()}
            dense = _dense(columns, self._path)
            self._dense_entries += dense.size
            if self._dense_entries > _MOST_ENTRIES:
                raise UnsafeCheckpointError(
                    f"pickle {self._path}", f"sparse matrices of over {_MOST_ENTRIES} entries in all", AGAIN
                )
            return dense
        if isinstance(value, dict):
            return {
                key.decode("latin1") if isinstance(key, bytes) else str(key): self.of(part, depth)
                for key, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.of(part, depth) for part in value]
        raise LayoutError(f"pickle {self._path}", f"it holds a {type(value).__name__}", WHICH)


def _numbers(part: Any) -> Array:
    # lists that refer twice to one another would become arrays without end
    if not isinstance(part, np.ndarray):
        raise TypeError(f"arrays, but with a {type(part).__name__}")
    return part


def _dense(columns: Mapping[str, Any], path: Path) -> Array:
    """The matrix that compressed columns (``indptr``, ``indices``, ``data``) stand for."""
    shape = columns.get("_shape", columns.get("shape"))
    try:
        rows, count = (int(size) for size in shape or ())
        starts, indices, values = (_numbers(columns[name]) for name in ("indptr", "indices", "data"))
        starts, indices = starts.astype(np.int64, copy=False), indices.astype(np.int64, copy=False)
    except (KeyError, ValueError, TypeError) as error:
        raise LayoutError(f"pickle {path}", f"a sparse matrix without {error}", WHICH) from error
    if not (
        rows > 0
        and 0 < rows * count <= _MOST_ENTRIES
        and starts.shape == (count + 1,)
        and starts[0] == 0
        and starts[-1] == len(indices) == len(values)
        and (np.diff(starts) >= 0).all()
        and ((indices >= 0) & (indices < rows)).all()
    ):
        raise LayoutError(
            f"pickle {path}", f"a sparse matrix [{rows}, {count}] whose columns do not fit it", AGAIN
        )
    dense = np.zeros((rows, count), values.dtype)
    np.add.at(dense, (indices, np.repeat(np.arange(count), np.diff(starts))), values)
    return dense
