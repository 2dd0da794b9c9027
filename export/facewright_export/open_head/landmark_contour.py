"""The face oval's landmarks that slide on the silhouette, and the vertices each may slide over."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.open_head.regions import REGION_NAMES

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The network's face oval from the subject's left temple down around the chin to the right temple.
#: (FACEMESH_FACE_OVAL of the network's documentation, without the forehead, which is no silhouette.)
OVAL: Final = (
    *(251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    152,
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21),
)
CANDIDATES: Final = 32
#: How far candidates reach into the face, for the chin and for the temples, and out of the face, in metres.
INWARDS: Final = (0.030, 0.065)
OUTWARDS: Final = 0.027
#: A candidate lies this near to the plane through the landmark across the oval, in metres (the cheek's mesh
#: is coarse).
PLANE_DISTANCE: Final = 0.008
#: Candidates stay off ears, which would be taken for the silhouette, and off the neck.
_EXCLUDED: Final = {"ears": 0.02, "neck": 0.5, "scalp": 0.9, "mouth_inside": 0.5, "eyeballs": 0.5}


def contour_candidates(head: HeadModel, landmarks: FloatArray) -> IntArray:
    """Vertices [27, 32] over which the landmarks of ``OVAL`` slide; ``landmarks`` [478, 3] on the mean head.

    Candidates of a landmark follow the line across the oval, ordered from the face outwards; short lines
    repeat their last vertex.
    """
    mean = head.vertices_mean.astype(np.float64)
    allowed = np.zeros(head.vertex_count, bool)
    allowed[head.triangles[head.triangle_part == 0]] = True
    for name, limit in _EXCLUDED.items():
        allowed &= head.region(name) <= limit
    # outer skin belongs to some region; the lining of the eye sockets to none
    allowed &= (
        head.region_weights[[i for i, n in enumerate(REGION_NAMES) if n != "mouth_inside"]].max(axis=0) > 0
    )
    oval = landmarks[list(OVAL)]
    along = np.gradient(oval, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    # across the oval, within the surface: the face lies ahead of the ears, the neck below the chin
    centre = landmarks.mean(axis=0)
    result = np.zeros((len(OVAL), CANDIDATES), np.int64)
    for row, (point, tangent) in enumerate(zip(oval, along, strict=True)):
        offset = mean - point
        off_plane = np.abs(offset @ tangent)
        outwards = point - centre
        outwards = outwards - (outwards @ tangent) * tangent
        outwards /= np.linalg.norm(outwards)
        inwards = float(np.interp(abs(point[0]), (0.02, 0.06), INWARDS))
        reach = offset @ outwards
        distance = np.linalg.norm(offset, axis=1)
        near = allowed & (off_plane < PLANE_DISTANCE) & (distance < np.where(reach > 0, OUTWARDS, inwards))
        # one vertex for each step along the line: the one nearest to the plane
        along_line = np.sign(reach) * distance
        step = np.floor((along_line + inwards) / (inwards + OUTWARDS) * CANDIDATES).astype(np.int64)
        chosen = []
        for number in range(CANDIDATES):
            vertices = np.flatnonzero(near & (step == number))
            if len(vertices):
                chosen.append(int(vertices[np.round(off_plane[vertices], 9).argmin()]))
        if not chosen:
            raise ValueError(f"landmark {OVAL[row]} has no vertex to slide over")
        result[row] = np.pad(chosen, (0, CANDIDATES - len(chosen)), mode="edge")
    return result
