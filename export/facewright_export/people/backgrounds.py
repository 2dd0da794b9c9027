"""What is behind a person: gradients, blurred shapes and noise, as out of focus as portraits have it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from facewright_export.people.chart_patterns import noise

Floats = npt.NDArray[np.float32]
_SIDE: Final = 64  # pixels; enlarged, it is blurred
_LINEAR: Final = ((np.arange(256) / 255) ** 2.2).astype(np.float32)


def draw_background(random: np.random.Generator, side: int) -> Floats:
    """Linear RGB [side, side, 3]."""
    ramp = np.linspace(0, 1, _SIDE, dtype=np.float32)
    across, down = np.meshgrid(ramp, ramp)
    lean = random.uniform(-1, 1, 2)
    slope = np.clip(0.5 + lean[0] * (across - 0.5) + lean[1] * (down - 0.5), 0, 1)[..., None]
    ends = random.uniform(0.02, 1.0) * (1 - random.uniform(0, 0.6) * random.uniform(0, 1, (2, 3)))
    if random.random() < 0.5:
        ends = ends.mean(axis=1, keepdims=True) * random.uniform(0.9, 1.1, (2, 3))
    picture = ends[0] + (ends[1] - ends[0]) * slope
    if random.random() < 0.7:
        picture = picture * np.exp(0.25 * random.random() * noise(random, (_SIDE, _SIDE), 3))[..., None]
    image = Image.fromarray((np.clip(picture, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8))
    if random.random() < 0.6:
        pen = ImageDraw.Draw(image)
        for _ in range(random.integers(2, 12)):
            x, y = random.uniform(0, _SIDE, 2)
            w, h = random.uniform(3, 40, 2)
            grey = random.uniform(0, 255)
            colour = tuple(
                int(grey + random.uniform(0, 0.5) * (value - grey)) for value in random.integers(0, 256, 3)
            )
            draw = pen.rectangle if random.random() < 0.6 else pen.ellipse
            draw((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=colour)
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 4)))
    background: Floats = _LINEAR[np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))]
    return background
