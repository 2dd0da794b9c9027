"""Says before anything is built whether TensorRT 10.12 to 11.x takes a graph: each finding with its mend.

The rules are those of TensorRT's operator table (operators.md of the ONNX parser, 10.12 to 11.x) and of the
pipeline's own contract (a free batch on axis 0 and nowhere else, no 64-bit floats). An empty list is a
necessary condition, not a proof: only a build proves.

    python -m facewright_export.onnx.onnx_lint FILE.onnx...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto, helper, numpy_helper

from facewright_export.export_error import ExportError

NEWEST_OPSET: Final = 25

#: Operators that the parser refuses, and what computes the same.
_BANNED: Final = {
    "AffineGrid": "compute the grid outside of the graph, or as a MatMul of a constant grid",
    "Col2Im": "use ConvTranspose with a constant kernel",
    "Unique": "its output shape depends on the values: compute it outside of the graph",
    "NonMaxSuppression": "its output shape depends on the values: compute it outside of the graph",
    "NonZero": "its output shape depends on the values: use Where with a mask of fixed shape",
    "Compress": "its output shape depends on the values: use Where with a mask of fixed shape",
    "RandomNormal": "a served network is deterministic: make the noise an input",
    "RandomNormalLike": "a served network is deterministic: make the noise an input",
    "RandomUniform": "a served network is deterministic: make the noise an input",
    "RandomUniformLike": "a served network is deterministic: make the noise an input",
    "Bernoulli": "a served network is deterministic: make the noise an input",
    "Multinomial": "a served network is deterministic: make the choice an input",
    "Dropout": "export the module in evaluation mode",
    "StringNormalizer": "strings do not run on a GPU: do it before the graph",
    "TfIdfVectorizer": "strings do not run on a GPU: do it before the graph",
    "SequenceEmpty": "use tensors instead of sequences",
    "SequenceConstruct": "use Concat instead of a sequence",
    "SequenceInsert": "use Concat instead of a sequence",
    "SequenceAt": "use Gather instead of a sequence",
    "SplitToSequence": "use Split instead of a sequence",
    "ConcatFromSequence": "use Concat instead of a sequence",
    "Det": "expand the determinant into products",
    "DFT": "use a MatMul with a constant Fourier matrix",
    "STFT": "use a MatMul with a constant Fourier matrix",
    "MaxUnpool": "use ScatterElements or Where",
    "Optional": "give the graph fixed inputs",
}
_ALLOWED_DOMAINS: Final = ("", "ai.onnx")
_NO_TYPES: Final = {
    TensorProto.DOUBLE: "make it float32 before the export",
    TensorProto.UINT16: "use int32",
    TensorProto.INT16: "use int32",
    TensorProto.UINT32: "use int64",
    TensorProto.UINT64: "use int64",
    TensorProto.COMPLEX64: "carry the real and imaginary parts as two channels",
    TensorProto.COMPLEX128: "carry the real and imaginary parts as two channels",
    TensorProto.STRING: "strings do not run on a GPU",
}


@dataclass(frozen=True)
class Finding:
    """One reason why an engine would not build, or not serve.

    Args:
        where: the node's name, or the tensor's.
        problem: what the parser refuses, with the value seen.
        mend: what to write instead.
    """

    where: str
    problem: str
    mend: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.mend}"


class OnnxLintError(ExportError):
    """A graph that TensorRT would refuse.

    Args:
        name: of the network.
        findings: all of them.
    """

    def __init__(self, name: str, findings: Sequence[Finding]) -> None:
        shown = "\n".join(f"  {finding}" for finding in findings)
        super().__init__(
            f"TensorRT would refuse {name}, {len(findings)} finding(s):\n{shown}",
            "change the module as each finding says, and export again",
        )
        self.findings = tuple(findings)


def lint(model: onnx.ModelProto) -> list[Finding]:
    """Everything in the graph that breaks a rule, in the graph's order; [] for a clean one.

    Args:
        model: types and shapes need not be inferred yet.
    """
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = _Graph(inferred)
    findings = list(_model_findings(inferred))
    for node in inferred.graph.node:
        findings += _node_findings(node, graph)
    return findings


def require_clean(model: onnx.ModelProto, name: str) -> None:
    """Raises `OnnxLintError` with every finding, where there is any."""
    findings = lint(model)
    if findings:
        raise OnnxLintError(name, findings)


class _Graph:
    """Types, shapes and constants by name; names of what may be a layer's weights."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.constants: dict[str, onnx.TensorProto] = {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant":
                tensor = next((a.t for a in node.attribute if a.name == "value"), None)
                if tensor is not None:
                    self.constants[node.output[0]] = tensor
        # A constant that is cast, as weights stored in half precision are, is folded when the plan is built.
        casts = [node for node in model.graph.node if node.op_type == "Cast"]
        self.weights = {*self.constants, *(n.output[0] for n in casts if n.input[0] in self.constants)}
        values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        self.types = {value.name: value.type.tensor_type.elem_type for value in values}
        self.types |= {name: tensor.data_type for name, tensor in self.constants.items()}
        self.ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in values
            if value.type.tensor_type.HasField("shape")
        }
        self.ranks |= {name: len(tensor.dims) for name, tensor in self.constants.items()}


