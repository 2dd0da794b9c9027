"""Figures of albedos, of which no one alone says anything: a constant albedo agrees with itself best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.geometry.measures import FaceMeasures
from benchmarks.likeness.consistency import AvatarComparison
from facewright.appearance.evidence import ZoneSettings, vertex_zones
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.colour import linear_from_srgb, srgb_from_linear
from facewright.head.head_model import HeadModel

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

#: Added to linear colours before logarithms.
_FLOOR: Final = 0.004
#: Skin on the middle of the face belongs to neither side, metres.
_MIDDLE: Final = 0.008
#: Left and right differ visibly from here, CIE L*.
UNEVEN: Final = 5.0


class SkinFigures:
    """Figures of albedo textures, sRGB u8 [256, 256, 3], of one head model."""

    def __init__(self, head: HeadModel) -> None:
        self._compare = AvatarComparison(head)
        measures = FaceMeasures(head)
        skin = head.triangles[head.part_triangles("skin")]
        zones = vertex_zones(head, SurfaceDiffusion(skin, head.vertices_mean), ZoneSettings())
        weight = zones.core[measures.near] * measures.area
        across = head.vertices_mean[measures.near, 0]
        self._plain: F64 = weight / weight.sum()
        sides = [weight * (side * across > _MIDDLE) for side in (1, -1)]
        self._left, self._right = (own / own.sum() for own in sides)

    def row(self, textures: Sequence[U8], persons: Sequence[str]) -> dict[str, Any]:
        """One row: distances of the faces' colours, left against right, and what colour the skin is."""
        skins = [self._compare.skin(texture) for texture in textures]
        found = self._compare.skin_agreement(skins, persons)
        uneven = np.array([abs(float((self._left - self._right) @ skin[:, 0])) for skin in skins])
        plain = np.stack([self._plain @ skin for skin in skins])
        return {
            "skin": _ratio(found["skin, mean ΔE"]),
            "tone": _ratio(found["mean skin colour, ΔE"]),
            "left-right ΔL, median": round(float(np.median(uneven)), 2),
            "left-right ΔL > 5": round(float((uneven > UNEVEN).mean()), 3),
            "L": _spread(plain[:, 0]),
            "chroma": _spread(np.hypot(plain[:, 1], plain[:, 2])),
        }


def _ratio(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of `AvatarComparison.agreement`, with strangers over the same person: larger is better."""
    shown = {name: round(row[name], 3) for name in ("pairs", "same", "strangers", "auc")}
    return {**shown, "ratio": round(row["strangers"] / max(row["same"], 1e-6), 3)}


def _spread(values: F64) -> list[float]:
    """Mean and standard deviation."""
    return [round(float(values.mean()), 2), round(float(values.std()), 2)]


class WornAlbedo:
    """The network's albedo as an avatar wears it: what is coarse of it, what is fine of the photo's texture.

    Args:
        head: whose texels.
        blur: between coarse and fine, standard deviation in texels of 256².
        most: ln by which the photo may change a colour: hair beside skin is no fine structure, and would be
            a halo where the network takes it for something else.
    """

    def __init__(self, head: HeadModel, blur: float, most: float = 0.3) -> None:
        side = 256
        covered = TexelPoints(head, padded_texel_map(head, side)).covered.reshape(side, side)
        self._covered = covered.astype(np.float32)[..., None]
        self._most = most
        self._sigma = (blur, blur, 0.0)
        self._share = np.maximum(ndimage.gaussian_filter(self._covered, self._sigma), 1e-3)

    def __call__(self, albedo: U8, texture: U8) -> U8:
        """Both and the result sRGB u8 [256, 256, 3]."""
        coarse, fine = (np.log(linear_from_srgb(own) + np.float32(_FLOOR)) for own in (albedo, texture))
        added = self._blurred(coarse - fine) + fine - coarse
        worn = coarse + np.clip(added, -self._most, self._most)
        return srgb_from_linear(np.exp(worn) - np.float32(_FLOOR))

    def _blurred(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        blurred: npt.NDArray[np.float32] = (
            ndimage.gaussian_filter(values * self._covered, self._sigma) / self._share
        )
        return blurred


def with_half_contrast(textures: Sequence[U8]) -> list[U8]:
    """The trivial rival: every colour half way to the mean of all, in ln. Its distances are halved."""
    logs = [np.log(linear_from_srgb(texture) + np.float32(_FLOOR)) for texture in textures]
    middle = np.mean([own.mean(axis=(0, 1)) for own in logs], axis=0)
    return [srgb_from_linear(np.exp(0.5 * (own + middle)) - np.float32(_FLOOR)) for own in logs]
