"""Runs the mediapipe networks on the LiteRT runtime, for parity tests.

LiteRT lacks mediapipe's custom operators, so the attention network is run in pieces: the flatbuffer is
patched in place so that a piece becomes the whole graph, and the custom operators between the pieces are
computed here in float64, straight from their definition.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from facewright_export.tflite_to_onnx.tflite_graph import read_tflite

Array = npt.NDArray[Any]


def run_network(model: bytes, image: Array) -> list[Array]:
    """All outputs of a network without custom operators of mediapipe's, in its own order."""
    interpreter = _interpreter(model)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def _interpreter(model: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter  # an optional dependency: the parity extra

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def run_piece(model: bytes, piece: tuple[str, list[str]], image: Array) -> list[Array]:
    """Run the operators between one tensor and some others.

    Args:
        model: the ``.tflite`` file.
        piece: names of the input tensor and of the output tensors (at most as many as the model has).
        image: value of the input, float32.
    """
    graph = read_tflite(model)
    root = tflite.Model.GetRootAs(model, 0)
    operators = [root.Subgraphs(0).Operators(i) for i in range(root.Subgraphs(0).OperatorsLength())]
    source, targets = graph.named(piece[0]), [graph.named(name) for name in piece[1]]
    producer = {int(o): i for i, op in enumerate(operators) for o in op.OutputsAsNumpy()}
    needed: set[int] = set()
    todo = list(targets)
    while todo:
        tensor = todo.pop()
        if tensor != source and tensor in producer and producer[tensor] not in needed:
            needed.add(producer[tensor])
            todo += [int(i) for i in operators[producer[tensor]].InputsAsNumpy()]
    patched = _patch(model, sorted(needed), [source], targets)
    interpreter = _interpreter(patched)
    interpreter.set_tensor(source, image)
    interpreter.invoke()
    return [interpreter.get_tensor(t) for t in targets]


def _patch(model: bytes, operators: list[int], inputs: list[int], outputs: list[int]) -> bytes:
    patched = bytearray(model)
    subgraph = tflite.Model.GetRootAs(model, 0).Subgraphs(0)._tab
    # Fields of SubGraph in the schema: 1 inputs, 2 outputs, 3 operators; vtable slots start at 4.
    for field, values in ((1, inputs), (2, outputs)):
        start = subgraph.Vector(subgraph.Offset(4 + 2 * field))
        assert len(values) <= struct.unpack_from("<I", model, start - 4)[0]
        struct.pack_into("<I", patched, start - 4, len(values))
        struct.pack_into(f"<{len(values)}i", patched, start, *values)
    start = subgraph.Vector(subgraph.Offset(4 + 2 * 3))
    targets = [start + 4 * i + struct.unpack_from("<I", model, start + 4 * i)[0] for i in operators]
    struct.pack_into("<I", patched, start - 4, len(targets))
    for slot, target in enumerate(targets):  # offsets count from their own position
        struct.pack_into("<I", patched, start + 4 * slot, target - (start + 4 * slot))
    return bytes(patched)


def attention_reference(model: bytes, image: Array) -> dict[str, Array]:
    """All outputs of the attention network for one ``[1, 192, 192, 3]`` image in 0–1, by their name in the
    file.
    """
    mesh, features, flag = run_piece(model, ("input_1", ["output_mesh", "p_re_lu_3", "conv_faceflag"]), image)
    result = {"output_mesh_identity": mesh.reshape(468, 3), "conv_faceflag": flag.reshape(1)}
    custom = [op for op in read_tflite(model).operators if op.kind == "Landmarks2TransformMatrix"]
    regions = (
        ("transform_tensor_bilinear_v2", {"conv_lips": "output_lips"}),
        (
            "transform_tensor_bilinear_v2_1",
            {"conv_left_eye": "output_left_eye", "conv_left_iris": "output_left_iris"},
        ),
        (
            "transform_tensor_bilinear_v2_2",
            {"conv_right_eye": "output_right_eye", "conv_right_iris": "output_right_iris"},
        ),
    )
    for operator, (entry, names) in zip(custom, regions, strict=True):
        matrix = _window_matrix(operator.options, mesh.reshape(468, 3).astype(np.float64) * 0.25)
        window = _sample_window(features[0].astype(np.float64), matrix).astype(np.float32)
        refined = run_piece(model, (entry, list(names)), window[None])
        for name, points in zip(names.values(), refined, strict=True):
            # The network's points live in a window of 64 pixels, four for each pixel of the feature map.
            result[name] = points.reshape(-1, 2) @ matrix[:2, :2].T + 4 * matrix[:2, 2]
    return result


def merged_landmarks(model: bytes, reference: dict[str, Array]) -> Array:
    """``[478, 3]`` landmarks from `attention_reference`, merged as mediapipe's graph does."""
    subsets = [
        op.options["subset_idxs"]
        for op in read_tflite(model).operators
        if op.kind == "Landmarks2TransformMatrix"
    ]
    merged = np.zeros((478, 3))
    merged[:468] = reference["output_mesh_identity"]
    for name, subset in zip(("lips", "left_eye", "right_eye"), subsets, strict=True):
        merged[subset, :2] = reference[f"output_{name}"]
    for start, name, lids in ((468, "left", subsets[1][:16]), (473, "right", subsets[2][:16])):
        merged[start : start + 5, :2] = reference[f"output_{name}_iris"]
        merged[start : start + 5, 2] = merged[lids, 2].mean()
    return merged


def _window_matrix(options: dict[str, Any], landmarks: Array) -> Array:
    """Window pixels → feature-map pixels, ``[3, 3]``."""
    left, right = landmarks[options["left_rotation_idx"], :2], landmarks[options["right_rotation_idx"], :2]
    angle = np.arctan2(*(right - left)[::-1])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = landmarks[options["subset_idxs"], :2] @ rotation
    low, high = upright.min(axis=0), upright.max(axis=0)
    size = np.array([options["output_width"], options["output_height"]])
    linear = rotation @ np.diag(np.array([options["scale_x"], options["scale_y"]]) * (high - low) / size)
    centre = rotation @ ((low + high) / 2)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = linear, centre - linear @ (size / 2)
    return matrix


def _sample_window(features: Array, matrix: Array) -> Array:
    """``[16, 16, C]`` bilinear samples of ``features [H, W, C]`` at the window's pixel centres, zero
    outside.
    """
    height, width, channels = features.shape
    window = np.zeros((16, 16, channels))
    padded = np.pad(features, ((0, 1), (0, 1), (0, 0)))
    for row in range(16):
        for column in range(16):
            x, y = matrix[:2, :2] @ (column + 0.5, row + 0.5) + matrix[:2, 2] - 0.5
            if 0 <= x <= width - 1 and 0 <= y <= height - 1:
                j, i = int(x), int(y)
                a, b = x - j, y - i
                window[row, column] = (1 - b) * ((1 - a) * padded[i, j] + a * padded[i, j + 1]) + b * (
                    (1 - a) * padded[i + 1, j] + a * padded[i + 1, j + 1]
                )
    return window
