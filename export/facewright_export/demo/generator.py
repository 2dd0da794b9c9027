"""The demonstration generator: W+ codes to UV maps of synthetic people.

What it is: a small StyleGAN2 synthesis network with the inputs, outputs and operators of the published-size
one of paper "normalized", section 3.1, so that refinement can be run, tested and measured with nothing
licensed. What it is not: it never saw a photo of a person. It knows the shapes of the open head (36
identity coefficients) under painted skin, and nothing of real skin, real hair or glasses; a likeness made
with it is coarse.

W+ has 14 x 512 numbers as the published network's, of which 48 directions of each layer mean something: a
layer's style is the 48 factors of `facewright_export.demo.synthetic_maps`, read from w by a fixed map with
orthonormal rows. A person's code is w = √(512/48) · A factors, A f32 [512, 48], repeated for each layer;
its entries are ~ N(0, 1).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facewright_export.demo.synthetic_maps import FACTORS
from facewright_export.gradients.refinement_functions import UvMapGenerator
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.open_head.head_file import write_head_file
from facewright_export.seeded_weights import seeded_uniform

F32 = NDArray[np.float32]

W_SIZE: Final = 512
LAYERS: Final = 14
WEIGHTS_FILE: Final = Path(__file__).with_name("generator.npz")
#: The largest learned noise images.
DETAIL_RESOLUTION: Final = 128
_FACTOR_SEED: Final = 48


def demo_layout(resolution: int = 256) -> GeneratorLayout:
    """The sizes of the network: widths 64 up to 32 x 32, then 32, 16, 8: it must run on two CPU cores."""
    return GeneratorLayout(
        resolution,
        output_channels=6,
        channel_multiplier=0.125,
        largest_width=64,
        style_width=FACTORS,
    )


def factor_map() -> F32:
    """A f32 [512, 48], orthonormal columns: which directions of w the factors are."""
    columns = seeded_uniform((W_SIZE, FACTORS), "demo generator factors", _FACTOR_SEED).astype(np.float64)
    orthonormal, triangle = np.linalg.qr(columns)
    return (orthonormal * np.sign(np.diag(triangle))).astype(np.float32)


def w_plus_of(factors: F32) -> F32:
    """Codes f32 [B, 14, 512] of the people with ``factors`` f32 [B, 48]."""
    w = factors @ factor_map().T * np.float32(math.sqrt(W_SIZE / FACTORS))
    return np.repeat(w[:, None].astype(np.float32), LAYERS, axis=1)


class FactorSynthesis(nn.Module):
    """A synthesis network behind the fixed map from w to factors.

    StyleGAN2's noise images are learned here instead of drawn, up to `DETAIL_RESOLUTION`: what lies at one
    place in every person's map (brows, lips, hairline) needs no channel to be carried from the 4 x 4 start.
    """

    def __init__(self, resolution: int = 256) -> None:
        super().__init__()
        self.styles = StyleGan2Synthesis(demo_layout(resolution))
        for name, image in list(self.styles.noises.named_buffers()):
            side = image.shape[-1] if image.shape[-1] <= DETAIL_RESOLUTION else 1
            delattr(self.styles.noises, name)
            learned = nn.Parameter(torch.zeros(1, 1, side, side), requires_grad=side > 1)
            self.styles.noises.register_parameter(name, learned)
        for name, strength in self.styles.named_parameters():
            if name.endswith("noise.weight"):
                nn.init.ones_(strength)
        factors = torch.from_numpy(factor_map()) / math.sqrt(W_SIZE / FACTORS)
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, w_plus: Tensor) -> Tensor:
        image: Tensor = self.styles(w_plus @ self.factors)
        return image


def save_weights(synthesis: FactorSynthesis, provenance: dict[str, Any], path: Path = WEIGHTS_FILE) -> None:
    """Write the weights as float16 with their ``provenance`` (JSON); the bytes depend on nothing else."""
    state = {
        name: value.detach().numpy().astype(np.float16)
        for name, value in synthesis.styles.state_dict().items()
    }
    write_head_file({"provenance": np.array(json.dumps(provenance, sort_keys=True)), **state}, path)


def load_demo_generator(path: Path = WEIGHTS_FILE) -> tuple[UvMapGenerator, dict[str, Any]]:
    """The trained network (its float16 weights widened to float32), ready for export, and its provenance."""
    with np.load(path, allow_pickle=False) as file:
        provenance = json.loads(str(file["provenance"]))
        state = {
            name: torch.from_numpy(file[name].astype(np.float32))
            for name in file.files
            if name != "provenance"
        }
    synthesis = FactorSynthesis()
    synthesis.styles.load_state_dict(state, strict=True)
    return UvMapGenerator(synthesis), provenance
