"""Pickles that want to harm, opcode by opcode, and a limit on the memory of whoever reads them."""

import os
import resource
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


@contextmanager
def memory_limit(extra: int) -> Iterator[None]:
    """No more than ``extra`` bytes of address space beyond what the process has."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


class Command:
    """Pickles as a call of ``os.system``, which leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def with_pickle(path: Path, content: bytes, stored: int = 16) -> Path:
    """An archive of ``torch.save`` with one storage, "0", of ``stored`` floats, and this pickle."""
    torch.save({"a": torch.arange(float(stored))}, path)
    with zipfile.ZipFile(path) as sound:
        members = {name: sound.read(name) for name in sound.namelist()}
    with zipfile.ZipFile(path, "w") as changed:
        for name, member in members.items():
            changed.writestr(name, content if name.endswith("data.pkl") else member)
    return path


def push_number(value: int) -> bytes:
    """The opcode of eight bytes."""
    return b"\x8a\x08" + struct.pack("<q", value)


def push_text(text: str) -> bytes:
    """The opcode of a text."""
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def push_storage(
    key: bytes = push_text("0"), kind: bytes = b"ctorch\nFloatStorage\n", name: bytes = push_text("storage")
) -> bytes:
    """A storage by its persistent id, as ``torch.save`` writes one."""
    return b"(" + name + kind + key + push_text("cpu") + push_number(16) + b"tQ"


def push_tensor(
    size: bytes = b"K\x10\x85", stride: bytes = b"K\x01\x85", storage: bytes = push_storage()
) -> bytes:
    """A tensor over such a storage."""
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + size + stride + b"\x89}tR"


TENSOR = push_tensor()
OBJECT = b"cfoo\nBar\n)\x81"
LONG_INTEGER = b"\x8b" + struct.pack("<i", 2501) + (2**20_000 - 1).to_bytes(2501, "little", signed=True)
#: 3000 objects or lists, each in the one before; and 26, each referring twice to the next.
DEEP_OBJECT = (OBJECT + b"K\x00") * 3000 + b"N" + b"s" * 3000
DEEP_TUPLE = b")" + b"\x85" * 200_000
TWICE = b"]" + b"".join(
    b"q" + bytes([i]) + b"0](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(26)
)


def dict_of(*entries: bytes) -> bytes:
    """A whole pickle: a dict of keys and values in turn."""
    return b"\x80\x04}(" + b"".join(entries) + b"u."
