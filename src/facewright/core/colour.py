"""sRGB transfer function and luminance (IEC 61966-2-1), on NumPy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facewright.core.arrays import Floats

#: Rec. 709 luminance of linear RGB.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def _decode_table() -> Floats:
    code = np.arange(256, dtype=np.float64) / 255.0
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


SRGB_TO_LINEAR: Floats = _decode_table()


def linear_from_srgb(image: NDArray[np.uint8]) -> Floats:
    """``uint8`` sRGB of any shape → float32 linear light, 0–1."""
    return SRGB_TO_LINEAR[image]


def srgb_from_linear(linear: Floats) -> NDArray[np.uint8]:
    """float32 linear light of any shape → ``uint8`` sRGB, rounded; values outside 0–1 are clamped."""
    clamped = np.clip(linear, 0.0, 1.0)
    code = np.where(clamped <= 0.0031308, clamped * 12.92, 1.055 * clamped ** np.float32(1 / 2.4) - 0.055)
    return (code * 255.0 + 0.5).astype(np.uint8)


def decoded_srgb(encoded: Floats) -> Floats:
    """float32 sRGB values, 0-1, of any shape → linear light; values outside are clamped."""
    code = np.clip(encoded, 0.0, 1.0)
    linear: Floats = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** np.float32(2.4))
    return linear.astype(np.float32)


def luminance(linear: Floats) -> Floats:
    """Linear RGB ``[..., 3]`` → luminance ``[...]``."""
    return linear @ LUMINANCE
