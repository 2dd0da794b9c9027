"""The detail refinement network of the rerenderable pipeline: one encoder, an albedo and a light decoder.

Yang et al. 2021, "Self-supervised High-fidelity and Re-renderable 3D Facial Reconstruction from a Single
Image", section 4.3, tables 1 and 2: pix2pix without skip connections, because they carry the unwrapped
photo's noise into the output. No weights were published, so the parameter names are ours. The paper leaves
two things open, which follow pix2pix (Isola et al. 2017): instance normalisation has no learned scale, and
the leak of LeakyReLU is 0.2.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

#: Height and width of the UV maps, texels.
MAP_SIZE: Final = 256
ALBEDO_CHANNELS: Final = 3
#: Nine spherical-harmonics coefficients for each colour.
LIGHT_CHANNELS: Final = 27


#: Table 1: channels in, channels out, kernel, stride, padding.
_ENCODER: Final = (
    (6, 64, 3, 1, 1),
    (64, 64, 4, 2, 1),
    (64, 128, 4, 2, 1),
    (128, 256, 4, 2, 1),
    (256, 512, 4, 2, 1),
)
#: Table 2, all but the last row.
_DECODER: Final = ((512, 256, 4, 2, 1), (256, 128, 4, 2, 1), (128, 64, 4, 2, 1), (64, 64, 4, 2, 1))


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = []
    for row in _ENCODER:
        layers += [nn.Conv2d(*row), nn.InstanceNorm2d(row[1]), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


def _decoder(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for row in _DECODER:
        layers += [nn.ConvTranspose2d(*row), nn.InstanceNorm2d(row[1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(_DECODER[-1][1], channels, 3, 1, 1))


class DetailRefinement(nn.Module):
    """The unwrapped photo and the prior albedo as UV maps → the detailed albedo and the detailed light."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder()
        self.albedo_decoder = _decoder(ALBEDO_CHANNELS)
        self.light_decoder = _decoder(LIGHT_CHANNELS)

    def forward(self, texture: Tensor, prior_albedo: Tensor) -> tuple[Tensor, Tensor]:
        """Both f32 [B, 3, S, S], RGB 0–1 as sRGB encodes it, S a multiple of 16 (256 in the paper), unseen
        texels filled with noise.

        Returns albedo [B, 3, S, S] and light [B, 27, S, S]; light's channels are red's nine coefficients in
        the order of CONVENTIONS.md, then green's, then blue's. Nothing bounds the outputs (table 2 ends in a
        convolution).
        """
        code = self.encoder(torch.cat([texture, prior_albedo], 1))
        return self.albedo_decoder(code), self.light_decoder(code)
