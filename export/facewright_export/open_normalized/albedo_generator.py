"""The albedo half: a small StyleGAN2 synthesis network of people's looks.

It has the operators of the published-size generator of paper "normalized", section 3.1, at widths that two CPU
cores can refine with. A layer's style is the 32 factors of the look, read from w by the fixed map of
`facewright_export.open_normalized.factors`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from facewright.head.head_model import HeadModel
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.gradients.refinement_functions import OFFSET_SCALE, UvMapGenerator
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.open_head.head_file import write_head_file
from facewright_export.open_normalized.factors import LOOK_SIZE, reading_map
from facewright_export.open_normalized.geometry_maps import (
    ENLARGEMENT,
    MAP_SIZE,
    GeometryMaps,
    enlarging_taps,
)

WEIGHTS_FILE: Final = Path(__file__).with_name("albedo.npz")
#: The largest learned noise images.
DETAIL_RESOLUTION: Final = 256


def layout(resolution: int = MAP_SIZE) -> GeneratorLayout:
    """The sizes of the network: widths 64 up to 32 x 32, then 32, 16, 8."""
    return GeneratorLayout(
        resolution,
        output_channels=3,
        channel_multiplier=0.125,
        largest_width=64,
        style_width=LOOK_SIZE,
    )


class LookSynthesis(nn.Module):
    """W+ f32 [B, 14, 512] → [B, 3, R, R] in about -1 … 1: the square root of albedo, as `UvMapGenerator` takes.

    StyleGAN2's noise images are learned here instead of drawn: what lies at one place in every person's map
    (brows, lips, hairline) needs no channel to be carried from the 4 x 4 start.
    """

    def __init__(self, resolution: int = MAP_SIZE) -> None:
        super().__init__()
        self.styles = StyleGan2Synthesis(layout(resolution))
        for name, image in list(self.styles.noises.named_buffers()):
            side = image.shape[-1] if image.shape[-1] <= DETAIL_RESOLUTION else 1
            delattr(self.styles.noises, name)
            learned = nn.Parameter(torch.zeros(1, 1, side, side), requires_grad=side > 1)
            self.styles.noises.register_parameter(name, learned)
        for name, strength in self.styles.named_parameters():
            if name.endswith("noise.weight"):
                nn.init.ones_(strength)
        self.register_buffer("reading", torch.from_numpy(reading_map()[:, IDENTITY_SIZE:]), persistent=False)

    def forward(self, w_plus: Tensor) -> Tensor:
        image: Tensor = self.styles(w_plus @ self.reading)
        return image


class AlbedoHalf(nn.Module):
    """W+ f32 [B, 14, 512] → linear albedo f32 [B, 3, R, R]."""

    def __init__(self, synthesis: nn.Module) -> None:
        super().__init__()
        self.synthesis = synthesis

    def forward(self, w_plus: Tensor) -> Tensor:
        root = (self.synthesis(w_plus) + 1) * 0.5
        albedo: Tensor = root * root
        return albedo


class OpenSynthesis(nn.Module):
    """Both halves in torch, as `UvMapGenerator` takes a synthesis: the reference of the graphs, and rivals'."""

    def __init__(self, looks: LookSynthesis, maps: GeometryMaps) -> None:
        super().__init__()
        self.looks = looks
        reading = torch.from_numpy(reading_map()[:, :IDENTITY_SIZE].copy())
        self.register_buffer("reading", reading, persistent=False)
        self.register_buffer("coarse", torch.from_numpy(_half(maps.coarse)).flatten(1), persistent=False)
        self.register_buffer("fine", torch.from_numpy(_half(maps.fine)).flatten(1), persistent=False)
        self.register_buffer("texels", torch.from_numpy(maps.texels), persistent=False)
        taps = torch.from_numpy(enlarging_taps())
        kernel = (taps[:, None] * taps[None, :]).expand(3, 1, -1, -1).clone()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, w_plus: Tensor) -> Tensor:
        identity = w_plus.mean(dim=1) @ self.reading
        coarse = (identity @ self.coarse).reshape(-1, 3, MAP_SIZE // ENLARGEMENT, MAP_SIZE // ENLARGEMENT)
        enlarged = functional.conv_transpose2d(
            coarse, self.kernel, stride=ENLARGEMENT, padding=ENLARGEMENT // 2, groups=3
        )
        fine = (identity @ self.fine).reshape(-1, 3, len(self.texels))
        offset = enlarged.flatten(2).index_add(2, self.texels, fine).reshape(enlarged.shape)
        return torch.cat([offset / OFFSET_SCALE, self.looks(w_plus)], dim=1)


def _half(values: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """As the files keep it."""
    return values.astype(np.float16).astype(np.float32)


def save_weights(synthesis: LookSynthesis, provenance: dict[str, Any], path: Path = WEIGHTS_FILE) -> None:
    """Write the weights as float16 with their ``provenance`` (JSON); the bytes depend on nothing else."""
    state = {
        name: value.detach().numpy().astype(np.float16)
        for name, value in synthesis.styles.state_dict().items()
    }
    write_head_file({"provenance": np.array(json.dumps(provenance, sort_keys=True)), **state}, path)


def load_synthesis(path: Path = WEIGHTS_FILE) -> tuple[LookSynthesis, dict[str, Any]]:
    """The trained network (its float16 weights widened to float32) and its provenance."""
    with np.load(path, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
        state = {
            name: torch.from_numpy(file[name].astype(np.float32))
            for name in file.files
            if name != "provenance"
        }
    synthesis = LookSynthesis()
    synthesis.styles.load_state_dict(state, strict=True)
    return synthesis.eval().requires_grad_(False), provenance


def open_generator(head: HeadModel, path: Path = WEIGHTS_FILE) -> UvMapGenerator:
    """The whole generator in torch, of a head model."""
    return UvMapGenerator(OpenSynthesis(load_synthesis(path)[0], GeometryMaps.of(head)))
