"""What all judges share: where a face is, its window, and what is compared of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

#: Outer and inner corners of the subject's right and left eye, among the 478 landmarks.
_EYES = ((33, 133), (263, 362))


@dataclass(frozen=True)
class FaceBox:
    """Where the face to be judged is: a square in pixels, about from the brows to below the chin.

    Attributes:
        centre_x, centre_y, side: of the square, whose sides are the picture's.
        roll: how far the line through the eyes is turned clockwise in the picture, radians.
    """

    centre_x: float
    centre_y: float
    side: float
    roll: float = 0.0

    @classmethod
    def around(cls, points: npt.NDArray[np.floating]) -> FaceBox:
        """The square around the landmarks [478, 2] of one face, pixels."""
        low, high = points.min(axis=0), points.max(axis=0)
        centre = (low + high) / 2
        right, left = (points[list(corners)].mean(axis=0) for corners in _EYES)
        across = left - right
        roll = float(np.arctan2(across[1], across[0]))
        return cls(float(centre[0]), float(centre[1]), float((high - low).max()), roll)


@dataclass(frozen=True)
class JudgedFace:
    """Descriptor float64 [D], and whether the judge's own detector, if it has one, agreed on the face."""

    descriptor: F64
    detected: bool = True

    def distance(self, other: JudgedFace) -> float:
        """Euclidean distance of the descriptors."""
        return float(np.linalg.norm(self.descriptor - other.descriptor))


class Judge(Protocol):
    """Tells how alike two faces look: the distance of their descriptors."""

    @property
    def name(self) -> str:
        """As in results and on the command line."""

    def describe(self, picture: U8, box: FaceBox) -> JudgedFace:
        """The descriptor of the face in ``box`` of an sRGB picture u8 [H, W, 3].

        Raises:
            ValueError: not a u8 RGB picture, or an empty box.
        """


def face_window(picture: U8, box: FaceBox, span: float, pixels: int, *, upright: bool = False) -> U8:
    """A square of ``pixels``, ``span`` face sizes wide, around the face; black where the picture has ended.

    Args:
        picture: sRGB u8 [H, W, 3].
        box: the face.
        span: of the window, in sides of the box.
        pixels: of the window.
        upright: turned so that the eyes are level.

    Raises:
        ValueError: not a u8 RGB picture, or an empty box.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"picture must be u8 [H, W, 3], got {picture.dtype} {picture.shape}")
    if not box.side > 0:
        raise ValueError(f"face box must have a size, got {box}")
    step = span * box.side / pixels
    # Reducing first keeps large photos from aliasing; transform() alone samples four pixels.
    image = Image.fromarray(picture)
    shrink = max(1, int(step))
    if shrink > 1:
        image = image.reduce(shrink)
    roll = box.roll if upright else 0.0
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) * step
    corner = np.array([box.centre_x, box.centre_y]) - turn @ [pixels / 2, pixels / 2]
    coefficients = np.concatenate([turn, corner[:, None]], axis=1) / shrink
    window = image.transform(
        (pixels, pixels), Image.Transform.AFFINE, coefficients.ravel().tolist(), Image.Resampling.BICUBIC
    )
    return np.asarray(window)
