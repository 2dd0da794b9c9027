"""A torch function and its gradient as ONNX graphs, so that refinement needs no autograd framework.

Two forms. A network whose gradient comes from outside (a generator, whose maps are rendered by our kernels)
is a pair of graphs: a forward one that also gives residuals, and a backward one that takes them and the
gradients of the outputs. A loss is one graph that gives losses and gradient at once: nothing enters between
both passes. Computing in half precision is the function's own choice (it casts); inputs and outputs stay
float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, fx

from facewright_export.gradients.cheapest_cut import split_at_cheapest_cut
from facewright_export.gradients.joint_graph import (
    TensorFunction,
    trace_function,
    trace_joint_graph,
    trace_losses_with_gradient,
)
from facewright_export.onnx.onnx_export import EXAMPLE_BATCH, export_onnx
from facewright_export.onnx.onnx_lint import require_clean


@dataclass(frozen=True)
class GradientNames:
    """Tensor names of a function's graphs.

    Attributes:
        inputs: of its arguments.
        outputs: of its results. Gradients are called ``GRAD_`` and the name of what they are gradients of.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class GradientGraphs:
    """The files of a function with its gradient.

    Attributes:
        forward: ``inputs → outputs, RESIDUAL_*``.
        backward: ``residuals (RESIDUAL_*, or an input by its name), GRAD_<output> → GRAD_<input>``.
        residual_bytes: that pass between both, for one batch item.
    """

    forward: Path
    backward: Path
    residual_bytes: int


def export_with_gradient(
    function: TensorFunction,
    examples: Sequence[Tensor],
    wrt: Sequence[str],
    names: GradientNames,
    path: Path,
    gradient_scale: float = 1.0,
) -> GradientGraphs:
    """Write ``<path>_forward.onnx`` and ``<path>_backward.onnx``.

    Args:
        function: gives a tuple of tensors; the first axis of every tensor is the batch, free at run time.
        examples: one tensor for each argument: shapes and dtypes; batch at least 2.
        wrt: names of the inputs to differentiate by.
        names: of all inputs and outputs.
        path: folder and stem of the files.
        gradient_scale: see `trace_joint_graph`.

    Raises:
        ValueError: names that do not fit the function; see `trace_joint_graph`.
    """
    positions = [_position(names.inputs, name) for name in wrt]
    joint = trace_joint_graph(function, examples, positions, gradient_scale)
    split = split_at_cheapest_cut(joint, names.inputs, len(names.outputs))
    extra = tuple(name for name in split.residuals if name not in names.inputs)
    forward, backward = (path.with_name(f"{path.name}_{part}.onnx") for part in ("forward", "backward"))
    write_onnx(split.forward, names.inputs, (*names.outputs, *extra), forward)
    gradients = tuple(f"GRAD_{name}" for name in names.outputs)
    write_onnx(
        split.backward, (*split.residuals, *gradients), tuple(f"GRAD_{name}" for name in wrt), backward
    )
    return GradientGraphs(forward, backward, split.residual_bytes)


def export_loss(
    function: Callable[..., Tensor],
    examples: Sequence[Tensor],
    wrt: str,
    names: GradientNames,
    path: Path,
    gradient_scale: float = 1.0,
) -> Path:
    """Write ``<path>.onnx``: ``inputs → <the one output, [B]>, GRAD_<wrt>``.

    Arguments and errors: `export_with_gradient`.
    """
    graph = trace_losses_with_gradient(function, examples, _position(names.inputs, wrt), gradient_scale)
    file = path.with_name(f"{path.name}.onnx")
    write_onnx(graph, names.inputs, (*names.outputs, f"GRAD_{wrt}"), file)
    return file


def export_function(
    function: TensorFunction, examples: Sequence[Tensor], names: GradientNames, path: Path
) -> Path:
    """Write ``<path>.onnx``: the function alone, traced as the others are."""
    file = path.with_name(f"{path.name}.onnx")
    write_onnx(trace_function(function, examples), names.inputs, names.outputs, file)
    return file


def write_onnx(graph: fx.GraphModule, inputs: Sequence[str], outputs: Sequence[str], path: Path) -> None:
    """Write a traced graph as ONNX: tensors named, first axis free, every rule of the linter kept.

    Raises:
        ExportError: an engine would not take the graph; the message names the node and its mend.
    """
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    examples = {name: _example(node) for name, node in zip(inputs, placeholders, strict=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations, about its own code
        model = export_onnx(graph, examples, outputs)
    require_clean(model, path.name)
    onnx.save(model, path)


def _position(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise ValueError(f"no input {name!r} to differentiate by; the inputs are {', '.join(names)}")
    return list(names).index(name)


def _example(placeholder: fx.Node) -> Tensor:
    """Zeros like a traced input, for the exporter's batch."""
    value = placeholder.meta["val"]
    return torch.zeros((EXAMPLE_BATCH, *(int(n) for n in value.shape[1:])), dtype=value.dtype)
