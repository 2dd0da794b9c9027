"""Statistics over people: same and different persons, right person nearest, quantiles by pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairDistances:
    """Photo ↔ photo distances: of one person's photos, and of different people's."""

    same: F64
    strangers: F64


def person_of(file_name: str) -> str:
    """Who a photo shows: ``ann__sea.jpg`` and ``ann__office.jpg`` are one person, ``bob.jpg`` is another."""
    stem = file_name.rsplit(".", 1)[0]
    return stem.split("__", 1)[0]


def pair_distances(descriptors: F64, persons: Sequence[str]) -> PairDistances:
    """All pairs of descriptors [N, D], split by whether ``persons`` (N names) agree.

    Raises:
        ValueError: as many names as descriptors are needed.
    """
    if len(descriptors) != len(persons):
        raise ValueError(f"{len(descriptors)} descriptors but {len(persons)} persons")
    first, second = np.triu_indices(len(persons), 1)
    distance = np.linalg.norm(descriptors[first] - descriptors[second], axis=1)
    names = np.asarray(persons)
    same = names[first] == names[second]
    return PairDistances(distance[same], distance[~same])


def nearest_is_right(
    renders: F64, photos: F64, render_persons: Sequence[str], photo_persons: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Whether the photo [M, D] nearest to each render's descriptor [N, D] shows the same person, bool [N].

    All of a person's photos count as right, the one the avatar was made from included.
    """
    distance = np.linalg.norm(renders[:, None] - photos[None], axis=2)
    nearest = np.argmin(distance, axis=1)
    return np.asarray(np.asarray(photo_persons)[nearest] == np.asarray(render_persons))


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
