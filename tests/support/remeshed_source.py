"""The open head with other vertices, frame, unit and texture coordinates, as a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.landmarks import open_landmarks
from facewright_export.head_correspondence.source_head import SourceHead, UvLayout
from facewright_export.head_correspondence.surface import Surface
from facewright_export.remeshed_head import RemeshedHead, remeshed_head

FloatArray = npt.NDArray[np.float64]

METRES_PER_UNIT: Final = 0.0254
_SHIFT: Final = np.array([3.0, -8.0, 20.0])
#: A rotation of nothing in particular.
_AXES: Final = np.array([[0.48, -0.6, 0.64], [0.8, 0.6, 0.0], [-0.36, 0.48, 0.8]]) @ np.array(
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
)
ROTATION: Final = np.linalg.qr(_AXES)[0] * np.sign(np.linalg.det(np.linalg.qr(_AXES)[0]))


@dataclass(frozen=True, eq=False)
class RemeshedSource:
    """A source whose true correspondence is known.

    Attributes:
        remeshed: how it lies on the open head.
        head: what a correspondence is built from; its expressions are ARKit's.
    """

    remeshed: RemeshedHead
    head: SourceHead

    def of(self, vertices: npt.NDArray[np.floating]) -> FloatArray:
        """The source's vertices [N, 3], its unit and frame, of the open head's [V, 3]."""
        return in_source_frame(self.remeshed.of(vertices))


def in_source_frame(points: FloatArray) -> FloatArray:
    """Points [N, 3] of head space as the source has them."""
    return points @ ROTATION.T / METRES_PER_UNIT + _SHIFT


def source_to_camera(head_to_camera: npt.NDArray[np.floating]) -> FloatArray:
    """``SOURCE_TO_CAMERA`` [3, 4] where the open head is seen by ``head_to_camera`` [3, 4]."""
    turn = head_to_camera[:, :3] @ ROTATION.T * METRES_PER_UNIT
    return np.concatenate([turn, (head_to_camera[:, 3] - turn @ _SHIFT)[:, None]], axis=1)


def seen_uv(vertices: FloatArray) -> FloatArray:
    """Other texture coordinates [N, 2] than the open head's: as the face is seen from the front."""
    return np.stack([0.5 + 3 * vertices[:, 0], 0.5 - 3 * vertices[:, 1]], axis=1)


def remeshed_source(head: HeadModel, count: int = 5000, mask: bool = False) -> RemeshedSource:
    """The source of an open head."""
    remeshed = remeshed_head(head, count, mask)
    vertices = remeshed.of(head.vertices_mean)
    places = open_landmarks(head).of(head.vertices_mean.astype(np.float64))
    landmarks = Surface(vertices, remeshed.triangles).closest(places, np.zeros_like(places), -1.0)[0]
    expressions = np.stack(
        [remeshed.of(shape) @ ROTATION.T / METRES_PER_UNIT for shape in head.expression_basis]
    )
    return RemeshedSource(
        remeshed,
        SourceHead(
            "double",
            in_source_frame(vertices),
            remeshed.triangles,
            landmarks,
            ("double.obj 0000",),
            None,
            expressions,
            UvLayout(seen_uv(vertices), remeshed.triangles),
        ),
    )
