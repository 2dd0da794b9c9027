"""Frames of interlaced video: two pictures, taken one after the other, in every second row."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.photo.face_measures import F64

#: How much more rows may differ from the next than from the one after it. Faces of 284 photos 0.56 to 0.89,
#: white noise 1; where every second row is shifted by 4 pixels 1.13 and more, by 2 pixels 1.12 in the median.
LIMIT: Final = 1.05
_LEAST_ROWS: Final = 16


def interlaced(picture: Image.Image, box: F64) -> bool:
    """Whether a face's rows, or its columns where the picture was turned, are of two pictures.

    Args:
        picture: at its own size: averaging, or a change of size, mixes the rows.
        box: of the face, ``[2, 2]``: left top, right bottom, pixels.
    """
    left, top, right, bottom = (int(edge) for edge in np.clip(box.ravel(), 0, None))
    face = np.asarray(picture.crop((left, top, right, bottom)).convert("L"), np.float32)
    return min(face.shape) >= _LEAST_ROWS and max(_combing(face), _combing(face.T)) > LIMIT


def _combing(rows: npt.NDArray[np.float32]) -> float:
    next_one, second = (np.abs(rows[:-2] - rows[step : len(rows) - 2 + step]).mean() for step in (1, 2))
    return float(next_one / max(float(second), 1e-6))
