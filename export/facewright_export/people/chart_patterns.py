"""What the chart of a face is made of: noise of several scales, beards' outlines, lines that age draws."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]
#: Places of one half of the face, across and up on the canonical head, millimetres.
Line = tuple[tuple[float, float], ...]

BEARDS: Final[dict[str, tuple[Line, ...]]] = {
    # polygons of one half of the face, canonical millimetres: across, up
    "moustache": (((0, -47), (14, -48), (27, -60), (24, -67), (0, -60)),),
    "goatee": (
        ((0, -47), (14, -48), (27, -60), (24, -67), (0, -60)),
        ((0, -83), (15, -84), (24, -66), (30, -68), (27, -105), (0, -125)),
    ),
    "chin": (((0, -84), (13, -86), (22, -100), (15, -120), (0, -125)),),
    "full": (
        ((0, -47), (14, -48), (27, -60), (24, -67), (0, -60)),
        (
            (0, -83),
            (14, -82),
            (25, -64),
            (36, -55),
            (58, -40),
            (68, 0),
            (80, 0),
            (80, -75),
            (40, -150),
            (0, -150),
        ),
    ),
}
#: The middle of a brow, from its inner end.
BROW: Final[Line] = ((9, 10.5), (15, 13.0), (25, 16.5), (38, 19.0), (50, 15.5), (57, 11.5))
#: Lines that age draws: canonical millimetres of one half of the face.
CREASES: Final = (
    ((0, 36), (18, 38), (36, 35)),
    ((0, 44), (20, 46), (40, 42)),
    ((0, 52), (16, 53), (30, 51)),
    ((7, 12), (8, 19), (7, 27)),
    ((20, -33), (27, -44), (31, -58), (32, -66)),
    ((29, -72), (31, -82), (30, -92)),
    ((47, 2), (54, 6), (60, 9)),
    ((47, -1), (55, -2), (62, -2)),
    ((46, -5), (53, -10), (59, -13)),
    ((17, -9), (26, -14), (38, -12)),
    ((0, -90), (10, -91), (18, -89)),
)


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
    unit: Floats = (total - total.mean()) / (total.std() + np.float32(1e-6))
    return unit
