"""Volume of the hair: the scalp moved out to where the photo shows the person's silhouette.

A head model knows skulls, not hair. The person mask says where, around the head, the person ends; the
distance between that outline and the skull's is the thickness of the hair as seen from the camera. It is read
along rays from the middle of the skull, cleaned, and carried over the scalp, so that hair is textured where
it really is and the avatar keeps the person's outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from facewright.core.arrays import Floats
from facewright.head.head_model import HeadModel
from facewright_client.contract import CROP_SIZE

_RAYS: Final = 121
#: Rays run from straight up to this angle on either side, radians; below are ears, neck and shoulders.
_WIDEST: Final = np.radians(115.0)
#: At these angles thickness begins to fade, and is gone: long hair runs on into the shoulders.
_FADE: Final = (np.radians(58.0), np.radians(112.0))
#: Steps along a ray, and how far out hair is looked for, metres.
_STEPS: Final = 96
_REACH: Final = 0.12
#: Share of the mean thickness that the far side of the head gets, which no photo shows.
_BEHIND_SHARE: Final = 0.35


@dataclass(frozen=True)
class HairVolumeLimits:
    """What is taken for hair.

    Args:
        thinnest: a silhouette may lie this far inside the skull's (short hair on a smaller skull), metres.
        thickest: hair above this is cut: a bun, a hat, or somebody behind.
        smoothing: rays (about 2 degrees each) over which the outline is smoothed.
    """

    thinnest: float = -0.010
    thickest: float = 0.045
    smoothing: float = 3.5


class HairVolume:
    """Displaces the scalp of one head model to the outline of a person mask.

    Args:
        head: the head model.
        limits: what is taken for hair.
    """

    def __init__(self, head: HeadModel, limits: HairVolumeLimits | None = None) -> None:
        self.limits = limits or HairVolumeLimits()
        self._scalp = head.region("scalp").astype(np.float32)
        self._moved = np.flatnonzero(self._scalp > 0.05)
        self._ears = np.flatnonzero(head.region("ears") > 0.5)
        # Ears stand out of the skull: they are no hair.
        self._outline = np.union1d(self._moved, self._ears)

    def displacement(
        self,
        vertices: Floats,
        intrinsics: Floats,
        head_to_camera: Floats,
        mask: NDArray[np.uint8],
        valid_box: tuple[int, int, int, int],
    ) -> Floats:
        """How far each vertex moves, f32 ``[V, 3]``, metres, head space; zero off the scalp.

        Args:
            vertices: f32 ``[V, 3]``, the fitted head, head space.
            intrinsics: f32 ``[3, 3]``, crop pixels.
            head_to_camera: f32 ``[3, 4]``.
            mask: u8 ``[M, M]``, probability of a person x 255 over the crop.
            valid_box: x0, y0, x1, y1 of the crop's part that shows the photo, crop pixels.
        """
        scalp, outline = self._moved, self._outline
        middle = self._middle(vertices, scalp)
        outward = vertices[scalp] - middle
        outward /= np.linalg.norm(outward, axis=1, keepdims=True)
        rotation, translation = head_to_camera[:, :3], head_to_camera[:, 3]
        centre = rotation @ middle + translation
        pixels_per_metre = float(intrinsics[0, 0] / centre[2])
        seen = (vertices[outline] @ rotation.T + translation) @ intrinsics.T
        pixels = seen[:, :2] / seen[:, 2:]
        origin = (intrinsics @ centre)[:2] / centre[2]

        # Image frame whose "up" is the head's.
        up = (rotation @ np.array([0.0, 1.0, 0.0], np.float32))[:2]
        up /= np.linalg.norm(up) + 1e-9
        frame = np.stack([[-up[1], up[0]], up])  # rows: right, up
        local = (pixels - origin) @ frame.T
        angles = np.arctan2(local[:, 0], local[:, 1])

        grid = np.linspace(-_WIDEST, _WIDEST, _RAYS)
        skull = _outline(angles, np.linalg.norm(local, axis=1), grid)
        rays = np.stack([np.sin(grid), np.cos(grid)], axis=1) @ frame
        thickness, known = self._thickness(mask, origin, rays, skull, pixels_per_metre, valid_box)
        if known.sum() < _RAYS // 4:
            return np.zeros_like(vertices)
        thickness = np.interp(grid, grid[known], thickness[known])
        thickness = median_filter(thickness, 9, mode="nearest")
        thickness = gaussian_filter1d(thickness, self.limits.smoothing, mode="nearest")
        fade = 1.0 - np.clip((np.abs(grid) - _FADE[0]) / (_FADE[1] - _FADE[0]), 0.0, 1.0)
        thickness *= fade * fade * (3 - 2 * fade)

        # A point on the silhouette moves by what its ray shows. Elsewhere nothing is measured: one that faces
        # the camera takes the mean of the upper half, one behind the head _BEHIND_SHARE of it.
        away = outward @ (rotation.T @ (centre / np.linalg.norm(centre)))  # 1: faces away from the camera
        on_silhouette = np.clip(1.0 - away**2, 0.0, 1.0)
        upper = float(np.mean(thickness[np.abs(grid) < np.radians(70)]))
        measured = np.interp(angles[np.searchsorted(outline, scalp)], grid, thickness)
        unmeasured = upper * np.where(away > 0, _BEHIND_SHARE, 1.0)
        amount = on_silhouette * measured + (1 - on_silhouette) * unmeasured
        # Towards the nape hair lies down, whatever its volume above.
        height = (vertices[scalp, 1] - middle[1]) / (vertices[scalp, 1].max() - middle[1])
        back = np.clip(-outward[:, 2], 0.0, 1.0)
        amount *= 1.0 - back * np.clip(0.7 - height, 0.0, 1.0)
        moved = np.zeros_like(vertices)
        moved[scalp] = (amount * self._scalp[scalp])[:, None].astype(np.float32) * outward
        return moved

    def _middle(self, vertices: Floats, scalp: NDArray[np.intp]) -> Floats:
        """Between the ears, a little above them."""
        middle: Floats = vertices[self._ears].mean(axis=0)
        middle[0] = 0.0
        middle[1] += 0.25 * (vertices[scalp, 1].max() - middle[1])
        return middle

    def _thickness(
        self,
        mask: NDArray[np.uint8],
        origin: NDArray[np.floating],
        rays: NDArray[np.floating],
        skull: NDArray[np.floating],
        pixels_per_metre: float,
        valid_box: tuple[int, int, int, int],
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Metres from the skull's outline to the person's along each ray, and where the photo shows it."""
        offsets = np.linspace(self.limits.thinnest, _REACH, _STEPS)
        points = origin + (skull[:, None] + offsets * pixels_per_metre)[..., None] * rays[:, None]
        x0, y0, x1, y1 = valid_box
        inside = (
            (points[..., 0] > x0 + 2)
            & (points[..., 0] < x1 - 2)
            & (points[..., 1] > y0 + 2)
            & (points[..., 1] < y1 - 2)
        )
        scale = len(mask) / CROP_SIZE
        cell = np.clip((points * scale).astype(int), 0, len(mask) - 1)
        person = mask[cell[..., 1], cell[..., 0]] > 127
        outside = ~person & inside
        first = np.where(outside.any(axis=1), outside.argmax(axis=1), _STEPS - 1)
        # A ray that leaves the photo while still on the person says "at least so far".
        last_inside = np.where(inside.all(axis=1), _STEPS - 1, np.argmin(inside, axis=1))
        thickness = np.clip(
            offsets[np.minimum(first, last_inside)], self.limits.thinnest, self.limits.thickest
        )
        return thickness, last_inside > 0


def _outline(
    angles: NDArray[np.floating], radii: NDArray[np.floating], grid: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The largest radius near each angle of the grid: the silhouette of a star-shaped set of points."""
    width = 1.5 * (grid[1] - grid[0])
    near = np.abs(angles[None, :] - grid[:, None]) < 2 * width
    outline = np.where(near, radii[None, :], 0.0).max(axis=1)
    known = outline > 0
    outline = np.interp(grid, grid[known], outline[known])
    return np.asarray(gaussian_filter1d(outline, 2.0, mode="nearest"), np.float64)
