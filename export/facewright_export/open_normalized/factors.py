"""Codes w of people and the factors that they say.

w = √(512/192) · A factors, A f32 [512, 192] with orthonormal columns: its entries are ~ N(0, 1) where the
factors are. W+ repeats w for each of the 14 layers of the generator; what a W+ says of the form of the head
is the mean over its layers, what it says of the look is read by each layer for itself.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facewright_client.contract import IDENTITY_SIZE
from facewright_export.open_normalized.looks import LOOK_FACTORS
from facewright_export.seeded_weights import seeded_uniform

F32 = NDArray[np.float32]

W_SIZE: Final = 512
LAYERS: Final = 14
LOOK_SIZE: Final = len(LOOK_FACTORS)
FACTORS: Final = IDENTITY_SIZE + LOOK_SIZE
#: What factors of unit variance are multiplied by for entries of w of unit variance.
SCALE: Final = math.sqrt(W_SIZE / FACTORS)
_SEED: Final = 192


@cache
def factor_map() -> F32:
    """A f32 [512, 192]: which directions of w the factors are, identity first. Do not write into it."""
    columns = seeded_uniform((W_SIZE, FACTORS), "open normalized factors", _SEED).astype(np.float64)
    orthonormal, triangle = np.linalg.qr(columns)
    return (orthonormal * np.sign(np.diag(triangle))).astype(np.float32)


def w_of(identity: F32, look: F32) -> F32:
    """Codes f32 [B, 512] of people with ``identity`` f32 [B, 160] and ``look`` f32 [B, 32]."""
    codes: F32 = np.concatenate([identity, look], axis=1) @ (factor_map().T * np.float32(SCALE))
    return codes.astype(np.float32)


def w_plus_of(w: F32) -> F32:
    """Codes f32 [B, 14, 512] that repeat ``w`` f32 [B, 512]."""
    return np.repeat(w[:, None], LAYERS, axis=1)


def reading_map() -> F32:
    """f32 [512, 192]: w times it are the factors."""
    return factor_map() / np.float32(SCALE)
