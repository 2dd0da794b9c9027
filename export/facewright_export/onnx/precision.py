"""Precision as a property of the file: a float32 graph made narrower, with float32 islands.

TensorRT 11 builds strongly typed networks only: a tensor has the type that the file says, and a builder flag
can no longer ask for another. So the file says it.

ONNX Runtime's CPU provider is no judge of a narrow file: it has no bfloat16 kernels, and computes chains of
float16 operators in float32 with no rounding, and no overflow, between them. The parity gate therefore runs
narrow files as `emulated` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from facewright_export.export_error import ExportError
from facewright_export.onnx.graph_surgery import checked

_F32: Final = TensorProto.FLOAT


class Precision(StrEnum):
    """What most of a network's tensors are."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"

    @property
    def onnx_type(self) -> int:
        """The element type in ONNX."""
        return _ONNX_TYPES[self]

    @property
    def numpy_type(self) -> npt.DTypeLike:
        """The element type in NumPy (bfloat16 is ml_dtypes')."""
        return _NUMPY_TYPES[self]


_ONNX_TYPES: Final[dict[str, int]] = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
}
_NUMPY_TYPES: Final[dict[str, npt.DTypeLike]] = {
    "fp32": np.float32,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
}
#: Inputs that stay float32 whatever the operator's type is: ONNX says so (regions and scales of Resize).
_FLOAT32_INPUTS: Final = {"Resize": (1, 2)}


@dataclass(frozen=True)
class Narrowing:
    """How a float32 graph becomes a narrower one.

    Args:
        precision: of everything that nothing below names.
        islands: patterns (``fnmatch``) of node names, i.e. of the layers that made them, that stay float32:
            where float16 overflows (sums of squares over 512 channels) or loses an epsilon of 1e-8.
        narrow_io: inputs and outputs that take the narrow type too. All others stay float32: types at the
            border are part of the contract, and a precision may not change them.
    """

    precision: Precision
    islands: tuple[str, ...] = ()
    narrow_io: tuple[str, ...] = ()


def narrow(model: onnx.ModelProto, narrowing: Narrowing) -> onnx.ModelProto:
    """The same network with most tensors in the narrow type.

    Args:
        model: a float32 graph without subgraphs, every node named (`export_onnx` names them after layers).
        narrowing: to what, and what stays.

    Returns:
        A new graph, types inferred and checked; weights are stored in the type in which they are used.

    Raises:
        ExportError: a constant does not fit the narrow type (it overflows, or a scalar such as an epsilon
        becomes 0), an island matches no node, or bfloat16 is asked of an opset before 22.
    """
    if narrowing.precision is Precision.FP32:
        result = onnx.ModelProto()
        result.CopyFrom(model)
        return result
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if narrowing.precision is Precision.BF16 and opset < 22:
        raise ExportError(f"opset {opset} has no bfloat16 convolution", "export with opset 22")
    _require_islands_exist(model, narrowing.islands)
    return _Narrower(model, narrowing).run()


