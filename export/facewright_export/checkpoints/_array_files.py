"""Read MATLAB files of arrays, and hold what was read to the shape that a model needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright_export.checkpoints._files import (
    AGAIN,
    WHICH,
    LayoutError,
    UnreadableCheckpointError,
    UnsafeCheckpointError,
    WeightError,
    damaged,
    first_bytes,
    inflation_bound,
    listed,
)
from facewright_export.checkpoints._formats import wrong_format

Array = npt.NDArray[Any]

_MAT_MAGIC: Final = b"MATLAB 5.0 MAT-file"
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_MAT_COMPRESSED: Final = 15


def read_mat(path: Path | str, names: Sequence[str]) -> dict[str, Array]:
    """The numeric matrices ``names`` of a MATLAB 5 file (``BFM_model_front.mat``), as SciPy shapes them.

    Raises UnreadableCheckpointError, UnsafeCheckpointError (a compressed matrix that inflates without bound)
    and LayoutError naming every missing or non-numeric matrix.
    """
    import scipy.io  # needed by this format alone

    path = Path(path)
    start = first_bytes(path)
    if start.startswith(_HDF5_MAGIC) or start.startswith(b"MATLAB 7.3"):
        raise UnreadableCheckpointError(
            f"MAT file {path}",
            "it is of version 7.3 (HDF5)",
            "save it in MATLAB with -v7, or take the published file",
        )
    if not start.startswith(_MAT_MAGIC):
        raise wrong_format(path, "a MATLAB 5 file")
    _check_mat(path)
    try:
        content = scipy.io.loadmat(path, variable_names=list(names))
    except Exception as error:  # SciPy's reader raises whatever a damaged field makes it stumble over
        raise damaged(path, error) from error
    wrong = [
        name if name not in content else f"{name} ({getattr(content[name], 'dtype', '?')})"
        for name in names
        if not (
            name in content and isinstance(content[name], np.ndarray) and content[name].dtype.kind in "fiub"
        )
    ]
    if wrong:
        raise LayoutError(
            f"MAT file {path}",
            f"missing or not numeric: {listed(sorted(wrong))}",
            WHICH,
        )
    return {name: content[name] for name in names}


def finite_array(
    content: Mapping[str, Any], name: str, shape: Sequence[int | None], *, source: str
) -> npt.NDArray[np.float64]:
    """``content[name]`` as float64 of ``shape`` (None: any size on that axis).

    Raises LayoutError if it is missing or of another shape, WeightError if it holds NaN or infinity.
    """
    if name not in content:
        raise LayoutError(source, f"no {name!r}; it holds {listed(sorted(content))}", WHICH)
    if isinstance(content[name], list | dict):  # lists that refer twice to one another have no end
        raise LayoutError(source, f"{name} is a {type(content[name]).__name__}, expected an array", WHICH)
    array = np.asarray(content[name])
    fits = array.ndim == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in "fiu" or not fits:
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        raise LayoutError(
            source,
            f"{name} is {array.dtype} {list(array.shape)}, expected [{expected}]",
            WHICH,
        )
    widened = array.astype(np.float64)
    if not np.isfinite(widened).all():
        raise WeightError(source, f"NaN or infinity in {name}", AGAIN)
    return widened


def index_array(
    content: Mapping[str, Any], name: str, shape: Sequence[int | None], *, below: int, source: str
) -> npt.NDArray[np.int32]:
    """``content[name]`` as int32 indices of ``shape`` in 0 … ``below`` − 1; errors as ``finite_array``'s."""
    values = finite_array(content, name, shape, source=source)
    if values.size and not (values.min() >= 0 and values.max() < below and (values == np.rint(values)).all()):
        raise LayoutError(
            source,
            f"{name} has values {values.min():g} … {values.max():g}, expected indices in 0 … {below - 1}",
            WHICH,
        )
    return values.astype(np.int32)


def _check_mat(path: Path) -> None:
    """Refuse a MATLAB file that is cut short, or whose compressed matrices inflate without bound."""
    content = memoryview(path.read_bytes())
    if len(content) < 128 or bytes(content[126:128]) not in (b"IM", b"MI"):
        raise UnreadableCheckpointError(f"MAT file {path}", "its header is cut short or damaged", AGAIN)
    order = "<" if bytes(content[126:128]) == b"IM" else ">"
    bound = inflation_bound(len(content))
    position, inflated = 128, 0
    while position < len(content):
        if position + 8 > len(content):
            raise UnreadableCheckpointError(f"MAT file {path}", "cut short", AGAIN)
        kind, size = struct.unpack(f"{order}II", content[position : position + 8])
        position += 8
        if position + size > len(content):
            raise UnreadableCheckpointError(
                f"MAT file {path}", f"cut short: {position + size - len(content)} bytes are missing", AGAIN
            )
        if kind == _MAT_COMPRESSED:
            inflated += _inflated_size(content[position : position + size], bound - inflated, path)
        position += size


def _inflated_size(content: memoryview, bound: int, path: Path) -> int:
    """How many bytes ``content`` inflates to; raises as soon as they exceed ``bound``."""
    stream, total = zlib.decompressobj(), 0
    left: bytes | memoryview = content
    try:
        while left and not stream.eof:
            total += len(stream.decompress(left, 1 << 22))
            left = stream.unconsumed_tail
            if total > bound:
                raise UnsafeCheckpointError(
                    f"MAT file {path}", f"a matrix inflates beyond {bound / 2**20:.0f} MiB", AGAIN
                )
    except zlib.error as error:
        raise damaged(path, error) from error
    return total
