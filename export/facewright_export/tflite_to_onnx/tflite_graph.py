"""Reads a TensorFlow Lite flatbuffer into plain dataclasses: tensors, constants, operators and their options.

Source: the TensorFlow Lite schema (``tflite`` package). float16 constants behind a DEQUANTIZE are folded to
float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
from flatbuffers import flexbuffers  # type: ignore[import-untyped]

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype(np.float32),
    tflite.TensorType.FLOAT16: np.dtype(np.float16),
    tflite.TensorType.INT32: np.dtype(np.int32),
}
_BUILTIN_NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}

#: The option tables of the builtin operators the mediapipe networks use, and the fields read from each.
_OPTIONS: dict[str, tuple[type, tuple[str, ...]]] = {
    "CONV_2D": (
        tflite.Conv2DOptions,
        ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "DEPTHWISE_CONV_2D": (
        tflite.DepthwiseConv2DOptions,
        (
            "Padding",
            "StrideH",
            "StrideW",
            "DilationHFactor",
            "DilationWFactor",
            "DepthMultiplier",
            "FusedActivationFunction",
        ),
    ),
    "MAX_POOL_2D": (
        tflite.Pool2DOptions,
        ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "AVERAGE_POOL_2D": (
        tflite.Pool2DOptions,
        ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "ADD": (tflite.AddOptions, ("FusedActivationFunction",)),
    "MUL": (tflite.MulOptions, ("FusedActivationFunction",)),
    "CONCATENATION": (tflite.ConcatenationOptions, ("Axis", "FusedActivationFunction")),
    "RESIZE_BILINEAR": (tflite.ResizeBilinearOptions, ("AlignCorners", "HalfPixelCenters")),
    "STRIDED_SLICE": (
        tflite.StridedSliceOptions,
        ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"),
    ),
}


@dataclass(frozen=True)
class TfliteTensor:
    """A tensor of the graph; ``value`` is its constant (float32 or int32), None for an activation."""

    name: str
    shape: tuple[int, ...]  # as stored: NHWC for images, batch 1
    value: npt.NDArray[Any] | None


@dataclass(frozen=True)
class TfliteOperator:
    """One operator: its kind (a builtin's name, or a custom operator's code), tensors by index, and
    options.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    custom_bytes: bytes = b""


@dataclass(frozen=True)
class TfliteGraph:
    """The single subgraph of a model."""

    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def named(self, name: str) -> int:
        """The index of the tensor called ``name``.

        Raises:
            ValueError: no tensor, or several, have this name.
        """
        found = [i for i, tensor in enumerate(self.tensors) if tensor.name == name]
        if len(found) != 1:
            raise ValueError(
                f"{len(found)} tensors are called {name!r} in the TensorFlow Lite graph; expected one"
            )
        return found[0]


def read_tflite(model_bytes: bytes) -> TfliteGraph:
    """Parse a TensorFlow Lite model.

    Args:
        model_bytes: the whole ``.tflite`` file.

    Raises:
        ValueError: not a TensorFlow Lite model, several subgraphs, or a tensor type that is not float or
        int32.
    """
    if model_bytes[4:8] != b"TFL3":
        raise ValueError(f"not a TensorFlow Lite model: {len(model_bytes)} bytes without the TFL3 identifier")
    model = tflite.Model.GetRootAs(model_bytes, 0)
    if model.SubgraphsLength() != 1:
        raise ValueError(f"expected one subgraph, found {model.SubgraphsLength()}")
    subgraph = model.Subgraphs(0)
    tensors = [_read_tensor(model, subgraph.Tensors(i)) for i in range(subgraph.TensorsLength())]
    operators = []
    for i in range(subgraph.OperatorsLength()):
        operator = _read_operator(model, subgraph.Operators(i))
        if operator.kind == "DEQUANTIZE":
            source, target = operator.inputs[0], operator.outputs[0]
            value = tensors[source].value
            if value is None:
                raise ValueError(f"DEQUANTIZE of the activation {tensors[source].name!r} is not supported")
            tensors[target] = TfliteTensor(
                tensors[target].name,
                tensors[target].shape,
                value.astype(np.float32).reshape(tensors[target].shape),
            )
        else:
            operators.append(operator)
    return TfliteGraph(
        tensors=tuple(tensors),
        operators=tuple(operators),
        inputs=tuple(int(i) for i in subgraph.InputsAsNumpy()),
        outputs=tuple(int(i) for i in subgraph.OutputsAsNumpy()),
    )


def _read_tensor(model: Any, tensor: Any) -> TfliteTensor:
    name = tensor.Name().decode()
    if tensor.Type() not in _DTYPES:
        raise ValueError(
            f"tensor {name!r} has type {tensor.Type()}; only float32, float16 and int32 are supported"
        )
    shape = tuple(int(n) for n in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    buffer = model.Buffers(tensor.Buffer())
    value: npt.NDArray[Any] | None = None
    if buffer.DataLength():
        value = np.frombuffer(bytes(buffer.DataAsNumpy()), _DTYPES[int(tensor.Type())]).reshape(shape)
        if value.dtype == np.float16:
            value = value.astype(np.float32)
    return TfliteTensor(name, shape, value)


def _read_operator(model: Any, operator: Any) -> TfliteOperator:
    opcode = model.OperatorCodes(operator.OpcodeIndex())
    # Old writers only fill the deprecated 8-bit field, new ones the wide field: the larger is the true one.
    kind = _BUILTIN_NAMES[max(opcode.BuiltinCode(), opcode.DeprecatedBuiltinCode())]
    inputs = tuple(int(i) for i in operator.InputsAsNumpy())
    outputs = tuple(int(i) for i in operator.OutputsAsNumpy())
    if kind == "CUSTOM":
        custom = operator.CustomOptionsAsNumpy().tobytes() if operator.CustomOptionsLength() else b""
        return TfliteOperator(opcode.CustomCode().decode(), inputs, outputs, _read_flexbuffer(custom), custom)
    options: dict[str, Any] = {}
    if kind in _OPTIONS and operator.BuiltinOptions() is not None:
        table, fields = _OPTIONS[kind]
        reader = table()
        reader.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        options = {name: getattr(reader, name)() for name in fields}
    return TfliteOperator(kind, inputs, outputs, options)


def _read_flexbuffer(custom: bytes) -> dict[str, Any]:
    """A custom operator's options where they are a flexbuffer map; {} where they are a raw struct."""
    try:
        loaded = flexbuffers.Loads(custom) if custom else {}
    except Exception:  # flexbuffers raises anything on bytes that are not a flexbuffer
        return {}
    return loaded if isinstance(loaded, dict) else {}
