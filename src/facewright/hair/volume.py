"""Volume of the hair: the scalp moved out to where the photo shows the person's silhouette.

A head model knows skulls, not hair. The person mask says where, around the head, the person ends; the
distance between that outline and the skull's is the thickness of the hair as seen from the camera. It is read
along rays from the middle of the skull, cleaned, and carried over the scalp, so that hair is textured where
it really is and the avatar keeps the person's outline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from facewright.core.arrays import Floats
from facewright.core.settings import BY_EYE, INSENSITIVE, NUMERICAL, Range
from facewright.head.head_model import HeadModel
from facewright_client.contract import CROP_SIZE


@dataclass(frozen=True)
class HairVolumeSettings:
    """What is taken for hair, and how its thickness is read."""

    #: A silhouette may lie this far inside the skull's: short hair on a smaller skull.
    thinnest: Annotated[float, "metres", BY_EYE] = -0.010
    #: Hair above this is cut: a bun, a hat, or somebody behind.
    thickest: Annotated[float, "metres", INSENSITIVE] = 0.045
    #: How far out hair is looked for, and in how many steps.
    reach: Annotated[float, "metres", BY_EYE] = 0.12
    steps: Annotated[int, "steps", NUMERICAL] = 96
    rays: Annotated[int, "rays", NUMERICAL] = 121
    #: Rays run from straight up to this angle on either side; below are ears, neck and shoulders.
    widest: Annotated[float, "degrees", BY_EYE] = 115.0
    #: At these angles thickness begins to fade, and is gone: long hair runs on into the shoulders.
    fade: Annotated[Range, "degrees", BY_EYE] = (58.0, 112.0)
    #: The outline is smoothed over rays (about 2 degrees each): a median of this many, then a Gaussian.
    median: Annotated[int, "rays", BY_EYE] = 9
    smoothing: Annotated[float, "rays", BY_EYE] = 3.5
    #: The same for the skull's outline.
    skull_smoothing: Annotated[float, "rays", BY_EYE] = 2.0
    #: Share of rays that must meet the photo; with fewer the skull stays bare.
    least_rays: Annotated[float, "share", BY_EYE] = 0.25
    #: What faces the camera takes the mean thickness up to this angle; what faces away, no photo shows and
    #: takes this share of it.
    upper: Annotated[float, "degrees", BY_EYE] = 70.0
    behind_share: Annotated[float, "share", BY_EYE] = 0.35
    #: Height of the rays' middle above the ears, and height below which hair lies down at the back, as shares
    #: of the way to the top of the scalp.
    middle: Annotated[float, "share", BY_EYE] = 0.25
    lies_down: Annotated[float, "share", BY_EYE] = 0.7
    #: Weight of the region ``scalp`` from which a vertex moves.
    least_scalp: Annotated[float, "weight", NUMERICAL] = 0.05


class HairVolume:
    """Displaces the scalp of one head model to the outline of a person mask.

    Args:
        head: the head model.
        settings: what is taken for hair.
    """

    def __init__(self, head: HeadModel, settings: HairVolumeSettings) -> None:
        self.settings = settings
        self._scalp = head.region("scalp").astype(np.float32)
        self._moved = np.flatnonzero(self._scalp > settings.least_scalp)
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
        scalp, outline, settings = self._moved, self._outline, self.settings
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

        widest = np.radians(settings.widest)
        grid = np.linspace(-widest, widest, settings.rays)
        skull = _outline(angles, np.linalg.norm(local, axis=1), grid, settings.skull_smoothing)
        rays = np.stack([np.sin(grid), np.cos(grid)], axis=1) @ frame
        thickness, known = self._thickness(mask, origin, rays, skull, pixels_per_metre, valid_box)
        if known.sum() < int(settings.least_rays * settings.rays):
            return np.zeros_like(vertices)
        thickness = np.interp(grid, grid[known], thickness[known])
        thickness = median_filter(thickness, settings.median, mode="nearest")
        thickness = gaussian_filter1d(thickness, settings.smoothing, mode="nearest")
        fades, gone = np.radians(settings.fade)
        fade = 1.0 - np.clip((np.abs(grid) - fades) / (gone - fades), 0.0, 1.0)
        thickness *= fade * fade * (3 - 2 * fade)

        # A point on the silhouette moves by what its ray shows. Elsewhere nothing is measured: one that faces
        # the camera takes the mean of the upper half, one behind the head a share of it.
        away = outward @ (rotation.T @ (centre / np.linalg.norm(centre)))  # 1: faces away from the camera
        on_silhouette = np.clip(1.0 - away**2, 0.0, 1.0)
        upper = float(np.mean(thickness[np.abs(grid) < np.radians(settings.upper)]))
        measured = np.interp(angles[np.searchsorted(outline, scalp)], grid, thickness)
        unmeasured = upper * np.where(away > 0, settings.behind_share, 1.0)
        amount = on_silhouette * measured + (1 - on_silhouette) * unmeasured
        # Towards the nape hair lies down, whatever its volume above.
        height = (vertices[scalp, 1] - middle[1]) / (vertices[scalp, 1].max() - middle[1])
        back = np.clip(-outward[:, 2], 0.0, 1.0)
        amount *= 1.0 - back * np.clip(settings.lies_down - height, 0.0, 1.0)
        moved = np.zeros_like(vertices)
        moved[scalp] = (amount * self._scalp[scalp])[:, None].astype(np.float32) * outward
        return moved

    def _middle(self, vertices: Floats, scalp: NDArray[np.intp]) -> Floats:
        """Between the ears, a little above them."""
        middle: Floats = vertices[self._ears].mean(axis=0)
        middle[0] = 0.0
        middle[1] += self.settings.middle * (vertices[scalp, 1].max() - middle[1])
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
        settings = self.settings
        offsets = np.linspace(settings.thinnest, settings.reach, settings.steps)
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
        first = np.where(outside.any(axis=1), outside.argmax(axis=1), settings.steps - 1)
        # A ray that leaves the photo while still on the person says "at least so far".
        last_inside = np.where(inside.all(axis=1), settings.steps - 1, np.argmin(inside, axis=1))
        thickness = np.clip(offsets[np.minimum(first, last_inside)], settings.thinnest, settings.thickest)
        return thickness, last_inside > 0


def _outline(
    angles: NDArray[np.floating],
    radii: NDArray[np.floating],
    grid: NDArray[np.floating],
    smoothing: float,
) -> NDArray[np.float64]:
    """The largest radius near each angle of the grid: the silhouette of a star-shaped set of points."""
    width = 1.5 * (grid[1] - grid[0])
    near = np.abs(angles[None, :] - grid[:, None]) < 2 * width
    outline = np.where(near, radii[None, :], 0.0).max(axis=1)
    known = outline > 0
    outline = np.interp(grid, grid[known], outline[known])
    return np.asarray(gaussian_filter1d(outline, smoothing, mode="nearest"), np.float64)
