"""Unpickling that makes nothing a file names: what the readers of arrays and of PyTorch files share.

A pickle can call any function. Here the names that a file gives are looked up in a reader's own table;
nothing is imported, and nothing is called but that table's functions.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Final

from facewright_export.checkpoints._files import UnsafeCheckpointError

#: Whose functions do something to a machine: no trainer's state has them, so a file that does is no accident.
_DOING_MODULES: Final = frozenset(
    {"os", "posix", "nt", "sys", "subprocess", "shutil", "runpy", "importlib", "socket", "ctypes", "pty"}
)
_BUILTINS: Final = frozenset({"builtins", "__builtin__"})
_PLAIN_TYPES: Final = frozenset(
    kind.__name__
    for kind in (
        object,
        type,
        set,
        frozenset,
        list,
        dict,
        tuple,
        bytes,
        bytearray,
        str,
        bool,
        int,
        float,
        complex,
    )
) | {"slice", "range"}
#: Larger numbers are no keys: Python refuses to write out one of more than 4300 digits.
_KEY_BITS: Final = 128
_KEY_PARTS: Final = 16


class SafeUnpickler(pickle._Unpickler):  # type: ignore[misc,name-defined]
    """The unpickler written in Python: the one in C takes any memo index for a size and fills the memory.

    Readers say in `find_class` what stands for a name, in `is_callable` what of it may be called and in
    `set_state` what becomes of an object's attributes.

    The original calls methods of whatever an opcode is applied to, a tensor's ``add`` among them; here each
    opcode has its kinds of targets. What calls make of one object, over and over, may not grow beyond the
    file.

    Args:
        file: the pickle.
        size: bytes of the file that it is in.
        passing_over: stand-ins that take entries of lists and of sets, and drop them.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def __init__(
        self, file: BinaryIO, size: int, *, passing_over: tuple[type, ...] = (), fix_imports: bool = True
    ) -> None:
        super().__init__(file, fix_imports=fix_imports, encoding="latin1")
        self._size = size
        self._made = 0
        self._passing_over = passing_over

    def is_callable(self, function: Any) -> bool:
        """Whether a pickle may call this; asked of everything that it calls."""
        raise NotImplementedError

    def set_state(self, instance: Any, state: Any) -> None:
        """Gives an object the attributes that follow it in the pickle, or raises UnpicklingError."""
        raise NotImplementedError

    def is_key(self, part: Any) -> bool:
        """Whether this, alone or in a tuple, may be a dict's key."""
        return is_plain(part)

    def count_made(self, size: int) -> None:
        """Raises UnpicklingError when all that calls made is larger than the file, in bytes and entries."""
        self._made += size
        if self._made > self._size:
            raise pickle.UnpicklingError("it makes more of its content than the file holds")

    def _count_top(self) -> None:
        made = self.stack[-1]  # type: ignore[attr-defined]
        if type(made) in (bytes, dict):
            self.count_made(len(made))

    def _call(self, depth: int) -> Any:
        function = self.stack[-depth]  # type: ignore[attr-defined]
        if not self.is_callable(function):
            raise pickle.UnpicklingError(f"a call of a {type(function).__name__}")

    def load_reduce(self) -> None:
        self._call(2)
        super().load_reduce()  # type: ignore[misc]
        self._count_top()

    def load_newobj(self) -> None:
        self._call(2)
        super().load_newobj()  # type: ignore[misc]

    def load_newobj_ex(self) -> None:
        self._call(3)
        super().load_newobj_ex()  # type: ignore[misc]

    def _instantiate(self, klass: Any, args: Any) -> None:
        if not self.is_callable(klass):
            raise pickle.UnpicklingError(f"an instance of a {type(klass).__name__}")
        super()._instantiate(klass, args)  # type: ignore[misc]
        self._count_top()

    def load_build(self) -> None:
        # the original would set a function's attributes, too, its code among them
        state = self.stack.pop()  # type: ignore[attr-defined]
        self.set_state(self.stack[-1], state)  # type: ignore[attr-defined]

    def load_setitem(self) -> None:
        _require_target(self.stack[-3], (dict,))  # type: ignore[attr-defined]
        require_keys(self.stack[-2:-1], self.is_key)  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    def load_setitems(self) -> None:
        _require_target(self._marked(), (dict,))
        require_keys(self.stack[::2], self.is_key)  # type: ignore[attr-defined]
        super().load_setitems()  # type: ignore[misc]

    def load_append(self) -> None:
        _require_target(self.stack[-2], (list, *self._passing_over))  # type: ignore[attr-defined]
        super().load_append()  # type: ignore[misc]

    def load_appends(self) -> None:
        _require_target(self._marked(), (list, *self._passing_over))
        super().load_appends()  # type: ignore[misc]

    def load_additems(self) -> None:
        _require_target(self._marked(), (set, *self._passing_over))
        require_keys(self.stack, self.is_key)  # type: ignore[attr-defined]
        super().load_additems()  # type: ignore[misc]

    def _marked(self) -> Any:
        """What stands before the last mark."""
        return self.metastack[-1][-1]  # type: ignore[attr-defined]

    def load_frozenset(self) -> None:
        require_keys(self.stack, self.is_key)  # type: ignore[attr-defined]
        super().load_frozenset()  # type: ignore[misc]

    def load_dict(self) -> None:
        require_keys(self.stack[::2], self.is_key)  # type: ignore[attr-defined]
        super().load_dict()  # type: ignore[misc]

    def load_bytearray8(self) -> None:
        # the original makes it at the length that the file claims, before anything is read
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.APPEND[0]] = load_append
    dispatch[pickle.APPENDS[0]] = load_appends
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def is_plain(value: Any) -> bool:
    """Whether hashing, comparing and writing out a value takes no longer than the value is."""
    if isinstance(value, int):
        return value.bit_length() <= _KEY_BITS
    return value is None or isinstance(value, str | bytes | float)


def require_keys(keys: Iterable[Any], is_key: Callable[[Any], bool] = is_plain) -> None:
    """Refuses keys that are not plain values or short tuples of these.

    Python hashes and writes out nested ones by recursion, ends at a deep one, and writes one that refers
    twice to another, again and again, in letters without end.
    """
    for key in keys:
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) > _KEY_PARTS:
            raise pickle.UnpicklingError(f"a key of {len(parts)} parts")
        for part in parts:
            if is_key(part):
                continue
            if isinstance(part, int):
                raise pickle.UnpicklingError(f"a key with an integer of {part.bit_length()} bits")
            nested = isinstance(key, tuple) and isinstance(part, tuple | frozenset)
            raise pickle.UnpicklingError(
                "a key of nested tuples" if nested else f"a key of the type {type(part).__name__}"
            )


def _require_target(target: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(target, kinds):
        raise pickle.UnpicklingError(f"entries for a {type(target).__name__}")


def latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """``_codecs.encode``, as Python 3 writes bytes in protocol 2."""
    if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes of another encoding than latin1")
    return text.encode("latin1")


def does_something(module: str, name: str) -> bool:
    """Whether this is a function that only an attack has in a checkpoint."""
    if module in _BUILTINS:
        return name.partition(".")[0] not in _PLAIN_TYPES
    return module.partition(".")[0] in _DOING_MODULES


def asks_for(path: Path, module: str, name: str, kind: str) -> UnsafeCheckpointError:
    """The error for a file that names what it has no use for."""
    return UnsafeCheckpointError(
        f"{kind} {path}",
        f"it asks for {module}.{name}, which this format has no use for; nothing was run",
        "take the file from its publisher; one of your own: save its state_dict() alone, with torch.save",
    )
