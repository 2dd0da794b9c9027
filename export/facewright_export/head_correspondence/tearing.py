"""Which vertices of a registered template move unlike their neighbours under the other head's shapes.

Where two lips touch, the closest point may lie on the wrong one.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.head_correspondence.surface import SurfacePoints

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: An edge is torn if the shapes, root of the sum of squares over all of them, move its ends apart by more
#: than this many lengths: 5.7 for one in 200 of ICT-FaceKit's own edges.
TORN: Final = 8.0


def torn_vertices(
    placed: FloatArray, triangles: IntArray, points: SurfacePoints, shapes: FloatArray
) -> npt.NDArray[np.bool_]:
    """bool [N]: the ends of torn edges.

    Args:
        placed: float64 [N, 3], the template's vertices on the other head.
        triangles: int64 [F, 3] among them.
        points: where they lie on it.
        shapes: float64 [K, M, 3], its displacements, 1 sigma or full weight each, in the unit of ``placed``.
    """
    moved = np.einsum("nk,snkc->nsc", points.weights, shapes[:, points.corners])
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    length = np.linalg.norm(placed[edges[:, 0]] - placed[edges[:, 1]], axis=1)
    apart = np.sqrt(((moved[edges[:, 0]] - moved[edges[:, 1]]) ** 2).sum(axis=(1, 2)))
    torn = np.zeros(len(placed), bool)
    torn[edges[apart > TORN * length]] = True
    return torn
