"""Sums over many samples in two steps of fixed order: the result depends neither on threads nor on timing.

A kernel sums parts of an image's samples (``FOR_EACH_OF_PART`` in ``launch_target.h``); their sums are
added up here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facewright_kernels._runtime.boundary import FloatArray

# Few enough parts that their sums are little to write. A part is a thread of a GPU, which has room for a few
# hundred thousand: one large image is to fill it.
_SAMPLES_PER_PART = 64
_SAMPLES_PER_GPU_PART = 16


def part_count(samples: int, array: object) -> int:
    """Parts to cut the samples of one image into, on the device of ``array``; never 0. It depends on nothing
    else, so an image's sum is the same in every batch.
    """
    size = _SAMPLES_PER_PART if isinstance(array, np.ndarray) else _SAMPLES_PER_GPU_PART
    return max(-(-samples // size), 1)


def sum_parts(part_sums: Any, axes: int | tuple[int, ...]) -> FloatArray:
    """f32 sum of f32 ``part_sums`` over ``axes``, added up in float64."""
    total: FloatArray = part_sums.sum(axis=axes, dtype=np.float64).astype(np.float32)
    return total
