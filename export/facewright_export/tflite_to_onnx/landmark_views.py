"""Averages the landmark network over shifted and mirrored views of one input, inside the graph."""

from __future__ import annotations

from typing import Final

import numpy as np

from facewright.pipelines import tensors
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client import contract
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph

_SIZE = tensors.LANDMARK_INPUT_SIZE
_SHIFT = 3  # pixels: away from the grid of the network's strides, near enough to lose nothing at the border
_PADDED = _SIZE + 2 * _SHIFT
#: x and y shift in pixels, and whether the shifted view is mirrored. Mirroring the input only permutes these
#: views, so the mean mirrors exactly.
VIEWS: Final = (
    (_SHIFT, _SHIFT, False),
    (-_SHIFT, -_SHIFT, False),
    (-_SHIFT, _SHIFT, True),
    (_SHIFT, -_SHIFT, True),
)
# The landmarks on the face's midline. The others are numbered so that the k-th of the subject's right side
# (below 248) is the partner of the k-th of the left side (from 248).
_MIDLINE = (
    *(0, 1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19),
    *(94, 151, 152, 164, 168, 175, 195, 197, 199, 200),
)
_FIRST_LEFT = 248
# Centre, then the rim's points towards the image's right, top, left and bottom, of the right and the left
# iris.
_IRIS_PARTNERS = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)


def mirror_partners() -> list[int]:
    """For each of the 478 landmarks, the one at its place in the mirrored face."""
    right = [i for i in range(_FIRST_LEFT) if i not in _MIDLINE]
    partner = {i: i for i in _MIDLINE}
    for one, other in zip(right, range(_FIRST_LEFT, MESH_COUNT), strict=True):
        partner[one], partner[other] = other, one
    return [partner[i] for i in range(MESH_COUNT)] + list(_IRIS_PARTNERS)


def write_views(graph: OnnxGraph, image: str) -> list[str]:
    """The `VIEWS` of ``image [B, 3, 192, 192]``; beyond its border the border is repeated."""
    padded = graph.add("Pad", image, graph.constant([0, 0, *[_SHIFT] * 2] * 2, np.int64), mode="edge")
    views = []
    for shift_x, shift_y, mirrored in VIEWS:
        top, left = _SHIFT + shift_y, _SHIFT + shift_x
        if mirrored:  # columns from right to left
            begin, end, step = [top, left + _SIZE - 1], [top + _SIZE, left - 1 - _PADDED], [1, -1]
        else:
            begin, end, step = [top, left], [top + _SIZE, left + _SIZE], [1, 1]
        bounds = [graph.constant(numbers, np.int64) for numbers in (begin, end, [2, 3], step)]
        views.append(graph.add("Slice", padded, *bounds))
    return views


def write_mean(graph: OnnxGraph, landmarks: str, score: str) -> None:
    """Bring each view's landmarks back to the input's pixels and write the means as the network's outputs.

    Args:
        landmarks: ``[4 B, 478, 3]``, view by view.
        score: ``[4 B, 1]``.
    """
    stacked = graph.reshape(landmarks, (len(VIEWS), -1, contract.LANDMARKS_COUNT, 3))
    partners = graph.constant(mirror_partners(), np.int64)
    placed = []
    for k, (shift_x, shift_y, mirrored) in enumerate(VIEWS):
        view = graph.slice(stacked, 0, k, k + 1)
        if mirrored:
            view = graph.add("Gather", view, partners, axis=2)
            view = graph.add("Mul", view, graph.constant([-1, 1, 1]))
        corner = [shift_x + (_SIZE if mirrored else 0), shift_y, 0]
        placed.append(graph.add("Add", view, graph.constant(corner)))
    together = graph.add("Concat", *placed, axis=0)
    graph.add("ReduceMean", together, axes=[0], keepdims=0, output=tensors.NETWORK_LANDMARKS.name)
    scores = graph.reshape(score, (len(VIEWS), -1, 1))
    graph.add("ReduceMean", scores, axes=[0], keepdims=0, output=tensors.FACE_SCORE.name)
