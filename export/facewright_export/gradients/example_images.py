"""Random images with structure at several scales, to compare and calibrate networks on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from facewright_export.seeded_weights import seeded_uniform


def smooth_images(key: str, count: int, side: int) -> Tensor:
    """Colour images f32 [count, 3, side, side] in 0-1, a function of ``key`` and sizes alone."""
    total = torch.zeros(count, 3, side, side)
    for cells in (2, 4, 8, 16, 32):
        noise = torch.from_numpy(seeded_uniform((count, 3, cells, cells), f"{key} {cells}", seed=16))
        total += functional.interpolate(noise, size=side, mode="bilinear") / 4
    return (total + 0.5).clamp(0, 1)