def _model_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    for opset in model.opset_import:
        if opset.domain not in _ALLOWED_DOMAINS and any(n.domain == opset.domain for n in model.graph.node):
            yield Finding(
                "the model",
                f"it uses operators of the domain {opset.domain}",
                "TensorRT knows only ONNX's own: export without custom operators",
            )
        elif opset.domain in _ALLOWED_DOMAINS and opset.version > NEWEST_OPSET:
            yield Finding(
                "the model", f"opset {opset.version}", f"export with opset {NEWEST_OPSET} or an older one"
            )
    if model.functions:
        yield Finding("the model", "it holds functions", "inline them (onnx.inliner.inline_local_functions)")
    inputs = {value.name for value in model.graph.input}
    for value in (*model.graph.input, *model.graph.output):
        kind = "input" if value.name in inputs else "output"
        dims = value.type.tensor_type.shape.dim
        for axis, dim in enumerate(dims):
            free = not dim.HasField("dim_value")
            if axis == 0 and not free:
                yield Finding(
                    value.name,
                    f"the batch of the {kind} is fixed at {dim.dim_value}",
                    "export with a free batch on axis 0",
                )
            if axis > 0 and free:
                yield Finding(
                    value.name,
                    f"axis {axis} of the {kind} is free ({dim.dim_param or 'unknown'})",
                    "only the batch may be free: give the module a fixed size",
                )
        if not dims:
            yield Finding(value.name, f"the {kind} has no batch", "every input and output is [batch, …]")
    for tensor in model.graph.initializer:
        if tensor.data_type in _NO_TYPES:
            yield Finding(
                tensor.name,
                f"a constant of type {TensorProto.DataType.Name(tensor.data_type).lower()}",
                _NO_TYPES[tensor.data_type],
            )


def _node_findings(node: onnx.NodeProto, graph: _Graph) -> Iterator[Finding]:
    where = node.name or f"{node.op_type} giving {', '.join(node.output)}"
    if node.op_type in _BANNED:
        yield Finding(where, f"{node.op_type} has no TensorRT layer", _BANNED[node.op_type])
    for name in node.output:
        kind = graph.types.get(name, 0)
        if kind in _NO_TYPES:
            said = TensorProto.DataType.Name(kind).lower()
            yield Finding(where, f"{node.op_type} gives {said}", _NO_TYPES[kind])
    yield from _bytes(node, where, graph)
    rule = _RULES.get(node.op_type)
    if rule is not None:
        for problem, mend in rule(node, _attributes(node), graph):
            yield Finding(where, problem, mend)


def _bytes(node: onnx.NodeProto, where: str, graph: _Graph) -> Iterator[Finding]:
    """TensorRT's uint8 is for inputs and outputs, and converts from and to float32 and float16 alone."""
    takes, gives = (
        [graph.types.get(name, 0) for name in names if name] for names in (node.input, node.output)
    )
    if TensorProto.UINT8 not in (*takes, *gives):
        return
    wide = (TensorProto.FLOAT, TensorProto.FLOAT16)
    if node.op_type != "Cast":
        yield Finding(
            where, f"{node.op_type} on bytes", "cast them to float32 first: TensorRT computes on no bytes"
        )
    elif (gives if TensorProto.UINT8 in takes else takes)[0] not in wide:
        other = (gives if TensorProto.UINT8 in takes else takes)[0]
        yield Finding(
            where,
            f"Cast between bytes and {TensorProto.DataType.Name(other).lower()}",
            "cast by way of float32: TensorRT converts bytes from and to float32 and float16 alone",
        )


_Rule = Callable[[onnx.NodeProto, dict[str, Any], _Graph], Iterator[tuple[str, str]]]


