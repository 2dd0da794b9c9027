"""UV maps of synthetic people: what the demonstration generator is trained on.

A person is 48 independent factors, each ~ N(0, 1): the first 36 identity coefficients of the open head (95
% of the variance of its shape) and 12 of their look (skin, lips, brows, hair, eyes). The maps are computed
from the open head model and a few tints; no photo of a person takes part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.special import ndtr

from facewright.appearance.head_template import TemplateSettings, head_template
from facewright.head.hairline import hair_growth
from facewright.head.head_model import HeadModel
from facewright_export.open_head.regions import brow_mask
from facewright_kernels import interpolate, rasterize

F32 = NDArray[np.float32]

IDENTITY_FACTORS: Final = 36
#: In the order of the factors. Positive means: darker skin, redder skin, ...
LOOK_FACTORS: Final = (
    "skin_melanin",
    "skin_redness",
    "lips_red",
    "lips_dark",
    "brows_dense",
    "brows_dark",
    "hair_light",
    "hair_red",
    "iris_light",
    "iris_blue",
    "cheeks_red",
    "beard_shadow",
)
FACTORS: Final = IDENTITY_FACTORS + len(LOOK_FACTORS)

# Linear albedo of skin at either end of the melanin scale, and of what is not skin.
_PALE, _DARK = np.array([0.72, 0.48, 0.37]), np.array([0.16, 0.08, 0.045])
_LIP_TINT = np.array([0.86, 0.58, 0.58])
_SCLERA = np.array([0.72, 0.68, 0.66])
_BROWN_IRIS, _BLUE_IRIS = np.array([0.10, 0.05, 0.02]), np.array([0.10, 0.17, 0.26])
_HAIR = np.array([0.06, 0.038, 0.024])


@dataclass(frozen=True)
class UvMaps:
    """Maps of people, one for each row of factors.

    Attributes:
        offset: f32 ``[B, 3, R, R]``, metres from the mean head, head space.
        albedo: f32 ``[B, 3, R, R]``, linear, 0-1.
    """

    offset: F32
    albedo: F32


class SyntheticPeople:
    """Draws UV maps of people from their factors.

    Args:
        head: the open head.
        size: R, texels per side; between the islands each texel repeats the nearest one of an island, so
            that a bilinear read at an island's border is right.
    """

    def __init__(self, head: HeadModel, size: int) -> None:
        self.size = size
        self._surface = _TexelSurface(head, size)
        basis = head.identity_basis[:IDENTITY_FACTORS].transpose(1, 0, 2).reshape(head.vertex_count, -1)
        at = self._surface.of_vertices(basis).reshape(size, size, IDENTITY_FACTORS, 3)
        self._basis: F32 = np.ascontiguousarray(at.transpose(2, 3, 0, 1))
        self._masks = _Masks.of(head, self._surface)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Texels [R, R] whose centre lies on the head's surface."""
        covered: NDArray[np.bool_] = self._surface.covered
        return covered

    def maps(self, factors: F32) -> UvMaps:
        """Maps of the people with ``factors`` f32 [B, 48].

        Raises:
            ValueError: factors of another shape.
        """
        if factors.ndim != 2 or factors.shape[1] != FACTORS:
            raise ValueError(f"factors must have shape [B, {FACTORS}], got {factors.shape}")
        offset = np.tensordot(factors[:, :IDENTITY_FACTORS], self._basis, 1)
        looks = [dict(zip(LOOK_FACTORS, row, strict=True)) for row in factors[:, IDENTITY_FACTORS:].tolist()]
        albedo = np.stack([self._masks.painted(look) for look in looks]).transpose(0, 3, 1, 2)
        return UvMaps(np.ascontiguousarray(offset, np.float32), np.ascontiguousarray(albedo, np.float32))


