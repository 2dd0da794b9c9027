"""Whether avatars of different photos of one person agree: their shape and their skin, against strangers'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.geometry.measures import FaceMeasures
from benchmarks.likeness.verification import auc
from facewright.core.colour import linear_from_srgb
from facewright.head.head_model import HeadModel

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

#: Texels per side that textures are compared at: pores and noise are no skin colour.
_TEXELS: Final = 128
#: The middle of the subject's cheeks among the 478 landmarks, and how far around these skin is looked at.
_CHEEKS: Final = (50, 280)
_CHEEK_RADIUS: Final = 0.015  # metres
#: sRGB's linear light to CIE XYZ over the white point D65.
_XYZ: Final = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])
#: Individual typology angles, degrees, down to which skin is called so (Chardon et al. 1991, Del Bino 2013).
_TONES: Final = {
    "very light": 55.0,
    "light": 41.0,
    "intermediate": 28.0,
    "tan": 10.0,
    "brown": -30.0,
    "dark": -90.1,
}


class AvatarComparison:
    """Compares avatars of one head model where the face is: within 95 mm of the tip of the nose.

    Args:
        head: the model.
    """

    def __init__(self, head: HeadModel) -> None:
        self._measures = measures = FaceMeasures(head)
        self._mean = head.vertices_mean.astype(np.float64)
        first = np.zeros(head.vertex_count, np.int64)
        first[head.uv_vertex[::-1]] = np.arange(len(head.uv_vertex))[::-1]
        self._uv = head.uv[first[measures.near]]
        cheeks = head.landmarks(head.vertices_mean)[list(_CHEEKS)]
        gap = np.linalg.norm(self._mean[measures.near][:, None] - cheeks, axis=2).min(axis=1)
        self._cheeks = gap < _CHEEK_RADIUS

    def shape(self, vertices: npt.NDArray[np.floating]) -> F64:
        """The face [n, 3] of a neutral [V, 3], moved onto the mean head by a similarity, metres: one photo
        does not tell sizes."""
        return self._measures.aligned(vertices.astype(np.float64), self._mean)[self._measures.near]

    def skin(self, texture: U8) -> F64:
        """The face's colours [n, 3], CIE Lab, in a texture sRGB u8 [S, S, 3], at `shape`'s points."""
        small = np.asarray(Image.fromarray(texture).resize((_TEXELS, _TEXELS), Image.Resampling.BOX))
        column, row = np.clip((self._uv * _TEXELS).astype(int), 0, _TEXELS - 1).T
        return lab_from_srgb(small[row, column])

    def tone(self, skin: F64) -> float:
        """The cheeks' individual typology angle in degrees, 90 being white."""
        lightness, _, yellow = np.median(skin[self._cheeks], axis=0)
        return float(np.degrees(np.arctan2(lightness - 50, yellow)))

    def agreement(
        self, shapes: Sequence[F64], skins: Sequence[F64], persons: Sequence[str]
    ) -> dict[str, Any]:
        """Rows of the table: same person, strangers, their ratio, and `auc`."""
        weight = self._measures.area
        moved = np.stack(shapes)
        return {
            "shape, rms mm": _row(moved * 1e3, persons, lambda gap: _rms(gap, weight)),
            "depth, rms mm": _row(moved[..., 2:] * 1e3, persons, lambda gap: _rms(gap, weight)),
            **self.skin_agreement(skins, persons),
        }

    def skin_agreement(self, skins: Sequence[F64], persons: Sequence[str]) -> dict[str, Any]:
        """The rows of `agreement` that are of the skin."""
        weight = self._measures.area
        mean_skin = np.einsum("v,nvc->nc", weight, np.stack(skins))
        return {
            "skin, mean ΔE": _row(
                np.stack(skins), persons, lambda gap: np.linalg.norm(gap, axis=-1) @ weight
            ),
            "mean skin colour, ΔE": _row(
                mean_skin[:, None], persons, lambda gap: np.linalg.norm(gap[:, 0], axis=-1)
            ),
        }


def tone_name(angle: float) -> str:
    """What skin of an individual typology angle, degrees, is called."""
    return next(name for name, least in _TONES.items() if angle > least)


def lab_from_srgb(colours: U8) -> F64:
    """CIE Lab (D65) of sRGB u8 [..., 3]."""
    ratio = linear_from_srgb(colours).astype(np.float64) @ _XYZ.T
    cube = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    x, y, z = np.moveaxis(cube, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _rms(gap: F64, weight: F64) -> F64:
    return np.asarray(np.sqrt((gap**2).sum(axis=-1) @ weight))


def _row(values: F64, persons: Sequence[str], distance: Callable[[F64], F64]) -> dict[str, Any]:
    """``values`` [N, n, C] compared in pairs; ``distance`` takes gaps [M, n, C]."""
    names = np.asarray(persons)
    same: list[F64] = []
    strangers: list[F64] = []
    for index in range(len(names) - 1):
        gap = distance(values[index + 1 :] - values[index])
        own = names[index + 1 :] == names[index]
        same.append(gap[own])
        strangers.append(gap[~own])
    near, far = (np.concatenate(parts) if parts else np.zeros(0) for parts in (same, strangers))
    if not len(near) or not len(far):
        return {"pairs": len(near)}
    return {
        "pairs": len(near),
        "same": round(float(near.mean()), 3),
        "strangers": round(float(far.mean()), 3),
        "ratio": round(float(near.mean()) / max(float(far.mean()), 1e-9), 3),
        "auc": auc(near, far),
    }
