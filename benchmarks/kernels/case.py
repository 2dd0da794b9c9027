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
    """What one row of the table needs.

    Attributes:
        call: runs the kernel.
        check: raises AssertionError where the result is wrong; run once, before timing.
        bytes_moved: inputs read once and outputs written once.
        goal_ms: the target of one CPU thread on this project's machines; None where there is none.
        rivals: the same computation by other means (``numpy``, ``torch``, ``nvdiffrast``); each is compared
            with the kernel's result before it is timed, too.
        result: the array of what ``call`` returns that rivals compute.
        rival_error: largest difference to a rival, as a share of the largest magnitude.
        rival_outliers: largest share of values that may differ by more than that.
        in_place: the kernel writes over what it read, and so does the copy that it is compared with.
    """

    call: Callable[[], Any]
    check: Callable[[], None]
    bytes_moved: int
    goal_ms: float | None = None
    rivals: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    result: Callable[[Any], Any] = _itself
    rival_error: float = 1e-3
    rival_outliers: float = 0.0
    in_place: bool = False


@dataclass(frozen=True)
class LazyCase:
    """A case before its inputs are made: making them runs kernels, which may fail.

    Attributes:
        name: kernel, then size.
        build: makes the inputs.
    """

    name: str
    build: Callable[[], Case]

    @property
    def kernel(self) -> str:
        """Name of the public function that is timed."""
        return self.name.split()[0]


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


def assert_close(got: Any, expected: Any, relative: float = 1e-4) -> None:
    """By the size of the whole array: one texel may round into the cell beside it. Raises AssertionError."""
    assert got.shape == expected.shape, f"{got.shape} instead of {expected.shape}"
    error, size = np.linalg.norm(host(got) - expected), np.linalg.norm(expected)
    assert error < relative * size, f"differs by {error:.3g} of {size:.3g}"


def assert_agrees(rival: str, got: Any, expected: Any, case: Case) -> None:
    """A rival's result is the kernel's, but for the errors that the case allows. Raises AssertionError."""
    assert got.shape == expected.shape, f"{rival} has shape {got.shape} instead of {expected.shape}"
    error = np.abs(got.astype(np.float64) - expected)
    limit = case.rival_error * np.abs(expected).max(initial=0)
    outliers = float((~(error <= limit)).mean()) if error.size else 0.0  # NaN is an outlier
    assert outliers <= case.rival_outliers, (
        f"{rival} differs by up to {error.max():.3g}; by more than {limit:.3g} in {100 * outliers:.3g} % of "
        f"the values, {100 * case.rival_outliers:.3g} % may"
    )
