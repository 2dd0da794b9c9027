"""Writes mediapipe's custom operators of the attention mesh network as ONNX nodes.

The network finds a coarse mesh, cuts a rotated 16 × 16 window around the lips and around each eye out of a
feature map, and refines the landmarks of each window. Paper: Grishchenko et al., "Attention Mesh:
High-fidelity Face Mesh Prediction in Real-time", 2020. All transforms are ``[B, 4, 4]`` matrices of column
vectors.
"""

from __future__ import annotations

import numpy as np

from facewright_export.tflite_to_onnx.builtin_operators import Writer
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import TfliteGraph, TfliteOperator


def _landmarks_to_transform(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    """Landmarks ``[B, n, 3]`` → the transform ``[B, 4, 4]`` from window pixels to feature-map pixels.

    The window is the bounding box of a subset of the landmarks in the frame where the line from the left to
    the right landmark is horizontal, enlarged by ``scale``.
    """
    options = operator.options
    if options["target_rotation_radians"] != 0:
        raise ValueError(
            f"target_rotation_radians = {options['target_rotation_radians']}; only 0 is supported"
        )
    width, height = options["output_width"], options["output_height"]
    xy = graph.slice(inputs[0], 2, 0, 2)  # [B, n, 2]
    line = [graph.add("Gather", xy, graph.constant(options[key], np.int64), axis=1) for key in _ROTATION_ENDS]
    direction = graph.add("Sub", line[1], line[0])  # [B, 2]
    unit = graph.add("Div", direction, graph.add("ReduceL2", direction, axes=[1], keepdims=1))
    # The cosine and sine of the line's angle are its unit vector: no arc tangent is needed.
    rotation = graph.reshape(
        graph.add("MatMul", unit, graph.constant([[1, 0, 0, 1], [0, -1, 1, 0]])), (-1, 2, 2)
    )  # [[c, -s], [s, c]]
    points = graph.add("Gather", xy, graph.constant(options["subset_idxs"], np.int64), axis=1)
    upright = graph.add("MatMul", points, rotation)  # row vectors: the inverse rotation
    high = graph.add("ReduceMax", upright, axes=[1], keepdims=1)  # [B, 1, 2]
    low = graph.add("ReduceMin", upright, axes=[1], keepdims=1)
    pixel = graph.add(
        "Mul",
        graph.add("Sub", high, low),
        graph.constant([[[options["scale_x"] / width, options["scale_y"] / height]]]),
    )
    linear = graph.add("Mul", rotation, pixel)  # [B, 2, 2]
    middle = graph.add("Mul", graph.add("Add", high, low), graph.constant(0.5))
    centre = graph.add("MatMul", rotation, graph.add("Transpose", middle, perm=[0, 2, 1]))  # [B, 2, 1]
    half = graph.add("MatMul", linear, graph.constant([[width / 2], [height / 2]]))
    affine = graph.add("Concat", linear, graph.add("Sub", centre, half), axis=2)  # [B, 2, 3]
    rows = graph.add(
        "MatMul", affine, graph.constant([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    )  # [B, 2, 4]
    full = graph.add("MatMul", graph.constant(np.eye(4, 2)), rows)
    return graph.add("Add", full, graph.constant(np.diag([0, 0, 1, 1])))


_ROTATION_ENDS = ("left_rotation_idx", "right_rotation_idx")


def _apply_transform(graph: OnnxGraph, points: str, transform: str) -> str:
    """``[B | 1, n, 2]`` points through a ``[B, 4, 4]`` transform → ``[B, n, 2]``."""
    rows = graph.slice(transform, 1, 0, 2)
    linear = graph.add("Transpose", graph.slice(rows, 2, 0, 2), perm=[0, 2, 1])
    shift = graph.add("Transpose", graph.slice(rows, 2, 3, 4), perm=[0, 2, 1])
    return graph.add("Add", graph.add("MatMul", points, linear), shift)


def _transform_tensor(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    """Bilinear samples of a feature map at the window's pixel centres; zero where the centre lies outside."""
    _, map_height, map_width, _ = source.tensors[operator.inputs[0]].shape
    _, height, width, _ = source.tensors[operator.outputs[0]].shape
    rows, columns = np.mgrid[:height, :width]
    centres = np.stack([columns, rows], axis=-1).reshape(1, -1, 2) + 0.5
    position = _apply_transform(graph, graph.constant(centres), inputs[1])
    # Pixel centres at +0.5 → GridSample's corner-aligned [-1, 1].
    step = 2 / (np.array([map_width, map_height]) - 1.0)
    grid = graph.add(
        "Add", graph.add("Mul", position, graph.constant(step)), graph.constant(-0.5 * step - 1.0)
    )
    sampled = graph.add(
        "GridSample",
        inputs[0],
        graph.reshape(grid, (-1, height, width, 2)),
        align_corners=1,
        padding_mode="zeros",
    )
    # GridSample fades over the pixel beyond the border; mediapipe cuts off sharply.
    reach = graph.add("ReduceMax", graph.add("Abs", grid), axes=[2], keepdims=0)
    inside = graph.add("Cast", graph.add("LessOrEqual", reach, graph.constant(1.0)), to=1)
    return graph.add("Mul", sampled, graph.reshape(inside, (-1, 1, height, width)))


def _transform_landmarks(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    return _apply_transform(graph, inputs[0], inputs[1])


ATTENTION_WRITERS: dict[str, Writer] = {
    "Landmarks2TransformMatrix": _landmarks_to_transform,
    "TransformLandmarks": _transform_landmarks,
    "TransformTensorBilinear": _transform_tensor,
}