@dataclass(frozen=True)
class _Masks:
    """Where what is painted: f32 [R, R, 1] each in 0-1; ``tint`` and ``inner_colour`` f32 [R, R, 3]."""

    tint: F32
    inner_colour: F32
    inner: F32
    lips: F32
    brows: F32
    hair: F32
    cheeks: F32
    beard: F32
    eye: F32
    iris: F32
    limbus: F32
    pupil: F32

    @classmethod
    def of(cls, head: HeadModel, surface: _TexelSurface) -> _Masks:
        template = head_template(head, TemplateSettings())
        position = surface.of_vertices(head.vertices_canonical)
        on_mean = surface.of_vertices(head.vertices_mean)
        part = surface.part

        def region(name: str) -> F32:
            return surface.of_vertices(head.region(name)[:, None])

        on_skin = (part == 0)[..., None].astype(np.float32)
        hair = np.clip(hair_growth(position.reshape(-1, 3)).reshape(part.shape) / 0.008 + 0.5, 0, 1)[
            ..., None
        ]
        below_nose = np.clip((-0.018 - position[..., 1:2]) / 0.01, 0, 1)
        beard = np.clip(region("chin") + region("jaw") + region("lips"), 0, 1) * below_nose
        iris_distance = np.full(part.shape, 9.0)
        for side in range(2):
            here = part == 1 + side
            planar = (on_mean[here] - head.iris_centre[side])[:, :2]
            iris_distance[here] = np.linalg.norm(planar, axis=1) / head.iris_radius[side]
        distance = iris_distance[..., None]
        masks = {
            "tint": surface.of_vertices(template.tint)
            / (1 + region("lips") * (np.array([0.92, 0.66, 0.66]) - 1)),
            "inner_colour": surface.of_vertices(template.inner_colour),
            "inner": surface.of_vertices(template.inner[:, None]),
            "lips": region("lips"),
            "brows": brow_mask(position.astype(np.float64))[..., None] * on_skin,
            "hair": hair * (1 - region("ears")) * (1 - region("neck")) * on_skin,
            "cheeks": region("cheeks"),
            "beard": beard * (1 - region("lips")) * on_skin,
            "eye": np.clip((part == 1) | (part == 2), 0, 1)[..., None],
            "iris": np.clip((1.05 - distance) / 0.1, 0, 1),
            "limbus": np.clip(1 - np.abs(distance - 0.95) / 0.15, 0, 1) * 0.6,
            "pupil": np.clip((0.45 - distance) / 0.08, 0, 1),
        }
        return cls(**{name: np.asarray(mask, np.float32) for name, mask in masks.items()})

    def painted(self, look: dict[str, float]) -> F32:
        """Linear albedo f32 [R, R, 3] of a look, whose factors are named."""
        melanin = ndtr(look["skin_melanin"])
        skin = (
            _PALE ** (1 - melanin)
            * _DARK**melanin
            * np.exp(0.035 * look["skin_redness"] * np.array([1, -1, -1]))
        )
        lips = skin * _LIP_TINT ** np.exp(0.35 * look["lips_red"]) * np.exp(-0.15 * look["lips_dark"])
        hair = _HAIR * np.exp(0.7 * look["hair_light"] + 0.3 * look["hair_red"] * np.array([1, 0, -1]))
        brow = hair * np.exp(-0.3 * look["brows_dark"])
        blue = ndtr(1.5 * look["iris_blue"] - 0.5)
        iris = (_BROWN_IRIS * (1 - blue) + _BLUE_IRIS * blue) * np.exp(0.4 * look["iris_light"])

        albedo = self.tint * skin
        albedo = _over(
            albedo, albedo * np.array([1.0, 0.75, 0.72]), self.cheeks * ndtr(look["cheeks_red"]) * 0.8
        )
        albedo = _over(albedo, self.tint * lips, self.lips)
        albedo = _over(albedo, 0.5 * albedo + 0.5 * hair, self.beard * ndtr(1.5 * look["beard_shadow"] - 1.5))
        albedo = _over(albedo, brow, self.brows * (0.5 + 0.45 * ndtr(look["brows_dense"])))
        albedo = _over(albedo, hair, self.hair)
        albedo = _over(albedo, self.inner_colour, self.inner)
        eye = _over(np.broadcast_to(_SCLERA, albedo.shape), iris * (1 - self.limbus), self.iris)
        eye = _over(eye, np.full(3, 0.01), self.pupil)
        result: F32 = np.clip(_over(albedo, eye, self.eye), 0, 1).astype(np.float32)
        return result


def _over(below: NDArray[np.floating], above: NDArray[np.floating], weight: NDArray[np.floating]) -> F32:
    blended: F32 = below * (1 - weight) + above * weight
    return blended


class _TexelSurface:
    """Which point of the head each texel shows; outside the islands, the one of the nearest texel inside."""

    def __init__(self, head: HeadModel, size: int) -> None:
        # UV as clip coordinates: the top row is y = -1 in both (CONVENTIONS.md).
        flat = np.concatenate(
            [head.uv * 2 - 1, np.zeros_like(head.uv[:, :1]), np.ones_like(head.uv[:, :1])], axis=1
        )
        self._raster = rasterize(flat[None].astype(np.float32), head.uv_triangles, size, size)
        self._head = head
        self.covered = self._raster.triangle_id[0] >= 0
        self._nearest = distance_transform_edt(~self.covered, return_distances=False, return_indices=True)
        self.part = head.triangle_part[self._raster.triangle_id[0][*self._nearest]]

    def of_vertices(self, values: F32) -> F32:
        """Vertex attributes [V, C] at the texels: f32 [R, R, C]."""
        attributes = np.ascontiguousarray(values, np.float32)[None]
        at: F32 = interpolate(attributes, self._head.triangles, self._raster)[0]
        filled: F32 = at[*self._nearest]
        return filled
