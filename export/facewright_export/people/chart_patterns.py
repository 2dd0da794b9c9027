"""Random patterns of several scales."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]


def noise(random: np.random.Generator, shape: tuple[int, int], octaves: int, coarsest: int = 6) -> Floats:
    """Smooth noise [H, W] of unit variance about 0; each octave is twice as fine and has .7 of the height.

    Args:
        random: draws it.
        shape: height and width.
        octaves: how many scales; the first has ``coarsest`` cells across.
        coarsest: cells across of the first octave.
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        cells = coarsest * 2**octave
        grid = random.standard_normal((max(2, cells * height // width), cells)).astype(np.float32)
        fine = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(fine) * np.float32(0.7**octave)
    centred: Floats = total - total.mean()
    return centred / (centred.std() + np.float32(1e-6))
