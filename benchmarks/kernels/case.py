"""What is timed: a call, a check that its result is right, and the bytes it cannot avoid to move."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def _itself(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: kernel and size.
        call: runs it.
        check: raises AssertionError where the result is wrong; run once, before timing.
        bytes_moved: inputs read once and outputs written once.
        goal_ms: the target of one CPU thread on this project's machines; None where there is none.
        rivals: the same computation by other means (``numpy``, ``torch``, ``nvdiffrast``); each is compared
            with the kernel's result before it is timed, too.
        result: the array of what ``call`` returns that rivals compute.
        rival_error: largest difference to a rival, as a share of the largest magnitude.
    """

    name: str
    call: Callable[[], Any]
    check: Callable[[], None]
    bytes_moved: int
    goal_ms: float | None = None
    rivals: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    result: Callable[[Any], Any] = _itself
    rival_error: float = 1e-3


def byte_count(*arrays: Any) -> int:
    """Bytes of all arrays together."""
    return sum(int(array.nbytes) for array in arrays)


def host(array: Any) -> Any:
    """A NumPy, CuPy or torch array as NumPy."""
    if hasattr(array, "detach"):
        return array.detach().cpu().numpy()
    return array if isinstance(array, np.ndarray) else array.get()


def first64(array: Any) -> Any:
    """The first image of a batch as float64 on the host."""
    return host(array[0]).astype(np.float64)
