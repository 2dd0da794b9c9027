"""The open network ``detail_refinement``: a photo's texture and a prior albedo to the albedo and the light.

Inputs and outputs are those of Yang et al. 2021 (rerenderable), section 4.3, and the light that the photo was
estimated to have; what lies between them is a U-Net of 64² to 8² texels that tells

- what the light must be multiplied with, texel by texel (shadows that are cast, and where the estimate errs):
  the light's nine bands times that are the map of lights, near to the coarse ones as the paper's eq. 4 wants;
- whether the photo can be believed: where it can, the albedo is the photo over that light, with all that is
  fine in it; else the photo's other side over its light, where that can be believed; and else
- the albedo that the network itself paints: of what shines, what lies on the skin and what nobody sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import UV_MAP_SIZE
from facewright_kernels import vertex_normals

#: Side of what the network reads and paints, texels.
SIDE: Final = UV_MAP_SIZE // 2
#: Noise differs from its neighbours by more than a photo does: mean squares between which a texel is unseen.
_NOISY: Final = (0.008, 0.02)
#: Least irradiance of the coarse light, and bounds of ln of what it is multiplied with.
_DARKEST: Final = 0.06
_LARGEST_GAIN: Final = 2.5
#: Of what differs from the paint in a photo that is believed: the rest is noise, and a fit that is off.
_MOST_BELIEVED: Final = 0.85
_LEAST_COLOUR: Final = 0.004
_WIDTHS: Final = (32, 64, 128, 192)
#: ln of the albedo that is painted where nothing is known.
_USUAL_ALBEDO: Final = (-1.0, -1.5, -1.8)
#: Coefficients of the nine bands that change sign where left and right change places.
MIRRORED_BANDS: Final = (1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0)


@dataclass(frozen=True)
class Believed:
    """What the network thinks of a texture, 128² texels.

    Attributes:
        painted: [B, 3, 128, 128], ln of the albedo that it paints.
        trust: [B, 1, 128, 128], 0-1, of the photo.
        light: [B, 3, 128, 128], ln of the irradiance.
        albedo: [B, 3, 128, 128], ln of the albedo.
        gain: [B, 3, 64, 64], ln of what the coarse light is multiplied with.
    """

    painted: Tensor
    trust: Tensor
    light: Tensor
    albedo: Tensor
    gain: Tensor


class OpenDetailRefinement(nn.Module):
    """See above.

    Args:
        head: its mean shape tells where light falls; its UV is its own mirror image, left for right.
    """

    def __init__(self, head: HeadModel) -> None:
        super().__init__()
        points = TexelPoints(head, padded_texel_map(head, UV_MAP_SIZE))
        normals = vertex_normals(head.vertices_mean[None], head.triangles)[0]
        skin = np.zeros(head.vertex_count, np.float32)
        skin[np.unique(head.triangles[head.part_triangles("skin")])] = 1.0
        bands = _planes(points.interpolate(sh_basis(normals)))
        place = _planes(points.interpolate(head.vertices_mean * np.float32(10)))
        self.register_buffer("bands", bands)
        self.register_buffer("halved_bands", halved(bands))
        self.register_buffer("skin", (_planes(points.interpolate(skin)[:, None]) > 0.99).float())
        face = points.interpolate(np.clip(head.region("face") + head.region("forehead"), 0.0, 1.0))
        self.register_buffer("face", halved(_planes(face[:, None])))
        self.register_buffer("place", functional.avg_pool2d(place, 2))
        self.register_buffer("usual", torch.tensor(_USUAL_ALBEDO).reshape(1, 3, 1, 1))
        a, b, c, d = _WIDTHS
        self.encode = nn.ModuleList(
            [
                nn.Sequential(_conv(4 * 20, a), _conv(a, a)),
                nn.Sequential(_conv(a, b, 2), _conv(b, b)),
                nn.Sequential(_conv(b, c, 2), _conv(c, c)),
                nn.Sequential(_conv(c, d, 2), _conv(d, d)),
            ]
        )
        self.whole = nn.Sequential(nn.Conv2d(d, d, 1), nn.LeakyReLU(0.1), nn.Conv2d(d, d, 1))
        self.narrow = nn.ModuleList([nn.Conv2d(d, c, 1), nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)])
        self.decode = nn.ModuleList(
            [_conv(2 * c, c), _conv(2 * b, b), nn.Sequential(_conv(2 * a, a), _conv(a, a))]
        )
        self.paint = nn.Conv2d(a, 3, 3, padding=1)
        self.trust = nn.Conv2d(a, 4, 3, padding=1)
        self.gain = nn.Conv2d(a, 1, 3, padding=1)
        self.hue_gain = nn.Conv2d(c, 3, 1)
        for last in (self.paint, self.trust, self.gain, self.hue_gain):
            nn.init.normal_(last.weight, 0, 1e-3)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self, texture: Tensor, prior_albedo: Tensor, sh_light: Tensor) -> tuple[Tensor, Tensor]:
        """UV_TEXTURE and PRIOR_ALBEDO [B, 3, 256, 256], SH_LIGHT [B, 9, 3] -> DETAILED_ALBEDO
        [B, 3, 256, 256], SH_LIGHT_MAP [B, 27, 256, 256]."""
        seen = self.seen(texture)
        value = irradiance(sh_light, self.bands)
        coarse = value.clamp_min(_DARKEST)
        believed = self.believe(*self.reduced(texture, seen), halved(prior_albedo), sh_light)
        gain = _larger(believed.gain, 4)
        trust, painted = _larger(believed.trust, 2) * seen, _larger(believed.painted, 2)
        shown = linear_from_srgb(texture).clamp_min(_LEAST_COLOUR).log() - coarse.log() - gain
        albedo = srgb_from_linear(_laid(painted, trust, shown).exp().clamp(0.0, 1.0))
        albedo = prior_albedo + self.skin * (albedo - prior_albedo)
        # Where the coarse light is next to none or below it, light from all around makes up for it.
        rest = (coarse - value) / 0.282095
        bands = sh_light.transpose(1, 2)[..., None, None]  # [B, 3, 9, 1, 1]
        light = bands * gain.exp()[:, :, None]
        light = light + functional.pad((rest * gain.exp())[:, :, None], (0, 0, 0, 0, 0, 8))
        return albedo, light.reshape(-1, 27, UV_MAP_SIZE, UV_MAP_SIZE)

    def seen(self, texture: Tensor) -> Tensor:
        """[B, 1, 256, 256], 0-1: where the texture is no noise."""
        rough = functional.avg_pool2d(texture, 3, 1, 1, count_include_pad=False) - texture
        rough = (rough * rough).mean(1, keepdim=True)
        rough = functional.avg_pool2d(rough, 5, 1, 2, count_include_pad=False)
        low, high = _NOISY
        return ((high - rough) / (high - low)).clamp(0.0, 1.0)

    def reduced(self, texture: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Of what is seen, the texture [B, 3, 128, 128], 0 elsewhere, and the share [B, 1, 128, 128]."""
        share = halved(seen)
        shown = halved(texture * seen) / share.clamp_min(0.05)
        return shown * (share > 0.05).float(), share

    def believe(self, shown: Tensor, seen: Tensor, prior: Tensor, sh_light: Tensor) -> Believed:
        """Of what ``reduced`` gives, the prior albedo [B, 3, 128, 128] and the coarse light [B, 9, 3]."""
        coarse = irradiance(sh_light, self.halved_bands).clamp_min(_DARKEST).log()
        place = self.place.expand(shown.shape[0], -1, -1, -1)
        own = torch.cat([shown, seen, coarse], 1)
        features = functional.pixel_unshuffle(torch.cat([own, own.flip(3), prior, place], 1), 2)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):  # half the time, here
            fine, coarse_features = self._features(features)
        fine, coarse_features = fine.float(), coarse_features.float()
        paint = _larger(self.paint(fine), 2) + self.usual
        trust = torch.sigmoid(2.0 * functional.pixel_shuffle(self.trust(fine), 2)) * seen
        # Shadows have edges; the hue of light changes slowly, and what changes faster is the skin's.
        gain = functional.avg_pool2d(self.gain(fine), 3, 1, 1, count_include_pad=False)
        gain = _LARGEST_GAIN * torch.tanh(gain + _larger(self.hue_gain(coarse_features), 4))
        over = linear_from_srgb(shown).clamp_min(_LEAST_COLOUR).log() - coarse - _larger(gain, 2)
        # The photo over its light and the paint have a tone each; the truth lies between, and a face is of
        # one tone. Half of what they differ by goes to the light.
        counts = trust.detach() * self.face
        differ = ((over - paint) * counts).sum((2, 3), keepdim=True)
        half = 0.5 * differ / counts.sum((2, 3), keepdim=True).clamp_min(1.0)
        paint, over, gain = paint + half, over - half, gain + half
        light = coarse + _larger(gain, 2)
        # What is believed is learnt from what is true, not from what it does to the albedo: that would be
        # painted all over.
        return Believed(paint, trust, light, _laid(paint, trust.detach(), over), gain)

    def _features(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Of 64² texels, and of 16²."""
        kept: list[Tensor] = []
        for level in self.encode:
            features = level(features)
            kept.append(features)
        features = features + self.whole(features.mean((2, 3), keepdim=True))
        decoded: list[Tensor] = []
        for level, narrow, beside in zip(self.decode, self.narrow, kept[-2::-1], strict=True):
            larger = functional.interpolate(narrow(features), scale_factor=2.0, mode="nearest")
            features = level(torch.cat([larger, beside], 1))
            decoded.append(features)
        return features, decoded[0]


def _larger(maps: Tensor, times: int) -> Tensor:
    return functional.interpolate(maps, scale_factor=float(times), mode="bilinear")


def _laid(painted: Tensor, trust: Tensor, shown: Tensor) -> Tensor:
    """ln of the albedo: what the photo shows, its other side where it does not, and what is painted."""
    trust = _MOST_BELIEVED * trust
    beside = trust.flip(3)
    under = painted + beside * (shown.flip(3) - painted)
    return under + trust * (shown - under)


def irradiance(sh_light: Tensor, bands: Tensor) -> Tensor:
    """[B, 3, S, S] of lights [B, 9, 3] where the nine bands are ``bands`` [1, 9, S, S]; may be below zero."""
    flat: Tensor = sh_light.transpose(1, 2) @ bands.flatten(2)
    return flat.reshape(-1, 3, bands.shape[2], bands.shape[3])


def halved(maps: Tensor) -> Tensor:
    """Means of 2 x 2 texels."""
    return functional.avg_pool2d(maps, 2)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Linear light of sRGB, 0-1."""
    return torch.where(encoded > 0.04045, ((encoded.clamp_min(0.04) + 0.055) / 1.055) ** 2.4, encoded / 12.92)


def srgb_from_linear(linear: Tensor) -> Tensor:
    """sRGB, 0-1, of linear light."""
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp_min(0.003) ** (1 / 2.4) - 0.055, linear * 12.92
    )


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.1)
    )


def _planes(values: np.ndarray) -> Tensor:  # type: ignore[type-arg]
    """[N, C] of the texels -> [1, C, 256, 256]."""
    return torch.from_numpy(values.reshape(1, UV_MAP_SIZE, UV_MAP_SIZE, -1)).permute(0, 3, 1, 2).contiguous()
