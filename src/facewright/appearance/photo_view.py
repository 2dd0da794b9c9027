"""What the photo shows of points on the fitted head: where, how obliquely, and whether something is in
front."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from facewright.core.arrays import Floats
from facewright.core.colour import linear_from_srgb
from facewright.core.settings import BY_EYE, MEASURED, NUMERICAL, Range
from facewright_kernels import (
    PinholeCamera,
    ProjectionSurface,
    ProjectionWeighting,
    TexelMap,
    depth_map,
    pinhole_points,
    silhouette_weight,
    uv_projection,
)

Bytes = NDArray[np.uint8]

#: Side of the image in which colours are judged, and of the z-buffer.
ANALYSIS_SIZE = 256
DEPTH_SIZE = 512


@dataclass(frozen=True)
class SightingSettings:
    """What counts as seen."""

    #: Distance from a silhouette at which the photo is trusted.
    silhouette_margin: Annotated[float, "metres", MEASURED] = 0.004
    #: A jump of depth that is a silhouette: the head against what is behind it, not the nose against its own
    #: cheek.
    silhouette_jump: Annotated[float, "metres", BY_EYE] = 0.03
    #: A point this far behind the z-buffer's surface is hidden.
    depth_bias: Annotated[float, "metres", BY_EYE] = 0.004
    #: The same for an eyeball behind its lids, which are thin.
    eye_depth_bias: Annotated[float, "metres", BY_EYE] = 0.0008
    #: Cosines between which a surface turns away. Only visibility: how obliquely a point is seen is judged
    #: later, differently for face and scalp.
    facing: Annotated[Range, "cosine", NUMERICAL] = (-0.01, 0.01)
    #: Seam along the photo's border that is not trusted.
    border: Annotated[float, "pixels of the analysis image", NUMERICAL] = 3.0
    #: The person mask is eroded with a window of this width, and then passes from background to person
    #: between these probabilities: along the outline hair is half background.
    mask_erosion: Annotated[int, "pixels of the mask", BY_EYE] = 5
    person: Annotated[Range, "probability", BY_EYE] = (0.55, 0.95)


@dataclass(frozen=True)
class Sighting:
    """What is seen of N points.

    Attributes:
        facing: f32 ``[N]``, cosine between normal and viewing ray; negative on the far side.
        visible: f32 ``[N]``, 0–1: not occluded by the head, away from silhouettes, inside the photo.
        colour: f32 ``[N, 3]``, linear, averaged over 4 × 4 crop pixels; 0 where not visible.
    """

    facing: Floats
    visible: Floats
    colour: Floats

    def at(self, points: NDArray[np.int32]) -> Sighting:
        """The sighting of points ``[M]`` of these."""
        return Sighting(self.facing[points], self.visible[points], self.colour[points])


@dataclass(frozen=True)
class FittedSurface:
    """The head as it is in the photo: vertices and normals f32 ``[V, 3]`` (head space), triangles i32
    ``[F, 3]``."""

    vertices: Floats
    normals: Floats
    triangles: NDArray[np.int32]


@dataclass(frozen=True)
class FacePhoto:
    """A photo's crop around a face.

    Attributes:
        crop: sRGB u8 ``[H, H, 3]``, H a multiple of 256.
        valid_box: x0, y0, x1, y1 of the part of the crop that shows the photo, crop pixels.
        person_mask: u8 ``[M, M]``, probability of a person x 255 over the crop; what is not the person is not
            seen. None: all of the crop is the person.
    """

    crop: Bytes
    valid_box: tuple[int, int, int, int]
    person_mask: Bytes | None = None


class PhotoView:
    """One photo with its fitted head and camera.

    Args:
        photo: around the face.
        intrinsics: f32 ``[3, 3]``, crop pixels.
        head_to_camera: f32 ``[3, 4]``, metres.
        fitted: the head in front of that camera.
        settings: what counts as seen.
    """

    def __init__(
        self,
        photo: FacePhoto,
        intrinsics: Floats,
        head_to_camera: Floats,
        fitted: FittedSurface,
        settings: SightingSettings,
    ) -> None:
        self._settings = settings
        vertices, normals, triangles = fitted.vertices, fitted.normals, fitted.triangles
        crop_size = len(photo.crop)
        self._triangles = triangles
        self._crop_size = crop_size
        camera = PinholeCamera(_batch(intrinsics), _batch(head_to_camera), crop_size, crop_size)
        factor = crop_size // ANALYSIS_SIZE
        smaller = np.diag([1 / factor, 1 / factor, 1]).astype(np.float32) @ intrinsics.astype(np.float32)
        self._camera = replace(
            camera, intrinsics=_batch(smaller), image_height=ANALYSIS_SIZE, image_width=ANALYSIS_SIZE
        )
        self._small: Bytes = np.ascontiguousarray(Image.fromarray(photo.crop).reduce(factor))
        points = pinhole_points(_batch(vertices), _batch(normals), camera)[0]
        #: Homogeneous crop pixels f32 ``[V, 3]`` of the vertices, and how they face the camera, ``[V]``.
        self.points: Floats = np.ascontiguousarray(points[:, :3])
        self.facing: Floats = np.ascontiguousarray(points[:, 3])
        self._depth = depth_map(_batch(vertices), triangles, camera, DEPTH_SIZE, DEPTH_SIZE)
        pixels_per_metre = float(intrinsics[0, 0]) / float(np.median(points[:, 2])) * DEPTH_SIZE / crop_size
        radius = int(np.clip(round(settings.silhouette_margin * pixels_per_metre), 1, 64))
        margin = silhouette_weight(self._depth, jump=settings.silhouette_jump, radius=radius)
        self._trusted = margin * _inside(photo.valid_box, DEPTH_SIZE / crop_size)
        turned_away, turned_here = settings.facing
        self._weighting = ProjectionWeighting(settings.depth_bias, turned_away, turned_here, settings.border)
        self._person: Floats | None = None
        if photo.person_mask is not None:
            self._person = _person(photo.person_mask, settings)
            self._trusted *= self._person

    def look(self, texels: TexelMap, vertices: Floats, normals: Floats) -> Sighting:
        """What is seen of the N = S² points of ``texels`` on a surface f32 ``[V, 3]`` (the fitted one or its
        mirror image, which the fitted one may hide)."""
        surface = ProjectionSurface(texels, _batch(vertices), _batch(normals), self._triangles)
        seen = uv_projection(
            self._small[None],
            surface,
            self._camera,
            self._depth,
            silhouettes=self._trusted,
            weighting=self._weighting,
        )
        count = texels.size * texels.size
        facing = pinhole_points(surface.vertices, surface.normals, self._camera)[..., 3:]
        return Sighting(
            texels.gather(np.ascontiguousarray(facing), self._triangles).reshape(count),
            seen.weight.reshape(count),
            seen.colour.reshape(count, 3),
        )

    def unoccluded(self, pixels: Floats, depth: Floats) -> Floats:
        """0–1 f32 ``[N]``: whether points at crop ``pixels`` ``[N, 2]`` and ``depth`` ``[N]``, metres, are
        in front."""
        at = np.clip((pixels * (DEPTH_SIZE / self._crop_size)).astype(np.int32), 0, DEPTH_SIZE - 1)
        behind = depth - self._depth[0, at[:, 1], at[:, 0]]
        trusted = self._trusted[0, at[:, 1], at[:, 0]]
        result: Floats = (np.clip(2.0 - behind / self._settings.eye_depth_bias, 0.0, 1.0) * trusted).astype(
            np.float32
        )
        return result

    def person_at(self, points: Floats) -> tuple[Floats, Floats]:
        """What the photo shows at points ``[N, 3]`` (head space, metres), on the head or beside it: linear
        colours f32 ``[N, 3]``, and whether that is the person, 0–1 f32 ``[N]``. Without a person mask nothing
        is known to be."""
        camera = self._camera
        seen = (
            points @ camera.head_to_camera[0, :, :3].T + camera.head_to_camera[0, :, 3]
        ) @ camera.intrinsics[0].T
        pixels = (seen[:, :2] / np.maximum(seen[:, 2:], 1e-6)).astype(np.float32)
        colours = sample_srgb(self._small, pixels)
        if self._person is None:
            return colours, np.zeros(len(points), np.float32)
        at = np.floor(pixels * (DEPTH_SIZE / ANALYSIS_SIZE)).astype(np.int32)
        within = ((at >= 0) & (at < DEPTH_SIZE)).all(axis=1)
        at = np.clip(at, 0, DEPTH_SIZE - 1)
        person: Floats = within * self._person[0, at[:, 1], at[:, 0]]
        return colours, person


def sample_srgb(image: Bytes, at: Floats) -> Floats:
    """Linear colours f32 ``[N, 3]`` of an sRGB image at pixels ``[N, 2]``: bilinear, clamped at the
    border."""
    height, width = image.shape[:2]
    x = np.clip(at[:, 0] - 0.5, 0.0, width - 1.001)
    y = np.clip(at[:, 1] - 0.5, 0.0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
    corners = [linear_from_srgb(image[top + i, left + j]) for i in (0, 1) for j in (0, 1)]
    upper = corners[0] * (1 - fx) + corners[1] * fx
    lower = corners[2] * (1 - fx) + corners[3] * fx
    result: Floats = upper * (1 - fy) + lower * fy
    return result


def _inside(box: tuple[int, int, int, int], scale: float) -> Floats:
    """f32 ``[1, 512, 512]``: 1 inside the box (crop pixels), 0 outside and in a seam of two pixels along a
    cut."""
    inside = np.zeros((1, DEPTH_SIZE, DEPTH_SIZE), np.float32)
    low = [round(side * scale) + (2 if side > 0 else 0) for side in box[:2]]
    high = [round(side * scale) - (2 if side * scale < DEPTH_SIZE else 0) for side in box[2:]]
    inside[0, low[1] : max(high[1], 0), low[0] : max(high[0], 0)] = 1.0
    return inside


def _person(mask: Bytes, settings: SightingSettings) -> Floats:
    """f32 ``[1, 512, 512]``: 1 well inside the person, 0 outside and along the outline, where hair is half
    background."""
    inner = Image.fromarray(ndimage.minimum_filter(mask, settings.mask_erosion))
    sized = np.asarray(inner.resize((DEPTH_SIZE, DEPTH_SIZE), Image.Resampling.BILINEAR), np.float32)
    none, all_of_it = settings.person
    probability = sized[None] / np.float32(255)
    person: Floats = np.clip((probability - none) / np.float32(all_of_it - none), 0.0, 1.0)
    return person


def _batch(array: Floats) -> Floats:
    return np.ascontiguousarray(array, np.float32)[None]
