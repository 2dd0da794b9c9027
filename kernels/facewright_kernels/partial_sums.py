"""Sums over many samples in two steps of fixed order: the result depends neither on threads nor on timing.

A kernel sums parts of an image's samples (``FOR_EACH_OF_PART`` in ``launch_target.h``); their sums are
added up here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facewright_kernels.boundary import FloatArray

# Enough parts to fill a GPU from one large image; few enough that their sums are little to write.
_SAMPLES_PER_PART = 64


def part_count(samples: int) -> int:
    """Parts to cut the samples of one image into; never 0. It depends on nothing else, so an image's sum is
    the same in every batch.
    """
    return max(-(-samples // _SAMPLES_PER_PART), 1)


def sum_parts(part_sums: Any, axes: int | tuple[int, ...]) -> FloatArray:
    """f32 sum of f32 ``part_sums`` over ``axes``, added up in float64."""
    total: FloatArray = part_sums.sum(axis=axes, dtype=np.float64).astype(np.float32)
    return total
