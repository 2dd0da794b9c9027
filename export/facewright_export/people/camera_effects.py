"""What cameras do to a picture: white balance, vignette, tone, blur, lost resolution, noise, JPEG."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_STEPS: Final = 4096
_LINEAR: Final = np.arange(_STEPS, dtype=np.float64) / (_STEPS - 1)
#: sRGB of linear light, in steps of 1/4095.
_SRGB: Final = np.where(
    _LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * np.maximum(_LINEAR, 1e-6) ** (1 / 2.4) - 0.055
)
#: A sheet of noise of unit variance, and how many places on it a photo's may begin at, each way.
_SHIFTS: Final = 120
_GRAIN: Final = np.random.Generator(np.random.PCG64(0)).standard_normal((509, 509, 3), np.float32)


def srgb_bytes(linear: Floats, curve: npt.NDArray[np.float64] = _SRGB) -> Bytes:
    """Linear RGB as bytes, by a tone ``curve`` of 4096 steps (sRGB by default)."""
    table = np.clip(curve * 255 + 0.5, 0, 255).astype(np.uint8)
    steps = linear * np.float32(_STEPS - 1)
    np.clip(steps, 0, _STEPS - 1, out=steps)
    bytes_: Bytes = table[steps.astype(np.uint16)]
    return bytes_


def photographed(linear: Floats, random: np.random.Generator) -> Bytes:
    """The picture uint8 [S, S, 3] that a camera makes of linear RGB [S, S, 3]."""
    side = len(linear)
    gains = np.exp(random.normal(0, [0.05, 0.015, 0.06])).astype(np.float32)
    if random.random() < 0.4:
        ramp = np.linspace(-1, 1, side, dtype=np.float32) ** 2
        gains = gains * (1 - random.uniform(0.05, 0.3) * 0.5 * (ramp[:, None] + ramp[None])[..., None])
    bent = _SRGB ** random.lognormal(0, 0.12)
    contrast = random.uniform(0, 0.35)
    curve = bent + contrast * (bent * bent * (3 - 2 * bent) - bent)
    image = Image.fromarray(srgb_bytes(linear * gains, curve))
    if random.random() < 0.04:
        image = image.convert("L").convert("RGB")
    if random.random() < 0.35:
        small = int(side * random.uniform(0.35, 0.9))
        image = image.resize(
            (small, small), Image.Resampling.BOX if small > side / 2 else Image.Resampling.HAMMING
        )
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    if random.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(side / 256 * random.uniform(0.2, 1.1)))
    if random.random() < 0.6:
        image = _noisy(image, random)
    if random.random() < 0.7:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(random.integers(35, 96)))
        image = Image.open(file)
    return np.asarray(image)


def _noisy(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Grain, partly common to the colours."""
    pixels = np.asarray(image)
    sheet = _GRAIN
    if len(pixels) + _SHIFTS > len(sheet):
        repeats = -(-(len(pixels) + _SHIFTS) // len(sheet))
        sheet = np.tile(sheet, (repeats, repeats, 1))
    sigma = np.float32(random.uniform(1, 7))
    row, column = random.integers(0, _SHIFTS, 2)
    grain = sheet[row : row + len(pixels), column : column + pixels.shape[1]] * (np.float32(0.7) * sigma)
    if random.random() < 0.5:
        grain += grain[..., :1].copy()
    grain += pixels
    return Image.fromarray(np.clip(grain, 0, 255, out=grain).astype(np.uint8))
