"""Points that published aligners know, read from the 478 landmarks of the face network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.pipelines.tensors import MESH_COUNT

F64 = npt.NDArray[np.float64]

#: The landmarks that lie where the 68 of iBUG 300-W do: chin line, brows, nose, eyes, outer and inner lips.
#: "Right" in their order is the subject's right, which a picture shows on its left.
IBUG_68: Final = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107),
    *(336, 296, 334, 293, 300),
    *(168, 6, 195, 4),
    *(98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
_EYES: Final = (slice(36, 42), slice(42, 48))
_EYE_CORNERS: Final = ((36, 39), (42, 45))
_NOSE_TIP: Final = 30
_MOUTH_CORNERS: Final = (48, 54)


@dataclass(frozen=True)
class FacePoints:
    """A face's landmarks [478, 2] in pixels of an image, and what aligners make of them."""

    landmarks: F64

    @property
    def ibug(self) -> F64:
        """[68, 2]."""
        return self.landmarks[list(IBUG_68)]

    @property
    def eyes(self) -> F64:
        """Middles of the lids' landmarks [2, 2], the one on the picture's left first."""
        ibug = self.ibug
        return np.stack([ibug[eye].mean(axis=0) for eye in _EYES])

    @property
    def five(self) -> F64:
        """Eyes, nose tip, corners of the mouth [5, 2], each pair from the picture's left."""
        ibug = self.ibug
        return np.stack([*self.eyes, ibug[_NOSE_TIP], *(ibug[corner] for corner in _MOUTH_CORNERS)])

    @property
    def five_by_corners(self) -> F64:
        """The same five, an eye being the middle of its two corners."""
        five, ibug = self.five, self.ibug
        five[:2] = [ibug[list(corners)].mean(axis=0) for corners in _EYE_CORNERS]
        return five

    @property
    def ibug_box(self) -> tuple[F64, F64]:
        """Least and largest x, y of the 68."""
        ibug = self.ibug
        return ibug.min(axis=0), ibug.max(axis=0)

    @property
    def mesh_box(self) -> tuple[F64, F64]:
        """Least and largest x, y of the face's mesh, from hairline to chin."""
        mesh = self.landmarks[:MESH_COUNT]
        return mesh.min(axis=0), mesh.max(axis=0)
