"""Checks at the boundary of a public kernel: shape, dtype and device in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: NumPy arrays, or CuPy arrays of the same dtype (CuPy mirrors NumPy's interface and is not needed on a CPU).
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]


def array_module(array: object) -> Any:
    """``numpy`` or ``cupy``, whichever the array belongs to."""
    if isinstance(array, np.ndarray):
        return np
    if hasattr(array, "__cuda_array_interface__"):
        import cupy

        return cupy
    raise ValueError(f"expected a NumPy or CuPy array, got {type(array).__name__}")


def device_name(array: Any) -> str:
    """``cpu``, or ``gpu 0`` with the number of a CuPy array's device."""
    if isinstance(array, np.ndarray):
        return "cpu"
    return f"gpu {getattr(getattr(array, 'device', None), 'id', '')}".rstrip()  # other libraries have no id


class Boundary:
    """Checks the arrays of one call; letters in shapes (``B V 4``) must agree between them.

    ``...`` stands for any number of axes (zero or more).
    """

    def __init__(self, function: str) -> None:
        self.function = function
        self._sizes: dict[str, int] = {}
        self._device: str | None = None

    def array(self, name: str, value: Any, dtype: str | tuple[str, ...], shape: str) -> Any:
        """The array, C-contiguous (copied if it was not). Raises ValueError."""
        allowed = (dtype,) if isinstance(dtype, str) else dtype
        wanted = f"{self.function}: {name} must be {' or '.join(allowed)} [{', '.join(shape.split())}]"
        if not (isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__")):
            raise ValueError(f"{wanted}, got {type(value).__name__}; pass a NumPy or CuPy array")
        device = device_name(value)
        seen = f"{value.dtype} {list(value.shape)} on the {device}"
        if self._device not in (None, device):
            raise ValueError(f"{wanted} on the {self._device} like the arrays before it, got {seen}")
        if str(value.dtype) not in allowed or not self._bind(shape.split(), value.shape):
            sizes = ", ".join(f"{letter} = {size}" for letter, size in self._sizes.items())
            raise ValueError(f"{wanted}{f' with {sizes}' if sizes else ''}, got {seen}")
        self._device = device
        return array_module(value).ascontiguousarray(value)

    def size(self, letter: str) -> int:
        """The size bound to a letter by the arrays checked so far."""
        return self._sizes[letter]

    def indices(self, name: str, values: Any, limit: int) -> None:
        """Every index in 0…limit−1. Looked at on the CPU only: on a GPU it would make the host wait, so
        kernels skip such elements there."""
        if isinstance(values, np.ndarray) and values.size and limit >= 0:
            lowest, highest = int(values.min()), int(values.max())
            if lowest < 0 or highest >= limit:
                raise ValueError(
                    f"{self.function}: {name} must hold indices 0 to {limit - 1}, "
                    f"holds {lowest if lowest < 0 else highest}"
                )

    def offsets(self, name: str, values: Any, entries: int) -> None:
        """Where lists begin: never falling, within 0…entries. Looked at on the CPU only, as :meth:`indices`;
        kernels cut such lists to the entries there are.
        """
        self.indices(name, values, entries + 1)
        if isinstance(values, np.ndarray) and (values[1:] < values[:-1]).any():
            at = int(np.argmax(values[1:] < values[:-1]))
            raise ValueError(
                f"{self.function}: {name} must not fall, goes from {values[at]} to {values[at + 1]}"
            )

    def number(self, name: str, value: float, lowest: float, highest: float) -> None:
        """``lowest <= value <= highest`` (so NaN is refused)."""
        if not lowest <= value <= highest:
            raise ValueError(f"{self.function}: {name} must be {lowest} to {highest}, got {value}")

    def _bind(self, pattern: list[str], shape: tuple[int, ...]) -> bool:
        if "..." in pattern:
            at = pattern.index("...")
            if len(shape) < len(pattern) - 1:
                return False
            pattern = [*pattern[:at], *["_"] * (len(shape) - len(pattern) + 1), *pattern[at + 1 :]]
        if len(pattern) != len(shape):
            return False
        bound = dict(self._sizes)
        for letter, size in zip(pattern, shape, strict=True):
            if letter == "_":
                continue
            wanted = int(letter) if letter.isdigit() else bound.setdefault(letter, size)
            if wanted != size:
                return False
        self._sizes = bound
        return True
