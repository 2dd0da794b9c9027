"""Albedo of synthetic people drawn in the open head's UV: what the generator is trained on."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from facewright.head.head_model import HeadModel
from facewright_export.open_normalized.looks import Look
from facewright_export.people.face_chart import FaceChart
from facewright_export.people.scene import SceneMesh
from facewright_export.people.shading import PersonShader
from facewright_kernels import Raster, interpolate, rasterize

F32 = NDArray[np.float32]

#: Samples along a texel's side.
_DENSITY: Final = 2
#: Of the strokes, spots and pores that everybody has: a look says how strong they are, not where.
_PATTERN_SEED: Final = 7


class PeopleAlbedo:
    """Draws albedo maps of looks.

    Args:
        head: the open head.
        size: R, texels per side; between the islands each texel repeats the nearest one of an island, so
            that a bilinear read at an island's border is right.
    """

    def __init__(self, head: HeadModel, size: int = 256) -> None:
        # The patterns that people share, as `PersonRenderer` draws them.
        self._chart = FaceChart(head, np.random.Generator(np.random.PCG64(0)))
        self._shader = PersonShader(head)
        attributes = SceneMesh(head, self._chart.uv).head_attributes
        self._head, self._raster = head, _texel_triangles(head, size * _DENSITY)
        self._drawn = drawn = self._raster.triangle_id[0] >= 0
        values = interpolate(attributes[None], head.triangles, self._raster)[0][drawn]
        self._values = np.ascontiguousarray(values.T)
        self._material = head.triangle_part[self._raster.triangle_id[0][drawn]]
        #: Texels [R, R] of which some part lies on the head's surface.
        self.covered: NDArray[np.bool_] = _reduced(drawn.astype(np.float32)[..., None])[..., 0] > 0
        self._nearest = distance_transform_edt(~self.covered, return_distances=False, return_indices=True)

    def draw(self, look: Look) -> F32:
        """Linear albedo f32 [3, R, R], 0-1."""
        random = np.random.Generator(np.random.PCG64(_PATTERN_SEED))
        chart = self._chart.draw(look.skin, random)
        painted, _ = self._shader.paint(self._values, self._material, look.skin, look.hair, chart)
        albedo: F32 = self._texels(np.clip(painted, 0, 1))[*self._nearest]
        return np.ascontiguousarray(albedo.transpose(2, 0, 1))

    def of_vertices(self, values: F32) -> F32:
        """A number of each vertex [V] at the texels [R, R]; 0 between the islands."""
        drawn = interpolate(values[None, :, None].astype(np.float32), self._head.triangles, self._raster)[0]
        return self._texels(drawn[self._drawn].T)[..., 0]

    def of_parts(self, names: tuple[str, ...]) -> F32:
        """Share [R, R] of each texel that shows one of these parts of the head."""
        parts = [list(self._head.part_names).index(name) for name in names]
        return self._texels(np.isin(self._material, parts).astype(np.float32)[None])[..., 0]

    def _texels(self, values: F32) -> F32:
        """Means [R, R, C] over the samples that lie on the head, of their values [C, N]."""
        finer = np.zeros((*self._drawn.shape, len(values) + 1), np.float32)
        finer[self._drawn, :-1] = values.T
        finer[self._drawn, -1] = 1
        texels = _reduced(finer)
        share = np.maximum(texels[..., -1:], np.float32(1e-6))
        mean: F32 = (texels[..., :-1] / share).astype(np.float32)
        return mean


def _texel_triangles(head: HeadModel, size: int) -> Raster:
    """Which triangle each texel shows: UV as clip coordinates, whose top row is y = -1 (CONVENTIONS.md)."""
    flat = np.concatenate(
        [head.uv * 2 - 1, np.zeros_like(head.uv[:, :1]), np.ones_like(head.uv[:, :1])], axis=1
    )
    return rasterize(flat[None].astype(np.float32), head.uv_triangles, size, size)


def _reduced(finer: F32) -> F32:
    """Means of squares of texels: [R · 2, R · 2, C] → [R, R, C]."""
    rows, columns, channels = finer.shape
    blocks = finer.reshape(rows // _DENSITY, _DENSITY, columns // _DENSITY, _DENSITY, channels)
    mean: F32 = blocks.mean(axis=(1, 3), dtype=np.float32)
    return mean


def preview(albedo: F32) -> Image.Image:
    """A map [3, R, R] as an sRGB picture."""
    value = np.clip(albedo, 0, 1).transpose(1, 2, 0)
    encoded = np.where(
        value <= 0.0031308, 12.92 * value, 1.055 * np.maximum(value, 1e-6) ** (1 / 2.4) - 0.055
    )
    return Image.fromarray((encoded * 255 + 0.5).astype(np.uint8))
