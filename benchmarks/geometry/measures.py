"""How near an avatar's shape is to the truth. All vertices are of one topology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.fit.camera import similarity
from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.surface import Surface, unit_vertex_normals

FloatArray = npt.NDArray[np.float64]

#: What is compared lies this near to the tip of the nose, metres.
NEAR_NOSE: Final = 0.095
NOSE_TIP: Final = 1  # the landmark network's number
#: Surfaces whose normals differ by more than 60° are not the same skin.
LEAST_COSINE: Final = 0.5


class FaceMeasures:
    """Of the skin around the nose of one head model."""

    def __init__(self, head: HeadModel) -> None:
        self._mean = mean = head.vertices_mean.astype(np.float64)
        tip = head.landmarks(head.vertices_mean)[NOSE_TIP]
        outer = head.region("face") > 0.5
        self.near = np.flatnonzero(outer & (np.linalg.norm(mean - tip, axis=1) < NEAR_NOSE))
        skin = list(head.part_names).index("skin")
        self._skin = head.triangles[head.triangle_part == skin].astype(np.int64)
        weight = np.zeros(len(mean))
        corners = mean[self._skin]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        np.add.at(weight, self._skin.ravel(), np.repeat(area / 6, 3))
        self.area = weight[self.near] / weight[self.near].sum()
        self._lips = head.region("lips")[self.near] > 0.5

    def aligned(self, avatar: FloatArray, truth: FloatArray, scaled: bool = True) -> FloatArray:
        """An avatar [V, 3] moved onto the truth [V, 3] by a similarity, or rigidly."""
        scale, rotation, shift = similarity(avatar[self.near], truth[self.near], scaled=scaled)
        moved: FloatArray = scale * avatar @ rotation.T + shift
        return moved

    def to_surface(self, avatar: FloatArray, truth: FloatArray, scaled: bool = True) -> FloatArray:
        """Distances [N] of the truth's points from an avatar's surface, metres, after a similarity, or at the
        avatar's own size."""
        avatar = self.aligned(avatar, truth, scaled)
        normals = unit_vertex_normals(truth, self._skin)[self.near]
        _, distance, _ = Surface(avatar, self._skin).closest(truth[self.near], normals, LEAST_COSINE)
        return distance[np.isfinite(distance)]

    def rms(self, one: FloatArray, other: FloatArray, scaled: bool = False) -> float:
        """Root mean square distance of the same points of two heads, metres, one moved rigidly."""
        gap = (self.aligned(one, other, scaled) - other)[self.near]
        return float(np.sqrt(self.area @ (gap**2).sum(axis=1)))

    def lips_rms(self, one: FloatArray, other: FloatArray) -> float:
        """`rms` of the lips alone, the heads still being moved onto each other by all of the face."""
        gap = (self.aligned(one, other, scaled=False) - other)[self.near][self._lips]
        area = self.area[self._lips] / self.area[self._lips].sum()
        return float(np.sqrt(area @ (gap**2).sum(axis=1)))

    def captured(self, avatars: Sequence[FloatArray], truths: Sequence[FloatArray]) -> dict[str, float]:
        """Share of what sets people apart that avatars have: 1 - |Δavatar - Δtruth|² / |Δtruth|², by axis,
        Δ being the difference from the mean of all avatars, or truths. All are moved onto the mean head by
        similarities first: a photo does not tell sizes."""
        moved, true = (
            np.stack([self.aligned(one, self._mean)[self.near] for one in heads])
            for heads in (avatars, truths)
        )
        own, its = moved - moved.mean(axis=0), true - true.mean(axis=0)
        missing = np.einsum("v,nvc->c", self.area, (own - its) ** 2)
        there = np.einsum("v,nvc->c", self.area, its**2)
        by_axis = 1 - missing / there
        return {
            "all": float(1 - missing.sum() / there.sum()),
            **{axis: float(value) for axis, value in zip("xyz", by_axis, strict=True)},
        }

    def left_behind(self, calm: FloatArray, moved: FloatArray, displacement: FloatArray) -> float:
        """Share of an expression's ``displacement`` [V, 3] that stays in a neutral made of an expressive
        photo, beside the ``calm`` one of the same person: 0 none, 1 all of it."""
        points = np.flatnonzero(np.linalg.norm(displacement, axis=1) > 0)
        points = np.intersect1d(points, self.near)
        gap = (self._still(moved, calm, displacement) - calm)[points]
        along = displacement[points]
        return float((gap * along).sum() / (along**2).sum())

    def _still(self, moved: FloatArray, calm: FloatArray, displacement: FloatArray) -> FloatArray:
        """Moved onto the calm head by what the expression leaves where it is."""
        still = self.near[np.linalg.norm(displacement[self.near], axis=1) < 5e-4]
        scale, rotation, shift = similarity(moved[still], calm[still])
        result: FloatArray = scale * moved @ rotation.T + shift
        return result
