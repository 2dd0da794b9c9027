"""FACE_CROP: the square of the photo around the whole head that all later stages look at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.photo.colour_profile import to_srgb
from facewright.photo.landmark_crop import VIEW_SCALE, FaceView
from facewright.photo.photo import Photo
from facewright_client.contract import CROP_SIZE

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: From this opacity on something counts as shown: three quarters.
OPAQUE = 192

#: Side of the crop for a face of size 1: 0.6 of the face's height is left above it for hair and below for the
#: neck.
CROP_SCALE = 2.2


@dataclass(frozen=True)
class CropFrame:
    """Where the crop lies in the photo. It is turned by whole quarter turns only, so that no pixel is
    resampled by a rotation: a face's roll in it is at most 45 degrees.

    Args:
        centre: x, y in photo pixels.
        side: photo pixels.
        quarter_turns: how often the photo is turned counter-clockwise by 90 degrees before it is cut.
    """

    centre: tuple[float, float]
    side: float
    quarter_turns: int

    @classmethod
    def around(cls, face: FaceView) -> CropFrame:
        """The crop around the face that the landmark network's view shows."""
        return cls(face.centre, face.side / VIEW_SCALE * CROP_SCALE, round(face.angle / (math.pi / 2)) % 4)

    def to_photo(self) -> F64:
        """CROP_TO_PHOTO ``[3, 3]``: crop pixels to photo pixels."""
        step = self.side / CROP_SIZE
        cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[self.quarter_turns]
        linear = step * np.array([[cosine, -sine], [sine, cosine]], np.float64)
        matrix = np.eye(3)
        matrix[:2, :2] = linear
        matrix[:2, 2] = np.array(self.centre) - linear @ np.full(2, CROP_SIZE / 2)
        return matrix


@dataclass(frozen=True)
class FaceCrop:
    """FACE_CROP.

    Attributes:
        image: ``[1024, 1024, 3]`` sRGB; beyond the photo its border is repeated.
        valid_box: x0, y0, x1, y1 of the part that shows the photo, crop pixels.
        opacity: u8 ``[1024, 1024]``; None where nothing is transparent.
    """

    image: U8
    valid_box: tuple[int, int, int, int]
    opacity: U8 | None

    @property
    def seen(self) -> Mask:
        """Where it shows something of the photo, ``[1024, 1024]``."""
        x0, y0, x1, y1 = self.valid_box
        seen = np.zeros(self.image.shape[:2], np.bool_)
        seen[y0:y1, x0:x1] = True
        return seen if self.opacity is None else seen & (self.opacity >= OPAQUE)

    def within_opaque(self) -> FaceCrop:
        """The same with `valid_box` around what is opaque."""
        seen = self.seen
        rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return self
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        return replace(self, valid_box=box)


def cut_face_crop(photo: Photo, frame: CropFrame) -> FaceCrop:
    """Resample the crop, antialiased.

    Raises:
        ValueError: the crop does not touch the photo.
    """
    step = frame.side / CROP_SIZE
    corner = np.array(frame.centre) - frame.side / 2
    limit = np.array([photo.width, photo.height])
    # Whole crop pixels inside the image: resampling only these keeps the exact grid, also at the photo's
    # border.
    low = np.clip(np.ceil(-corner / step - 1e-6), 0, CROP_SIZE).astype(int)
    high = np.clip(np.floor((limit - corner) / step + 1e-6), 0, CROP_SIZE).astype(int)
    if (high <= low).any():
        raise ValueError(f"the crop at {frame.centre} of side {frame.side:.0f} does not touch the photo")
    edges = photo.from_photo(np.stack([corner + low * step, corner + high * step]))
    box = edges.clip(0, photo.image.size).ravel()
    size = high - low

    def part(image: Image.Image) -> Image.Image:
        return image.resize(
            (int(size[0]), int(size[1])),
            Image.Resampling.BICUBIC,
            box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            reducing_gap=3.0,
        )

    after = CROP_SIZE - high
    beyond = ((low[1], after[1]), (low[0], after[0]))
    crop = np.pad(np.asarray(to_srgb(part(photo.image), photo.colours)), (*beyond, (0, 0)), mode="edge")
    opacity = np.pad(np.asarray(part(photo.opacity)), beyond, mode="edge") if photo.opacity else None
    x0, y0, x1, y1 = int(low[0]), int(low[1]), int(high[0]), int(high[1])
    for _ in range(frame.quarter_turns):  # np.rot90 turns counter-clockwise: (x, y) → (y, 1024 − x)
        x0, y0, x1, y1 = y0, CROP_SIZE - x1, y1, CROP_SIZE - x0
    turned = np.ascontiguousarray(np.rot90(crop, frame.quarter_turns))
    if opacity is not None:
        opacity = np.ascontiguousarray(np.rot90(opacity, frame.quarter_turns))
    return FaceCrop(turned, (x0, y0, x1, y1), opacity)
