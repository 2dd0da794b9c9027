"""The network ``face_shape`` as ONNX: landmarks in, priors of the person's shape and expression out.

``NETWORK_LANDMARKS [B, 478, 3]`` → ``IDENTITY_PRIOR [B, 160, 2]`` and ``EXPRESSION_PRIOR [B, 52, 2]`` (mean
and standard deviation of each coefficient) and ``SHAPE_DISTANCE [B, 1]`` (how far the form of these landmarks
lies from those of training, 1 being as far as one in a thousand of these). ``LANDMARK_BIAS [B, 468, 2]``:
what the landmark network is off on average at this pose, pixels: found minus true.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx

from facewright.pipelines.tensors import MESH_COUNT
from facewright_client.contract import EXPRESSION_SIZE, IDENTITY_SIZE, LANDMARKS_COUNT
from facewright_export.face_shape.landmark_bias import FARTHEST_ASIDE, FARTHEST_UP
from facewright_export.face_shape.landmark_shapes import TO_HEAD_AXES
from facewright_export.face_shape.weights import FaceShapeWeights
from facewright_export.tflite_to_onnx.face_networks import write_face_blendshapes
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph

FloatArray = npt.NDArray[np.float64]

#: Newton and Schulz's iterations to the rotation: the flattest direction of a face's landmarks has a tenth of
#: the widest's singular value, which grows by half each time and then converges quadratically.
ROTATION_STEPS: Final = 14
_LICENCE: Final = {"licence": "Apache-2.0", "source": "MediaPipe Blendshape V2; trained on rendered people"}


def face_shape_network(weights: FaceShapeWeights, blendshapes: bytes) -> onnx.ModelProto:
    """The network of trained ``weights`` around ``face_blendshapes.tflite``."""
    graph = OnnxGraph()
    scores = write_face_blendshapes(graph, blendshapes)
    shape, rotation, scale = _landmark_shape(graph, weights.reference)
    _bias(graph, weights.landmark_bias, rotation, scale)
    centred = graph.add("Sub", shape, graph.constant(weights.mean_shape))
    features = graph.add("Concat", centred, scores, axis=1)

    own = weights.identity_bias - weights.identity_common
    identity = _linear(graph, features, weights.identity_weights, own)
    apart = _linear(graph, centred, weights.distance_axes, np.zeros(weights.distance_axes.shape[1]))
    squares = graph.add("ReduceMean", graph.add("Mul", apart, apart), axes=[1], keepdims=1)
    distance = graph.add("Sqrt", squares, output="SHAPE_DISTANCE")
    # beyond training the regression extrapolates: it is drawn back to the mean by as much
    share = graph.add("Reciprocal", graph.add("Max", distance, graph.constant(1.0)))
    _prior(graph, graph.add("Mul", identity, share), weights.identity_sigma, IDENTITY_SIZE, "IDENTITY_PRIOR")

    value = _linear(graph, features, weights.expression_axes, weights.expression_offset)
    for layer, bias in weights.expression_layers[:-1]:
        value = graph.add("Relu", _linear(graph, value, layer, bias))
    value = _linear(graph, value, *weights.expression_layers[-1])
    raised = graph.add("Mul", value, graph.constant(weights.expression_gain))
    raised = graph.add("Sub", raised, graph.constant(weights.expression_dead))
    mean = graph.add("Clip", raised, graph.constant(0.0), graph.constant(1.0))
    _prior(graph, mean, weights.expression_sigma, EXPRESSION_SIZE, "EXPRESSION_PRIOR")
    return graph.model(
        "face_shape",
        {"NETWORK_LANDMARKS": (LANDMARKS_COUNT, 3)},
        {
            "IDENTITY_PRIOR": (IDENTITY_SIZE, 2),
            "EXPRESSION_PRIOR": (EXPRESSION_SIZE, 2),
            "SHAPE_DISTANCE": (1,),
            "LANDMARK_BIAS": (MESH_COUNT, 2),
        },
        _LICENCE,
    )


def _landmark_shape(graph: OnnxGraph, reference: FloatArray) -> tuple[str, str, str]:
    """`landmark_shapes` without a singular value decomposition: the shapes ``[B, 1404]``, the rotations onto
    the reference ``[B, 3, 3]`` and the millimetres of a pixel ``[B, 1, 1]``."""
    mesh = graph.add("Mul", graph.slice("NETWORK_LANDMARKS", 1, 0, MESH_COUNT), graph.constant(TO_HEAD_AXES))
    centred = graph.add("Sub", mesh, graph.add("ReduceMean", mesh, axes=[1], keepdims=1))
    moment = graph.add("MatMul", graph.constant(reference.T), centred)  # [B, 3, 3]
    rotation = graph.add("Div", moment, _norm(graph, moment))
    for _ in range(ROTATION_STEPS):
        square = graph.add("MatMul", graph.add("Transpose", rotation, perm=[0, 2, 1]), rotation)
        correction = graph.add(
            "Sub", graph.constant(1.5 * np.eye(3)), graph.add("Mul", square, graph.constant(0.5))
        )
        rotation = graph.add("MatMul", rotation, correction)
    alike = graph.add("ReduceSum", graph.add("Mul", rotation, moment), _matrix_axes(graph), keepdims=1)
    length = _norm(graph, centred)
    scale = graph.add("Div", alike, graph.add("Mul", length, length))
    turned = graph.add("MatMul", centred, graph.add("Transpose", rotation, perm=[0, 2, 1]))
    return graph.reshape(graph.add("Mul", turned, scale), (-1, 3 * MESH_COUNT)), rotation, scale


def _bias(graph: OnnxGraph, by_term: FloatArray, rotation: str, scale: str) -> None:
    """LANDMARK_BIAS: what the landmarks are off at this pose (`pose_terms`), pixels."""
    to_reference = graph.slice(
        rotation, 1, 2, 3
    )  # its last row: the head's forward axis, as the camera sees it
    aside = _limited(graph, graph.slice(to_reference, 2, 0, 1), FARTHEST_ASIDE)
    down = graph.slice(to_reference, 2, 1, 2)
    up = _limited(graph, graph.add("Mul", down, graph.constant(TO_HEAD_AXES[1])), FARTHEST_UP)
    both = graph.add("Concat", aside, up, axis=1)
    squares, product = graph.add("Mul", both, both), graph.add("Mul", aside, up)
    one = graph.add("Add", graph.add("Mul", aside, graph.constant(0.0)), graph.constant(1.0))
    terms = graph.add("Concat", one, both, squares, product, axis=1)
    millimetres = graph.add("MatMul", terms, graph.constant(by_term.reshape(len(by_term), -1)))
    flat = graph.reshape(millimetres, (-1, MESH_COUNT, 2))
    graph.add("Div", flat, scale, output="LANDMARK_BIAS")


def _limited(graph: OnnxGraph, value: str, limit: float) -> str:
    """[B, 1], cut to plus or minus the limit."""
    return graph.reshape(graph.add("Clip", value, graph.constant(-limit), graph.constant(limit)), (-1, 1))


def _norm(graph: OnnxGraph, matrix: str) -> str:
    """Frobenius norms ``[B, 1, 1]``."""
    squares = graph.add("Mul", matrix, matrix)
    return graph.add("Sqrt", graph.add("ReduceSum", squares, _matrix_axes(graph), keepdims=1))


def _matrix_axes(graph: OnnxGraph) -> str:
    return graph.constant([1, 2], np.int64)


def _linear(graph: OnnxGraph, value: str, weight: FloatArray, bias: FloatArray) -> str:
    return graph.add("Add", graph.add("MatMul", value, graph.constant(weight)), graph.constant(bias))


def _prior(graph: OnnxGraph, mean: str, sigma: FloatArray, size: int, output: str) -> None:
    """Means ``[B, n]`` and their sigmas as ``[B, size, 2]``; coefficients behind them are N(0, 1)."""
    n = len(sigma)
    column = graph.reshape(mean, (-1, n, 1))
    nothing = graph.add("Mul", column, graph.constant(0.0))
    spread = graph.add("Add", nothing, graph.constant(sigma[:, None]))
    prior = graph.add("Concat", column, spread, axis=2)
    if n == size:
        graph.add("Identity", prior, output=output)
        return
    rest = graph.slice(prior, 1, 0, 1)
    rest = graph.add("Mul", rest, graph.constant(np.zeros((size - n, 2))))
    graph.add("Concat", prior, graph.add("Add", rest, graph.constant([0.0, 1.0])), axis=1, output=output)
