"""The generators of the generative pipeline: albedo at 1024² and displacement at 256² from one W+ code.

Rai et al. 2023, "Towards Realistic Generative 3D Face Models", sections 3.3 and 4.2: both are StyleGAN2
generators (``networks.stylegan2``) that share the latent space of the face generator. Parameter names are
rosinality's, as in the released ``albedogan.pt`` and ``disp_GAN.pt``. The released code draws new noise for
every image; here the noise is the checkpoint's own, so that one code always gives one avatar.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis

ALBEDO_LAYOUT: Final = GeneratorLayout(resolution=1024)
DISPLACEMENT_LAYOUT: Final = GeneratorLayout(resolution=256)
_LARGEST_DISPLACEMENT: Final = 0.004


class AlbedoGenerator(nn.Module):
    """W+ f32 [B, 18, 512] → albedo f32 [B, 3, 1024, 1024], sRGB 0–1, by FLAME's UV."""

    def __init__(self, synthesis: StyleGan2Synthesis | None = None) -> None:
        super().__init__()
        self.synthesis = StyleGan2Synthesis(ALBEDO_LAYOUT) if synthesis is None else synthesis

    def forward(self, w_plus: Tensor) -> Tensor:
        """``w_plus`` [B, L, 512] → [B, 3, R, R]; the generator's −1 … 1 becomes 0 … 1, clipped."""
        return (self.synthesis(w_plus) * 0.5 + 0.5).clamp(0, 1)


class DisplacementGenerator(nn.Module):
    """W+ f32 [B, 18, 512] → displacement f32 [B, 1, 256, 256], metres along the normal, by FLAME's UV.

    The first 14 codes are read, the first channel counts. The paper's displacements reach ±0.01 (section
    4.2); the released code, and so this, clips the channel z to 0 … 1, takes (2z − 1)/255 metres and clips to
    ±0.004.
    """

    def __init__(self, synthesis: StyleGan2Synthesis | None = None) -> None:
        super().__init__()
        self.synthesis = StyleGan2Synthesis(DISPLACEMENT_LAYOUT) if synthesis is None else synthesis

    def forward(self, w_plus: Tensor) -> Tensor:
        """``w_plus`` [B, ≥ L, 512] → [B, 1, R, R]."""
        image = self.synthesis(w_plus[:, : self.synthesis.layout.style_count])
        height = image[:, :1].clamp(0, 1)
        return ((2 * height - 1) / 255).clamp(-_LARGEST_DISPLACEMENT, _LARGEST_DISPLACEMENT)