def emulated(model: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """The arithmetic of a narrow file in float32 operators, so that a CPU computes what a GPU does.

    Every operator computes in float32 and its result is rounded to the narrow type once, beyond float16's
    range to infinity: what a tensor core with float32 accumulation does. Run it with graph optimisation off,
    or the roundings may be taken out.

    Args:
        model: what `narrow` gave for this precision.
        precision: `Precision.FP16` or `Precision.BF16`.

    Returns:
        A graph whose float inputs and outputs are all float32; narrow ones hold values of the narrow type.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    narrow_type = precision.onnx_type
    types = _types(model)
    for tensor in graph.initializer:
        if tensor.data_type == narrow_type:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
            )
    nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == narrow_type:
                    attribute.i = _F32
        for index, name in enumerate(node.output):
            if types.get(name) != narrow_type:
                continue
            exact, rounded = f"{name}_exact", f"{name}_rounded"
            node.output[index] = exact
            nodes.append(helper.make_node("Cast", [exact], [rounded], f"{exact}/Round", to=narrow_type))
            nodes.append(helper.make_node("Cast", [rounded], [name], f"{rounded}/Widen", to=_F32))
    nodes = [_copy(node) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == narrow_type:
            value.type.tensor_type.elem_type = _F32
    onnx.checker.check_model(result)
    return result


class _Narrower:
    """One pass over the graph; casts are made once per tensor and type, where they are first needed."""

    def __init__(self, model: onnx.ModelProto, narrowing: Narrowing) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.narrowing = narrowing
        self.low = narrowing.precision.onnx_type
        self.low_name = str(narrowing.precision)
        self.was_float = {name for name, kind in _types(model).items() if kind == _F32}
        self.weights = {t.name: t for t in self.model.graph.initializer if t.data_type == _F32}
        self.stored: dict[str, int] = {}  # types of float tensors as they now are
        self.available: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.kept: list[onnx.TensorProto] = [t for t in self.model.graph.initializer if t.data_type != _F32]

    def run(self) -> onnx.ModelProto:
        graph = self.model.graph
        for value in graph.input:
            if value.name in self.was_float:
                self.stored[value.name] = self._border_type(value)
        outputs = {
            value.name: self._border_type(value) for value in graph.output if value.name in self.was_float
        }
        for node in graph.node:
            self._take(_copy(node), outputs)
        nodes, kept = self.nodes, self.kept
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend(kept)
        return checked(self.model)

    def _border_type(self, value: onnx.ValueInfoProto) -> int:
        kind = self.low if value.name in self.narrowing.narrow_io else _F32
        value.type.tensor_type.elem_type = kind
        return kind

    def _take(self, node: onnx.NodeProto, outputs: dict[str, int]) -> None:
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ExportError(
                f"{node.name} holds a subgraph", "unroll it; see facewright_export.onnx.onnx_lint"
            )
        island = any(fnmatchcase(node.name, pattern) for pattern in self.narrowing.islands)
        wanted = _F32 if island else self.low
        for index, name in enumerate(node.input):
            if name in self.was_float:
                stays = index in _FLOAT32_INPUTS.get(node.op_type, ())
                node.input[index] = self._as_type(name, _F32 if stays else wanted, node.name)
        self._retype_attributes(node, wanted)
        renamed = []
        for index, name in enumerate(node.output):
            if name not in self.was_float:
                continue
            self.stored[name] = wanted
            if outputs.get(name, wanted) != wanted:
                # The contract's name belongs to the cast result; the node's own gets another.
                node.output[index] = inner = f"{name}_{self.low_name if wanted == self.low else 'fp32'}"
                self.available[name, wanted] = inner
                self.available[name, outputs[name]] = name
                renamed.append((inner, name))
        self.nodes.append(node)
        for inner, name in renamed:
            self.nodes.append(helper.make_node("Cast", [inner], [name], f"{name}/Cast", to=outputs[name]))

    def _as_type(self, name: str, kind: int, user: str) -> str:
        """The name under which ``user`` finds a float tensor in this type; made if need be."""
        if (name, kind) in self.available:
            return self.available[name, kind]
        if name in self.weights:
            taken = any(key[0] == name for key in self.available)
            stored_as = f"{name}_{self.low_name if kind == self.low else 'fp32'}" if taken else name
            self.kept.append(self._weight(self.weights[name], kind, stored_as, user))
        elif self.stored[name] == kind:
            stored_as = name
        else:
            stored_as = f"{name}_as_{self.low_name if kind == self.low else 'fp32'}"
            self.nodes.append(helper.make_node("Cast", [name], [stored_as], f"{name}/Cast", to=kind))
        self.available[name, kind] = stored_as
        return stored_as

    def _weight(self, tensor: onnx.TensorProto, kind: int, name: str, user: str) -> onnx.TensorProto:
        exact = numpy_helper.to_array(tensor)
        if kind == _F32:
            return numpy_helper.from_array(exact, name)
        with np.errstate(over="ignore"):
            narrowed = exact.astype(self.narrowing.precision.numpy_type)
        if not np.isfinite(narrowed.astype(np.float32)).all():
            raise ExportError(
                f"the constant {tensor.name} reaches {np.abs(exact).max():g}, too much for {self.low_name}",
                f"name its layer ({user}) among the network's fp32_islands, or use bf16",
            )
        if exact.any() and not narrowed.any():
            raise ExportError(
                f"the constant {tensor.name}, up to {np.abs(exact).max():g}, becomes 0 in {self.low_name}",
                f"name its layer ({user}) among the network's fp32_islands",
            )
        return numpy_helper.from_array(narrowed, name)

    def _retype_attributes(self, node: onnx.NodeProto, wanted: int) -> None:
        """Types that an operator states itself: of a cast to float, and of constants made in the graph."""
        if wanted == _F32:
            return
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == _F32:
                attribute.i = wanted
            elif node.op_type in ("Constant", "ConstantOfShape") and attribute.name == "value":
                if attribute.t.data_type == _F32:
                    attribute.t.CopyFrom(self._weight(attribute.t, wanted, attribute.t.name, node.name))
            elif attribute.name == "dtype" and attribute.i == _F32:
                attribute.i = wanted


def _require_islands_exist(model: onnx.ModelProto, islands: Iterable[str]) -> None:
    names = [node.name for node in model.graph.node]
    for pattern in islands:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ExportError(
                f"the fp32 island {pattern!r} names no layer of the graph",
                f"layers are called like {names[0]!r} and {names[-1]!r}: mend the row of the network table",
            )


def _types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
