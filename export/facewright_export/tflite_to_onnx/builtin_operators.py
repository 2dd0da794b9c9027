"""Writes TensorFlow Lite's builtin operators as ONNX nodes, turning NHWC into NCHW on the way.

A tensor of four dimensions is an image: NHWC in the source, NCHW in the result. All others keep their layout.
The batch (dimension 0) becomes dynamic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import TfliteGraph, TfliteOperator

Array = npt.NDArray[Any]
#: Adds the nodes of one operator and returns the name of its output.
Writer = Callable[[OnnxGraph, TfliteGraph, TfliteOperator, list[str]], str]


def _require(operator: TfliteOperator, **expected: Any) -> None:
    for option, value in expected.items():
        if operator.options.get(option, value) != value:
            raise ValueError(
                f"{operator.kind}: {option} = {operator.options[option]}; only {value} is supported"
            )


def _constant(source: TfliteGraph, operator: TfliteOperator, position: int) -> Array:
    value = source.tensors[operator.inputs[position]].value
    if value is None:
        raise ValueError(f"{operator.kind}: input {position} must be a constant")
    return value


def _same_pads(shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]) -> list[int]:
    """Explicit padding for SAME: TensorFlow puts the odd pixel at the bottom and the right."""
    before, after = [], []
    for size, k, s in zip(shape[1:3], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def _window(source: TfliteGraph, operator: TfliteOperator, kernel: tuple[int, int]) -> dict[str, Any]:
    stride = (operator.options["StrideH"], operator.options["StrideW"])
    shape = source.tensors[operator.inputs[0]].shape
    pads = (
        _same_pads(shape, kernel, stride) if operator.options["Padding"] == tflite.Padding.SAME else [0] * 4
    )
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": pads}


def _activate(graph: OnnxGraph, operator: TfliteOperator, value: str) -> str:
    activation = operator.options.get("FusedActivationFunction", 0)
    if activation == tflite.ActivationFunctionType.NONE:
        return value
    if activation == tflite.ActivationFunctionType.RELU:
        return graph.add("Relu", value)
    raise ValueError(f"{operator.kind}: fused activation {activation} is not supported")


def _conv(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    _require(operator, DilationHFactor=1, DilationWFactor=1)
    weight = _constant(source, operator, 1).transpose(0, 3, 1, 2)  # OHWI -> OIHW
    window = _window(source, operator, (weight.shape[2], weight.shape[3]))
    bias = _constant(source, operator, 2)
    value = graph.add("Conv", inputs[0], graph.constant(weight), graph.constant(bias), **window)
    return _activate(graph, operator, value)


def _depthwise_conv(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    _require(operator, DilationHFactor=1, DilationWFactor=1, DepthMultiplier=1)
    weight = _constant(source, operator, 1).transpose(3, 0, 1, 2)  # 1HWC -> C1HW
    window = _window(source, operator, (weight.shape[2], weight.shape[3]))
    bias = _constant(source, operator, 2)
    value = graph.add(
        "Conv", inputs[0], graph.constant(weight), graph.constant(bias), group=int(weight.shape[0]), **window
    )
    return _activate(graph, operator, value)


def _max_pool(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    kernel = (operator.options["FilterHeight"], operator.options["FilterWidth"])
    value = graph.add("MaxPool", inputs[0], **_window(source, operator, kernel))
    return _activate(graph, operator, value)


def _average_pool(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    shape = source.tensors[operator.inputs[0]].shape
    _require(operator, FilterHeight=shape[1], FilterWidth=shape[2])
    return _activate(graph, operator, graph.add("GlobalAveragePool", inputs[0]))


def _prelu(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    # ONNX Runtime's PRelu is not vectorised: a·x + (1 − a)·relu(x) as two depthwise 1×1 convolutions stays in
    # its blocked layout and is three times as fast. Slopes lie outside [0, 1], so max(x, a·x) would be wrong.
    slope = _constant(source, operator, 1).reshape(-1)
    if slope.size != source.tensors[operator.inputs[0]].shape[-1]:
        raise ValueError(f"PRELU: {slope.size} slopes for shape {source.tensors[operator.inputs[0]].shape}")
    weight = slope.reshape(-1, 1, 1, 1)
    linear = graph.add("Conv", inputs[0], graph.constant(weight), group=slope.size, kernel_shape=[1, 1])
    positive = graph.add("Relu", inputs[0])
    rest = graph.add("Conv", positive, graph.constant(1.0 - weight), group=slope.size, kernel_shape=[1, 1])
    return graph.add("Add", linear, rest)


def _pad(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    paddings = _constant(source, operator, 1)[[0, 3, 1, 2]]  # NHWC -> NCHW
    if np.any(paddings[0]):
        raise ValueError(f"PAD of the batch: {paddings.tolist()}")
    return graph.add("Pad", inputs[0], graph.constant(paddings.T.reshape(-1), np.int64))


def _binary(op_type: str) -> Writer:
    def write(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
        return _activate(graph, operator, graph.add(op_type, *inputs))

    return write


def _unary(op_type: str) -> Writer:
    def write(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
        return graph.add(op_type, inputs[0])

    return write


def _reshape(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    before = source.tensors[operator.inputs[0]].shape
    after = source.tensors[operator.outputs[0]].shape
    value = inputs[0]
    if len(before) == 4 and before[1:3] != (1, 1):
        value = graph.add("Transpose", value, perm=[0, 2, 3, 1])
    if len(after) == 4:
        if after[1:3] != (1, 1):
            raise ValueError(f"RESHAPE to the image shape {after} is not supported")
        return graph.reshape(value, (-1, after[3], 1, 1))
    return graph.reshape(value, (-1, *after[1:]))


def _concatenation(graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]) -> str:
    axis = operator.options["Axis"]
    if len(source.tensors[operator.outputs[0]].shape) == 4:
        axis = (0, 2, 3, 1)[axis]
    return _activate(graph, operator, graph.add("Concat", *inputs, axis=axis))


def _resize_bilinear(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    _require(operator, AlignCorners=False, HalfPixelCenters=True)
    before = source.tensors[operator.inputs[0]].shape
    after = source.tensors[operator.outputs[0]].shape
    scales = graph.constant([1.0, 1.0, after[1] / before[1], after[2] / before[2]])
    return graph.add(
        "Resize", inputs[0], "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
    )


def _identity_slice(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    before = source.tensors[operator.inputs[0]].shape
    after = source.tensors[operator.outputs[0]].shape
    if before != after:
        raise ValueError(f"STRIDED_SLICE from {before} to {after}: only the whole tensor is supported")
    return inputs[0]


def _transposed_conv_bias(
    graph: OnnxGraph, source: TfliteGraph, operator: TfliteOperator, inputs: list[str]
) -> str:
    # Options are a raw C struct: padding, stride width, stride height (int32 each).
    _, stride_w, stride_h = np.frombuffer(operator.custom_bytes, np.int32)[:3]
    weight = _constant(source, operator, 1).transpose(3, 0, 1, 2)  # OHWI -> IOHW
    if weight.shape[2:] != (stride_h, stride_w):
        raise ValueError(
            f"Convolution2DTransposeBias: kernel {weight.shape[2:]} with stride {(stride_h, stride_w)}"
        )
    bias = _constant(source, operator, 2)
    return graph.add(
        "ConvTranspose",
        inputs[0],
        graph.constant(weight),
        graph.constant(bias),
        kernel_shape=list(weight.shape[2:]),
        strides=[int(stride_h), int(stride_w)],
    )


BUILTIN_WRITERS: dict[str, Writer] = {
    "ADD": _binary("Add"),
    "AVERAGE_POOL_2D": _average_pool,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "Convolution2DTransposeBias": _transposed_conv_bias,
    "DEPTHWISE_CONV_2D": _depthwise_conv,
    "HARD_SWISH": _unary("HardSwish"),
    "LOGISTIC": _unary("Sigmoid"),
    "MAX_POOL_2D": _max_pool,
    "MUL": _binary("Mul"),
    "PAD": _pad,
    "PRELU": _prelu,
    "RELU": _unary("Relu"),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resize_bilinear,
    "STRIDED_SLICE": _identity_slice,
}