def _resize(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    mode = given.get("mode", b"nearest").decode()
    if mode not in ("nearest", "linear"):
        yield f"Resize mode {mode}", "use nearest or linear, or two MatMuls with constant matrices"
    if given.get("antialias", 0):
        yield "Resize with antialias", "use two MatMuls with constant matrices"
    frame = given.get("coordinate_transformation_mode", b"half_pixel").decode()
    if frame not in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
        yield f"Resize coordinates {frame}", "crop before the resize, and use half_pixel"
    if given.get("exclude_outside", 0):
        yield "Resize with exclude_outside", "pad before the resize"
    for index in (2, 3):
        if len(node.input) > index and node.input[index] and node.input[index] not in graph.constants:
            yield "Resize to a size that is computed", "give the size or the scale as a constant"


def _grid_sample(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    rank = graph.ranks.get(node.input[0])
    if rank != 4:
        yield f"GridSample of rank {rank}", "sample images [B, C, H, W]"
    mode = given.get("mode", b"linear").decode()
    if mode not in ("linear", "bilinear", "nearest", "cubic", "bicubic"):
        yield f"GridSample mode {mode}", "use linear or nearest"


def _scatter(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    reduction = given.get("reduction", b"none").decode()
    if reduction != "none" and node.op_type == "ScatterND":
        yield f"ScatterND with reduction {reduction}", "use a MatMul with a constant 0/1 matrix"


def _control_flow(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    yield (
        f"{node.op_type} keeps an engine from one CUDA graph, and its body's shapes are restricted",
        "unroll it: every network here has a fixed number of layers",
    )


def _convolution(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    if node.input[1] not in graph.weights:
        yield (
            f"{node.op_type} whose kernel is computed",
            "scale the input and the output instead, and keep the kernel constant (StyleGAN2's modulation)",
        )
    rank = graph.ranks.get(node.input[1])
    if rank is not None and rank not in (3, 4, 5):
        yield f"{node.op_type} with a kernel of rank {rank}", "use 1, 2 or 3 spatial dimensions"
    if given.get("auto_pad", b"NOTSET").decode() not in ("NOTSET", "VALID"):
        yield f"{node.op_type} with auto_pad", "write the pads out: SAME depends on the size at run time"
    if node.op_type == "ConvTranspose" and any(d != 1 for d in given.get("dilations", ())):
        yield "ConvTranspose with dilation", "put zeros into the kernel"


def _pad(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    mode = given.get("mode", b"constant").decode()
    if mode not in ("constant", "reflect", "edge"):
        yield f"Pad mode {mode}", "use constant, reflect or edge"
    if len(node.input) > 1 and node.input[1] not in graph.constants:
        yield "Pad by an amount that is computed", "give the pads as a constant"


def _top_k(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    count = graph.constants.get(node.input[1])
    if count is None:
        yield "TopK whose K is computed", "give K as a constant"
    elif int(numpy_helper.to_array(count).reshape(-1)[0]) > 3840:
        yield f"TopK of {int(numpy_helper.to_array(count).reshape(-1)[0])}", "TensorRT takes K up to 3840"


def _cast(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    if given.get("to") in _NO_TYPES:
        yield f"Cast to {TensorProto.DataType.Name(given['to']).lower()}", _NO_TYPES[given["to"]]


def _pooling(node: onnx.NodeProto, given: dict[str, Any], graph: _Graph) -> Iterator[tuple[str, str]]:
    if node.op_type == "MaxPool" and len(node.output) > 1:
        yield "MaxPool that gives indices", "compare with the pooled values instead"
    if any(d != 1 for d in given.get("dilations", ())):
        yield f"{node.op_type} with dilation", "use strides, or a convolution"


_RULES: Final[dict[str, _Rule]] = {
    "Resize": _resize,
    "GridSample": _grid_sample,
    "ScatterND": _scatter,
    "Loop": _control_flow,
    "If": _control_flow,
    "Scan": _control_flow,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Pad": _pad,
    "TopK": _top_k,
    "Cast": _cast,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
}


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def main(arguments: Sequence[str] | None = None) -> int:
    """Lints files; exit status 1 where there is a finding."""
    parser = argparse.ArgumentParser(
        prog="python -m facewright_export.onnx.onnx_lint",
        description="Does TensorRT 10.12 to 11.x take these?",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    found = False
    for path in parser.parse_args(arguments).files:
        findings = lint(onnx.load(path))
        found = found or bool(findings)
        for finding in findings:
            sys.stdout.write(f"{path}: {finding}\n")
        if not findings:
            sys.stdout.write(f"{path}: no finding\n")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
