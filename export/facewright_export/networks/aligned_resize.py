"""Bilinear resizing with aligned corners as two multiplications by constant matrices.

The same values as `torch.nn.functional.interpolate(…, align_corners=True)`; but the exported graph has no
Resize whose sizes are computed from a dynamic batch, which engines refuse or run slowly.
"""

import torch
from torch import Tensor


def resize_aligned(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Features f32 [B, C, h, w] → [B, C, *size]: the first and last rows and columns stay where they are."""
    rows = _weights(features.shape[2], size[0]).to(features)
    columns = _weights(features.shape[3], size[1]).to(features)
    return rows @ features @ columns.T


def _weights(source: int, target: int) -> Tensor:
    """[target, source]: how much of each source sample a target sample takes; rows sum to 1."""
    step = (source - 1) / (target - 1) if target > 1 else 0.0
    position = torch.arange(target, dtype=torch.float64)[:, None] * step
    distance = (position - torch.arange(source, dtype=torch.float64)[None, :]).abs()
    return (1 - distance).clamp(min=0)
