"""Photos that were squeezed: a 16:9 picture in a square frame, or a square one in a wide banner."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
import numpy.typing as npt

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

F64 = npt.NDArray[np.float64]

#: Where the limits are from: 326 faces of 293 photos, and copies of 33 squeezed to 1/1.33 to 1/2.56.
STUDIED: Final = "measured on 326 faces, and on 360 squeezed copies of 33"

# Hairline and chin, the outline at both ears; outer and inner corners of the eyes; corners of the mouth; the
# nose's tip. Landmarks around the irises: left, top, right, bottom.
_TOP, _CHIN, _RIGHT, _LEFT, _NOSE = 10, 152, 234, 454, 1
_RIGHT_EYE, _LEFT_EYE, _MOUTH = (33, 133), (362, 263), (61, 291)
_IRISES: Final = (468, 473)

#: Height of a face over its width: photos 1.05 and more, squeezed in height by 1.33 0.88 to 1.19, by 1.6
#: 0.81 to 1.05.
LEAST_HEIGHT: Annotated[float, "of the width", STUDIED] = 0.96
#: Width of an iris over its height, mean of both: photos 1.34 at most, squeezed in height by 1.6
#: 1.31 and more.
LEAST_WIDE_IRIS: Annotated[float, "of the height", STUDIED] = 1.38
#: Above this, in a photo of at least `EXTREME_SHAPE`, a face is too flat for its landmarks. Their median
#: error, of the pupils' distance: squeezed in height by 1.6 3 %, by 2 7 %, by 2.5 29 %. The iris alone does
#: not tell: 1.25 to 1.67 at 1.6, 1.59 to 1.93 at 2, 1.55 to 2.01 at 2.5.
MOST_WIDE_IRIS: Annotated[float, "of the height", "measured on 18 photos at 8 ratios"] = 1.65
#: Longer over shorter side of a photo that was maybe squeezed into its shape.
EXTREME_SHAPE: Final = 2.0
#: Distance of eyes and mouth over that of the eyes, in faces from the front: photos 1.26 at most, squeezed in
#: width by 1.33 1.11 and more (11 of 33 above the limit), by 1.6 1.17 and more (28 of 33).
MOST_LENGTH: Annotated[float, "of the eyes' distance", STUDIED] = 1.42
#: Of the face's width, by how much more of it lies on one side of the nose.
FROM_THE_FRONT: Annotated[float, "of the width", STUDIED] = 0.4


def extreme_shape(size: tuple[int, int]) -> bool:
    """Whether a photo's width and height are such as squeezing gives."""
    return max(size) >= EXTREME_SHAPE * min(size)


def check_proportions(landmarks: F64, size: tuple[int, int]) -> list[str]:
    """Whether a face is squeezed, as a sentence for the report.

    Args:
        landmarks: ``[478, 2]``, pixels.
        size: the photo's width and height, pixels.

    Raises:
        FacewrightError: BAD_PHOTO where it is so flat that its landmarks are wrong.
    """
    if too_flat(landmarks, size):
        raise FacewrightError(
            ErrorCode.BAD_PHOTO,
            f"the photo of {size[0]} x {size[1]} pixels is squeezed: the face is too flat for an avatar "
            f"(the irises are {_iris_aspect(landmarks):.2f} times as wide as high)",
            "send it with its own proportions",
        )
    height, width = _height_and_width(landmarks)
    if height < LEAST_HEIGHT * width and _iris_aspect(landmarks) > LEAST_WIDE_IRIS:
        return [_sentence("flatter", height / width)]
    right, left = landmarks[list(_RIGHT_EYE)].mean(axis=0), landmarks[list(_LEFT_EYE)].mean(axis=0)
    across = (left - right) / max(_distance(left, right), 1e-6)
    mouth, nose = landmarks[list(_MOUTH)].mean(axis=0), landmarks[_NOSE]
    length = _distance((right + left) / 2, mouth) / max(_distance(left, right), 1e-6)
    more_on_the_right = (2 * nose - landmarks[_RIGHT] - landmarks[_LEFT]) @ across
    if length > MOST_LENGTH and abs(more_on_the_right) < FROM_THE_FRONT * width:
        return [_sentence("narrower", height / width)]
    return []


def too_flat(landmarks: F64, size: tuple[int, int]) -> bool:
    """Whether a face is squeezed so far that its landmarks are wrong; arguments as of `check_proportions`."""
    height, width = _height_and_width(landmarks)
    flat = height < LEAST_HEIGHT * width and _iris_aspect(landmarks) > MOST_WIDE_IRIS
    return flat and extreme_shape(size)


def _height_and_width(landmarks: F64) -> tuple[float, float]:
    return _distance(landmarks[_TOP], landmarks[_CHIN]), _distance(landmarks[_RIGHT], landmarks[_LEFT])


def _sentence(how: str, ratio: float) -> str:
    return (
        f"The photo seems to be squeezed, the face is {how} than faces are (its height is {ratio:.2f} of its "
        "width): the avatar is not like the person. Send it with its own proportions."
    )


def _iris_aspect(landmarks: F64) -> float:
    aspects = [
        _distance(landmarks[iris + 1], landmarks[iris + 3])
        / max(_distance(landmarks[iris + 2], landmarks[iris + 4]), 1e-6)
        for iris in _IRISES
    ]
    return float(np.mean(aspects))


def _distance(a: F64, b: F64) -> float:
    return float(np.linalg.norm(a - b))
