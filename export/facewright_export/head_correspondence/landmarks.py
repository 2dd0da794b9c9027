"""The 51 inner landmarks of the 68 of Multi-PIE, which FLAME, BFM and most meshes have, on the open head."""

from __future__ import annotations

from typing import Final

import numpy as np

from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.surface import SurfacePoints

#: Landmarks 17 to 67 (subject's right first: brows, nose, eyes, lips) as points of the 478-point network.
NETWORK_LANDMARKS: Final = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 195, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
COUNT: Final = len(NETWORK_LANDMARKS)
#: Of all 68, how many lie on the outline before these: not the same points on any two heads.
OUTLINE: Final = 17
#: Brows, nose and eyes, which hardly move with an expression: rows among the 51.
RIGID: Final = slice(0, 31)
#: The left and the right eye: corner, upper lid, corner, lower lid, clockwise in a picture.
EYES: Final = (slice(25, 31), slice(19, 25))
#: The mouth's corners, subject's right and left; the outline of the upper and of the lower lip.
MOUTH_CORNERS: Final = (31, 37)
UPPER_LIP: Final = slice(32, 37)
LOWER_LIP: Final = slice(38, 43)
#: Skin within this of the lips' outline, along the surface, may be of a lip, metres.
OUTLINE_REACH: Final = 0.02
#: Where the lips meet: corner, upper lip, corner, lower lip.
INNER_LIPS: Final = slice(43, 51)


def open_landmarks(head: HeadModel) -> SurfacePoints:
    """The 51 landmarks on the open head."""
    rows = list(NETWORK_LANDMARKS)
    return SurfacePoints(
        head.landmark_vertices[rows].astype(np.int64), head.landmark_barycentrics[rows].astype(np.float64)
    )
