"""Where the crop shows the person: what the network says, and the face in any case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from facewright.photo.face_crop import OPAQUE, FaceCrop
from facewright.photo.face_networks import FaceNetworks
from facewright.pipelines.tensors import MESH_COUNT, PERSON_MASK

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

_SIZE = PERSON_MASK.shape[0]
#: Below this share of the face the network has missed the person. Of 494 photos one had less (0.03), the next
#: 0.95; of 24 crops that cut into the face, three.
LEAST_AGREEMENT = 0.5


@dataclass(frozen=True)
class FoundPerson:
    """PERSON_MASK.

    Attributes:
        mask: u8 ``[256, 256]``, probability x 255 over FACE_CROP.
        agreement: share 0-1 of the face that the network took for a person by itself.
    """

    mask: U8
    agreement: float

    def warnings(self) -> list[str]:
        """Sentences for the report."""
        if self.agreement >= LEAST_AGREEMENT:
            return []
        return [
            "The person could not be told from the background "
            f"({100 * self.agreement:.0f} % of the face could): the outline of the hair is guessed."
        ]


def find_person(crop: FaceCrop, landmarks: F64, networks: FaceNetworks) -> FoundPerson:
    """Ask the network, and add the face, which is a person by definition; what is transparent is none.

    The network knows photos of people with hair, shoulders and a background. Where the photo ends, repeated
    border pixels are none of that: crops at the face's edge less 5 % had 0.80 of their faces taken for a
    person, with the photo mirrored at its border 0.998 (48 portraits). Cut off by 12 % it is 0.31 and 0.92
    (24), and the face itself does the rest.

    Args:
        crop: FACE_CROP.
        landmarks: of the face, ``[478, 2]``, crop pixels.
        networks: the person mask among them.
    """
    cell = len(crop.image) // _SIZE
    small = np.asarray(Image.fromarray(crop.image).reduce(cell))
    x0, y0 = (-(-edge // cell) for edge in crop.valid_box[:2])
    x1, y1 = (edge // cell for edge in crop.valid_box[2:])
    if x1 - x0 > 1 and y1 - y0 > 1:
        small = np.pad(small[y0:y1, x0:x1], ((y0, _SIZE - y1), (x0, _SIZE - x1), (0, 0)), mode="reflect")
    mask = networks.person_mask(small)
    face = _face_area(landmarks / cell)
    seen = face.copy()
    seen[:, :x0] = seen[:, x1:] = seen[:y0] = seen[y1:] = False
    opacity = None if crop.opacity is None else np.asarray(Image.fromarray(crop.opacity).reduce(cell))
    if opacity is not None:
        seen &= opacity >= OPAQUE
    agreement = float(mask[seen].mean()) / 255 if seen.any() else 0.0
    mask[face] = 255
    if opacity is not None:
        mask = np.minimum(mask, opacity)
    return FoundPerson(mask, agreement)


def _face_area(points: F64) -> npt.NDArray[np.bool_]:
    """The convex hull of the face's landmarks, cells of the mask."""
    mesh = points[:MESH_COUNT]
    hull = mesh[ConvexHull(mesh).vertices]
    area = Image.new("L", (_SIZE, _SIZE))
    ImageDraw.Draw(area).polygon([(x, y) for x, y in hull - 0.5], fill=255)
    return np.array(area) > 0
