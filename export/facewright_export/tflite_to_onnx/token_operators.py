"""Writes the operators of a network without images as ONNX nodes: every tensor keeps its stored layout.

An MLP mixer (Tolstikhin et al. 2021) keeps its tokens in tensors of four dimensions, [1, 1, tokens,
channels]; its convolutions are 1 x 1. The batch (dimension 0) becomes dynamic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from facewright_export.tflite_to_onnx.builtin_operators import Writer
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import TfliteGraph, TfliteOperator


def _constant(source: TfliteGraph, operator: TfliteOperator, position: int) -> npt.NDArray[Any]:
    value = source.tensors[operator.inputs[position]].value
    if value is None:
        raise ValueError(f"{operator.kind}: input {position} must be a constant")
    return value


def _linear(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    weight = _constant(source, operator, 1)  # [out, 1, 1, in]
    if weight.shape[1:3] != (1, 1):
        raise ValueError(f"{operator.kind}: kernel {weight.shape[1:3]} among tokens; only 1 x 1 is supported")
    product = graph.add("MatMul", inputs[0], graph.constant(weight[:, 0, 0].T))
    value = graph.add("Add", product, graph.constant(_constant(source, operator, 2)))
    activation = operator.options["FusedActivationFunction"]
    if activation == tflite.ActivationFunctionType.NONE:
        return value
    if activation == tflite.ActivationFunctionType.RELU:
        return graph.add("Relu", value)
    raise ValueError(f"{operator.kind}: fused activation {activation} is not supported")


def _elementwise(op_type: str) -> Writer:
    def write(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
        if operator.options.get("FusedActivationFunction", 0) != tflite.ActivationFunctionType.NONE:
            raise ValueError(f"{operator.kind}: a fused activation is not supported")
        return graph.add(op_type, *inputs)

    return write


def _reduction(op_type: str) -> Writer:
    def write(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
        axis = int(_constant(source, operator, 1).reshape(-1)[0])
        if op_type == "ReduceSum":  # its axes became an input earlier than the others'
            return graph.add(op_type, inputs[0], graph.constant([axis], np.int64), keepdims=1)
        return graph.add(op_type, inputs[0], axes=[axis], keepdims=1)

    return write


def _squared_difference(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    difference = graph.add("Sub", *inputs)
    return graph.add("Mul", difference, difference)


def _inverse_root(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    return graph.add("Reciprocal", graph.add("Sqrt", inputs[0]))


def _transpose(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    return graph.add("Transpose", inputs[0], perm=[int(axis) for axis in _constant(source, operator, 1)])


def _reshape(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    return graph.reshape(inputs[0], (-1, *source.tensors[operator.outputs[0]].shape[1:]))


def _prepend(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    """A learnt token [1, 1, 1, C] before the others, once for each of the batch."""
    token = _constant(source, operator, 0)
    batch = graph.slice(graph.add("Shape", inputs[1]), 0, 0, 1)
    shape = graph.add("Concat", batch, graph.constant(token.shape[1:], np.int64), axis=0)
    each = graph.add("Expand", graph.constant(token), shape)
    return graph.add("Concat", each, inputs[1], axis=operator.options["Axis"])


def _leading(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    """Slices that keep the first of some dimensions; a batch that would fall away stays."""
    before = source.tensors[operator.inputs[0]].shape
    after = source.tensors[operator.outputs[0]].shape
    if np.any(_constant(source, operator, 1)) or len(after) not in (len(before), len(before) - 1):
        raise ValueError(f"{operator.kind} from {before} to {after} is not supported")
    value = inputs[0]
    for axis, (size, kept) in enumerate(zip(before[1:], after[-len(before) + 1 :], strict=True), start=1):
        if kept != size:
            value = graph.slice(value, axis, 0, kept)
    return value


TOKEN_WRITERS: dict[str, Writer] = {
    "ADD": _elementwise("Add"),
    "CONCATENATION": _prepend,
    "CONV_2D": _linear,
    "DIV": _elementwise("Div"),
    "LOGISTIC": _elementwise("Sigmoid"),
    "MEAN": _reduction("ReduceMean"),
    "MUL": _elementwise("Mul"),
    "NEG": _elementwise("Neg"),
    "RESHAPE": _reshape,
    "RSQRT": _inverse_root,
    "SQRT": _elementwise("Sqrt"),
    "SQUARED_DIFFERENCE": _squared_difference,
    "STRIDED_SLICE": _leading,
    "SUB": _elementwise("Sub"),
    "SUM": _reduction("ReduceSum"),
    "TRANSPOSE": _transpose,
}
