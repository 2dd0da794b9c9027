"""Unpickling that makes nothing a file names: what the readers of arrays and of PyTorch files share.

A pickle can call any function. Here the names that a file gives are looked up in a reader's own table;
nothing is imported, and nothing is called but that table's functions.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar, Final

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


class SafeUnpickler(pickle._Unpickler):  # type: ignore[misc,name-defined]
    """The unpickler written in Python: the one in C takes any memo index for a size and fills the memory.

    Readers say in `find_class` what stands for a name, in `is_callable` what of it may be called and in
    `set_state` what becomes of an object's attributes.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def is_callable(self, function: Any) -> bool:
        """Whether a pickle may call this; asked of everything that it calls."""
        raise NotImplementedError

    def set_state(self, instance: Any, state: Any) -> None:
        """Gives an object the attributes that follow it in the pickle, or raises UnpicklingError."""
        raise NotImplementedError

    def _call(self, depth: int) -> Any:
        function = self.stack[-depth]  # type: ignore[attr-defined]
        if not self.is_callable(function):
            raise pickle.UnpicklingError(f"a call of a {type(function).__name__}")

    def load_reduce(self) -> None:
        self._call(2)
        super().load_reduce()  # type: ignore[misc]

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

    def load_build(self) -> None:
        # the original would set a function's attributes, too, its code among them
        state = self.stack.pop()  # type: ignore[attr-defined]
        self.set_state(self.stack[-1], state)  # type: ignore[attr-defined]

    def load_setitem(self) -> None:
        require_flat(self.stack[-2:-1])  # type: ignore[attr-defined]
        super().load_setitem()  # type: ignore[misc]

    def load_setitems(self) -> None:
        require_flat(self.stack[::2])  # type: ignore[attr-defined]
        super().load_setitems()  # type: ignore[misc]

    def load_additems(self) -> None:
        require_flat(self.stack)  # type: ignore[attr-defined]
        super().load_additems()  # type: ignore[misc]

    def load_frozenset(self) -> None:
        require_flat(self.stack)  # type: ignore[attr-defined]
        super().load_frozenset()  # type: ignore[misc]

    def load_dict(self) -> None:
        require_flat(self.stack[::2])  # type: ignore[attr-defined]
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
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def require_flat(keys: list[Any]) -> None:
    """Refuses tuples within tuples as keys: Python hashes them by recursion, and ends at a deep one."""
    for key in keys:
        if isinstance(key, tuple) and any(isinstance(part, tuple | frozenset) for part in key):
            raise pickle.UnpicklingError("a key of nested tuples")


def latin1(text: str, encoding: str = "latin1") -> bytes:
    """``_codecs.encode``, as Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return str(text).encode("latin1")


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
