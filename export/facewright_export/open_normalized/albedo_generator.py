"""The open generator in torch: what training fits, and what the exported graphs are held to."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from facewright.head.head_model import HeadModel
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.gradients.refinement_functions import OFFSET_SCALE, UvMapGenerator
from facewright_export.open_normalized.albedo_weights import (
    BENDING,
    BENDING_BIAS,
    DOUBLING_TAPS,
    LEVELS,
    LevelWeights,
    load_weights,
)
from facewright_export.open_normalized.factors import reading_map
from facewright_export.open_normalized.geometry_maps import (
    COARSE_SIZE,
    ENLARGEMENT,
    MAP_SIZE,
    GeometryMaps,
    enlarging_taps,
)

_HALF: Final = torch.float16


class OpenSynthesis(nn.Module):
    """W+ f32 [B, 14, 512] → [B, 6, 256, 256], a synthesis as `UvMapGenerator` takes it.

    Channels 0-2 are offsets in `OFFSET_SCALE`; of the others c stands for the albedo ((c + 1) / 2)².
    """

    def __init__(self, levels: list[LevelWeights], maps: GeometryMaps) -> None:
        super().__init__()
        self.looks = nn.ModuleList(LookLevel(level) for level in levels)
        reading = torch.from_numpy(reading_map().copy())
        taps = torch.from_numpy(enlarging_taps())
        doubling = torch.tensor(DOUBLING_TAPS)
        constants = {
            "identity": reading[:, :IDENTITY_SIZE],
            "look": reading[:, IDENTITY_SIZE:],
            # As the files keep them.
            "coarse": torch.from_numpy(maps.coarse).to(_HALF).float().flatten(1),
            "fine": torch.from_numpy(maps.fine).to(_HALF).float().flatten(1),
            "texels": torch.from_numpy(maps.texels),
            "enlarging": (taps[:, None] * taps).expand(3, 1, -1, -1).clone(),
            "doubling": (doubling[:, None] * doubling).expand(3, 1, -1, -1).clone(),
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, w_plus: Tensor) -> Tensor:
        return torch.cat([self._offset(w_plus) / OFFSET_SCALE, self.root(w_plus) * 2 - 1], dim=1)

    def root(self, w_plus: Tensor) -> Tensor:
        """Square root of linear albedo f32 [B, 3, 256, 256]."""
        root: Tensor | None = None
        for shape, look in zip(LEVELS, self.looks, strict=True):
            read = w_plus[:, shape.first_layer : shape.first_layer + shape.layers].mean(dim=1)
            level = look(read @ self.look)
            if root is not None:
                level = level + functional.conv_transpose2d(
                    root, self.doubling, stride=2, padding=1, groups=3
                )
            root = level
        assert root is not None
        return root

    def _offset(self, w_plus: Tensor) -> Tensor:
        identity = w_plus.mean(dim=1) @ self.identity
        coarse = (identity @ self.coarse).reshape(-1, 3, COARSE_SIZE, COARSE_SIZE)
        enlarged = functional.conv_transpose2d(
            coarse, self.enlarging, stride=ENLARGEMENT, padding=ENLARGEMENT // 2, groups=3
        )
        fine = (identity @ self.fine).reshape(-1, 3, len(self.texels))
        placed = enlarged.flatten(2).index_add(2, self.texels, fine)
        return placed.reshape(-1, 3, MAP_SIZE, MAP_SIZE)


class LookLevel(nn.Module):
    """Factors f32 [B, 32] → a level's map f32 [B, 3, S, S]."""

    def __init__(self, weights: LevelWeights) -> None:
        super().__init__()
        for name, value in {
            **vars(weights),
            "bending": BENDING,
            "bending_bias": BENDING_BIAS,
        }.items():
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    def forward(self, factors: Tensor) -> Tensor:
        bent = torch.tanh(factors @ self.bending + self.bending_bias)
        both = torch.cat([factors, bent], dim=1)
        hidden = torch.tanh(both @ self.hidden + self.hidden_bias)
        weights = hidden @ self.last + both @ self.direct
        level: Tensor = torch.tensordot(weights, self.components, 1) + self.mean
        return level


def open_generator(head: HeadModel) -> UvMapGenerator:
    """The whole generator of a head model."""
    return UvMapGenerator(OpenSynthesis(load_weights()[0], GeometryMaps.of(head)))
