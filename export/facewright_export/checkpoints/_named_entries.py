"""Entries of nested dicts and lists by their full names, each name once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from facewright_export.checkpoints._files import AGAIN, LayoutError, UnsafeCheckpointError
from facewright_export.checkpoints._torch_unpickler import LONGEST_NAME, class_name

_MAXIMUM_DEPTH: Final = 32
#: Names of everything in a file, in letters: a million entries have long names.
_MOST_LETTERS: Final = 1 << 27


def entries_by_name(content: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """Everything in a file's nested containers by its full name; `_entries` says what is left out.

    Raises UnsafeCheckpointError (nested too deep, names too long, a tensor larger than what it stores) and
    LayoutError (two tensors of one name that are not equal).
    """
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
        if len(name) > LONGEST_NAME:
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
    text = key[: LONGEST_NAME + 1].replace("/", "|")
    return text if text.isprintable() else repr(text)[1:-1]


def _subscript(key: Any) -> str:
    if isinstance(key, tuple):
        return f"({', '.join(map(_subscript, key))})"
    if isinstance(key, str | bytes):
        return repr(key[: LONGEST_NAME + 1])
    return class_name(key) or repr(key)


def _may_hold_tensors(value: Any) -> bool:
    return isinstance(value, torch.Tensor | Mapping | list | tuple) or bool(class_name(value))


def _check_tensor(name: str, tensor: torch.Tensor, path: Path) -> None:
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    # an expanded view claims any size from a few bytes
    if tensor.numel() > stored:
        raise UnsafeCheckpointError(
            f"checkpoint {path}",
            f"{name.replace('/', '.')} claims shape {list(tensor.shape)} but stores {stored} numbers",
            AGAIN,
        )
