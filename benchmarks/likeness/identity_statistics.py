"""Who a photo shows, and how numbers are summed up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def person_of(file_name: str) -> str:
    """Who a photo shows: ``ann__sea.jpg`` and ``ann__office.jpg`` are one person, ``bob.jpg`` is another."""
    stem = file_name.rsplit(".", 1)[0]
    return stem.split("__", 1)[0]


def summary(values: Sequence[float] | F64) -> dict[str, float | int]:
    """Count, mean, median and p95 of finite values; only the count where there are none."""
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {"count": 0}
    return {
        "count": len(finite),
        "mean": round(float(finite.mean()), 4),
        "median": round(float(np.median(finite)), 4),
        "p95": round(float(np.percentile(finite, 95)), 4),
    }
