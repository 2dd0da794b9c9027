"""Reads a TensorFlow.js graph model, of the operators that MobileNets have, into an ONNX model.

A graph model is JSON with TensorFlow's nodes and the names, shapes and (half precision) types of the weights
that lie one after the other in a file beside it. Tensors stay [N, H, W, C] between nodes, as TensorFlow has
them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph

Array = npt.NDArray[Any]

#: Operators that mean the same in both.
_SAME: Final = {
    "Add": "Add",
    "Maximum": "Max",
    "Minimum": "Min",
    "Mul": "Mul",
    "Relu": "Relu",
    "Sigmoid": "Sigmoid",
}


class GraphError(Exception):
    """A graph that has another form than is read here; the message says where."""


def read_tfjs_graph(graph: Path, weights: Path, outputs: Mapping[str, int]) -> onnx.ModelProto:
    """The model, with the graph's one input, and ``outputs`` in their order.

    Args:
        graph, weights: the two files.
        outputs: names of nodes, and how many values each has for a picture.

    Raises:
        GraphError: an operator, or a form of one, that is not read; weights that do not fill their file.
    """
    description = json.loads(graph.read_text(encoding="utf-8"))
    reader = _Reader(_read_weights(description["weightsManifest"], weights.read_bytes()))
    for node in _ordered(description["modelTopology"]["node"]):
        reader.read(node)
    for name in outputs:
        reader.graph.add("Identity", reader.values[name], output=name)
    return reader.graph.model("tfjs", reader.inputs, {name: (size,) for name, size in outputs.items()}, {})


def _read_weights(manifest: Sequence[dict[str, Any]], content: bytes) -> dict[str, Array]:
    weights, begin = {}, 0
    for group in manifest:
        for entry in group["weights"]:
            stored = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
            count = int(np.prod(entry["shape"], dtype=np.int64))
            if begin + count * stored.itemsize > len(content):
                raise GraphError(f"the weights end within {entry['name']}")
            values = np.frombuffer(content, stored, count, begin).reshape(entry["shape"])
            weights[entry["name"]] = values.astype(entry["dtype"])
            begin += count * stored.itemsize
    if begin != len(content):
        raise GraphError(f"{len(content) - begin} bytes of weights belong to nothing")
    return weights


def _ordered(nodes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nodes, each after those that it reads."""
    ordered: list[dict[str, Any]] = []
    known: set[str] = set()
    waiting = list(nodes)
    while waiting:
        ready = [node for node in waiting if all(_source(name) in known for name in node.get("input", []))]
        if not ready:
            raise GraphError(f"nodes wait for each other: {waiting[0]['name']}")
        ordered += ready
        known.update(node["name"] for node in ready)
        waiting = [node for node in waiting if node["name"] not in known]
    return ordered


def _source(name: str) -> str:
    return name.split(":")[0]


class _Reader:
    """Turns nodes, one by one, into those of ``graph``; ``values`` are what these are called there."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self.graph = OnnxGraph()
        self.values: dict[str, str] = {}
        self.inputs: dict[str, tuple[int, ...]] = {}
        self._weights = weights

    def read(self, node: dict[str, Any]) -> None:
        operator, name, attributes = node["op"], node["name"], node.get("attr", {})
        sources = [_source(source) for source in node.get("input", [])]
        if operator == "Placeholder":
            shape = tuple(int(size["size"]) for size in attributes["shape"]["shape"]["dim"])
            self.inputs[name] = shape[1:]
            self.values[name] = name
        elif operator == "Const":
            pass  # a constant is made where it is read: kernels and axes take other forms
        elif operator in ("Conv2D", "DepthwiseConv2dNative"):
            kernel = self._weights[sources[1]]
            self.values[name] = self._convolution(
                self._value(sources[0]), kernel, attributes, operator == "DepthwiseConv2dNative"
            )
        elif operator == "_FusedMatMul":
            self.values[name] = self._dense([self._value(source) for source in sources], attributes, name)
        elif operator == "Mean":
            axes = [int(axis) for axis in np.atleast_1d(self._weights[sources[1]])]
            keep = int(bool(attributes.get("keep_dims", {}).get("b")))
            # up to opset 17 ReduceMean has its axes as an attribute
            value = self._value(sources[0])
            self.values[name] = self.graph.add("ReduceMean", value, axes=axes, keepdims=keep)
        elif operator == "Softmax":
            self.values[name] = self.graph.add("Softmax", self._value(sources[0]), axis=-1)
        elif operator in _SAME:
            self.values[name] = self.graph.add(_SAME[operator], *map(self._value, sources))
        else:
            raise GraphError(f"operator {operator} of {name} is not read")

    def _value(self, name: str) -> str:
        if name not in self.values:
            self.values[name] = self.graph.constant(self._weights[name])
        return self.values[name]

    def _convolution(self, value: str, kernel: Array, attributes: dict[str, Any], depthwise: bool) -> str:
        """``kernel`` is [h, w, in, out], or depthwise [h, w, in, multiplier]."""
        padding = base64.b64decode(attributes["padding"]["s"]).decode()
        strides = [int(stride) for stride in attributes["strides"]["list"]["i"]][1:3]
        group = kernel.shape[2] if depthwise else 1
        size = list(kernel.shape[:2])
        if depthwise:
            turned = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *size)
        else:
            turned = kernel.transpose(3, 2, 0, 1)
        planes = self.graph.add("Transpose", value, perm=[0, 3, 1, 2])
        made = self.graph.add(
            "Conv",
            planes,
            self.graph.constant(turned),
            strides=strides,
            group=group,
            auto_pad={"SAME": "SAME_UPPER", "VALID": "VALID"}[padding],
        )
        return self.graph.add("Transpose", made, perm=[0, 2, 3, 1])

    def _dense(self, values: list[str], attributes: dict[str, Any], name: str) -> str:
        fused = [base64.b64decode(operator).decode() for operator in attributes["fused_ops"]["list"]["s"]]
        if fused not in (["BiasAdd"], ["BiasAdd", "Relu"]):
            raise GraphError(f"{name} is fused with {fused}")
        made = self.graph.add("Add", self.graph.add("MatMul", *values[:2]), values[2])
        return self.graph.add("Relu", made) if len(fused) > 1 else made
