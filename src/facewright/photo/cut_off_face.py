"""Where no face is found: whether one seems to be cut off by an edge of the photo, so that it can be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from facewright.photo.face_detection import FaceDetection, faces_in_square
from facewright.photo.face_extent import EDGES
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.landmark_crop import sample_view, view_from_box, view_from_landmarks
from facewright.pipelines.tensors import MESH_COUNT

F64 = npt.NDArray[np.float64]

# What the detector is asked for, and the landmark network: a face that is cut off is seen less surely.
_LEAST_SCORE: Final = 0.3
_LEAST_PROBABILITY: Final = 0.5
# The detector sees what fills the photo better with room around it, so many times the longer side.
_ROOM: Final = (1.0, 1.5, 2.0)
# Of the face's longer side: what comes nearer to an edge is cut off by it.
_NEAR: Final = 0.02
# Of the face's width: how near to the edge the middle of a mirrored half lies.
_MIDDLE: Final = 0.15


@dataclass(frozen=True, eq=False)
class _Part:
    """What resembles a face: how surely, and the edges that it reaches."""

    score: float
    edges: tuple[str, ...]


def edges_that_cut(picture: Image.Image, networks: FaceNetworks) -> tuple[str, ...]:
    """The edges at which a face seems to be cut off; none where nothing resembles one.

    Half a face becomes a whole one beside its mirror image; other parts are seen with room around them.

    Args:
        picture: upright sRGB, the whole photo.
        networks: detector and landmark network.
    """
    parts = [
        _Part(detection.score, _edges(box, picture.size))
        for room in _ROOM
        for detection in faces_in_square(picture, room, _LEAST_SCORE, networks.detector)
        if (box := _confirmed_box(picture, detection, networks)) is not None
    ]
    mirrored = ImageOps.mirror(picture)
    width, height = picture.size
    for edge, halves in (("left", (mirrored, picture)), ("right", (picture, mirrored))):
        both = Image.new("RGB", (2 * width, height))
        for place, half in enumerate(halves):
            both.paste(half, (place * width, 0))
        strip = both.crop((width - min(width, height), 0, width + min(width, height), height))
        for detection in faces_in_square(strip, 1.0, _LEAST_SCORE, networks.detector):
            box = _confirmed_box(strip, detection, networks)
            if box is not None and abs(box[:, 0].mean() - strip.width / 2) < _MIDDLE * np.ptp(box[:, 0]):
                parts.append(_Part(detection.score, (edge,)))
    cut = [part for part in parts if part.edges]
    return max(cut, key=lambda part: part.score).edges if cut else ()


def _confirmed_box(picture: Image.Image, detection: FaceDetection, networks: FaceNetworks) -> F64 | None:
    """Corners ``[2, 2]`` of the box around the landmarks of the skin."""
    view = view_from_box(detection.box, detection.eyes)
    for _ in range(2):
        to_picture = view.to_image()
        landmarks, score = networks.landmarks_fast(sample_view(picture, to_picture))
        placed = landmarks[:, :2] @ to_picture[:2, :2].T + to_picture[:2, 2]
        view = view_from_landmarks(placed)
    if score < _LEAST_PROBABILITY:
        return None
    mesh = placed[:MESH_COUNT]
    return np.stack([mesh.min(axis=0), mesh.max(axis=0)])


def _edges(box: F64, size: tuple[int, int]) -> tuple[str, ...]:
    near = _NEAR * float(np.ptp(box, axis=0).max())
    room = (*box[0], *(np.array(size) - box[1]))
    return tuple(edge for edge, left in zip(EDGES, room, strict=True) if left < near)
