"""How different two pictures look: CIE 1976 colour difference after a blur that hides antialiasing."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
_WHITE = _RGB_TO_XYZ.sum(axis=1)
_BLOCK = 4  # pixels


@dataclass(frozen=True)
class Difference:
    """Colour differences of blocks (2 is just noticeable): mean, largest, and all of them, f64 [h, w]."""

    mean: float
    worst: float
    where: NDArray[np.float64]


def picture(content: bytes) -> NDArray[np.uint8]:
    """sRGB u8 [H, W, 3] of an encoded picture."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Difference:
    """Compares pictures of equal size, averaged over blocks of 4 x 4 pixels."""
    if one.shape != other.shape:
        raise ValueError(f"pictures of different sizes: {one.shape} and {other.shape}")
    where = np.linalg.norm(_lab(one) - _lab(other), axis=-1)
    return Difference(float(where.mean()), float(where.max()), where)


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    code = image / 255.0
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    height, width = image.shape[0] // _BLOCK, image.shape[1] // _BLOCK
    blocks = linear[: height * _BLOCK, : width * _BLOCK].reshape(height, _BLOCK, width, _BLOCK, 3)
    relative = blocks.mean(axis=(1, 3)) @ _RGB_TO_XYZ.T / _WHITE
    root = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
