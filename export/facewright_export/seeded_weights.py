"""Deterministic weights by key and shape: they fill an official network and ours alike, to compare the two.

The numbers come from the raw 64-bit stream of PCG64, which NumPy keeps stable across versions (its
distributions it does not), so outputs that were recorded once stay true.
"""

import hashlib
import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

StateArrays = dict[str, NDArray[np.float32] | NDArray[np.int64]]


def seeded_uniform(shape: tuple[int, ...], key: str, seed: int) -> NDArray[np.float32]:
    """Uniform float32 numbers in [−1, 1), a function of `key` and `seed` alone (multiples of 2⁻²³)."""
    entropy = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:16], "little")
    count = math.prod(shape)
    raw = np.asarray(np.random.PCG64(entropy).random_raw((count + 1) // 2), dtype="<u8")
    unit = (raw.view("<u4")[:count] >> np.uint32(8)).astype(np.float32) * np.float32(2**-23)
    return (unit - np.float32(1)).reshape(shape)


def seeded_normal(shape: tuple[int, ...], key: str, seed: int) -> NDArray[np.float32]:
    """Float32 numbers of N(0, 1), a function of `key` and `seed`: Box and Muller's of `seeded_uniform`."""
    radius, angle = (
        seeded_uniform(shape, f"{key} {part}", seed).astype(np.float64) for part in ("r", "angle")
    )
    # 1 − u of u in [0, 1) is never 0
    normal = np.sqrt(-2 * np.log1p(-(radius + 1) / 2)) * np.cos(np.pi * angle)
    return np.asarray(normal, np.float32)


def seeded_state_dict(
    shapes: Mapping[str, tuple[int, ...]], seed: int, deviations: Mapping[str, float] | None = None
) -> StateArrays:
    """One array for each key of a state dict, of a scale that keeps activations finite in deep networks.

    `…num_batches_tracked` is int64 zero; everything else is float32: `…running_var` uniform in 0.5–1.5;
    arrays of two and more axes uniform of zero mean and variance 1 / fan-in (the product of all axes but the
    first); vectors called `…weight` (scales of a normalisation, slopes) uniform in 0.5–1.5; other vectors and
    scalars uniform of zero mean and standard deviation 0.1. `deviations` maps a shell pattern of keys
    (`"style.*.weight"`) to the standard deviation of zero-mean numbers instead, for networks that scale their
    weights at run time.
    """
    return {key: _seeded_array(key, shape, seed, deviations or {}) for key, shape in shapes.items()}


def _seeded_array(
    key: str, shape: tuple[int, ...], seed: int, deviations: Mapping[str, float]
) -> NDArray[np.float32] | NDArray[np.int64]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    numbers = seeded_uniform(shape, key, seed)
    deviation = next((value for pattern, value in deviations.items() if fnmatchcase(key, pattern)), None)
    if deviation is None:
        if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
            return np.float32(1) + np.float32(0.5) * numbers
        deviation = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) >= 2 else 0.1
    # In place, because a scalar times an array without axes would no longer be an array.
    numbers *= np.float32(math.sqrt(3) * deviation)
    return numbers
