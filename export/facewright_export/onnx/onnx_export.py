"""A torch module as an ONNX graph with a dynamic batch, tensors named in words, nodes named after layers."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import onnx
import torch
from onnx_ir.passes import common as passes
from onnxscript import ir, optimizer, rewriter
from onnxscript.rewriter.rules import common as rules

from facewright_export.export_error import ExportError
from facewright_export.onnx.graph_surgery import fold_constants

#: Opset of float32 and float16 files, and of bfloat16 files: convolutions take bfloat16 from 22 on.
OPSET: Final = 20
BF16_OPSET: Final = 22
#: Batch of the example inputs: torch.export reads a batch of 1 as a constant.
EXAMPLE_BATCH: Final = 2

_SCOPES: Final = "pkg.torch.onnx.name_scopes"


def export_onnx(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    opset: int = OPSET,
    largest_batch: int = 64,
) -> onnx.ModelProto:
    """The graph of ``module`` in evaluation mode; every input and output has the batch as its axis 0.

    Args:
        module: called with the inputs in the order of the mapping; gives one tensor, or a tuple of them.
        inputs: example tensors ``[EXAMPLE_BATCH, …]`` by the name that they get in the graph.
        outputs: names of what the module gives, in its order.
        opset: ONNX operator set.
        largest_batch: the graph is proven for batches 1 to this.

    Returns:
        A graph that `onnx.checker` accepts, shapes inferred, weights inside. A node is called after the
        module that made it (``convs.3.conv/Conv``), so that a finding says where to look; nothing in the file
        names a path of this machine.

    Raises:
        ExportError: a name is not words in capitals, an example has another batch, or the graph froze the
        batch.
    """
    folded = fold_constants(trace_onnx(module, inputs, outputs, opset, largest_batch))
    _require_dynamic_batch(folded)
    return folded


def trace_onnx(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    opset: int = OPSET,
    largest_batch: int = 64,
) -> onnx.ModelProto:
    """The graph before constants are folded; arguments and errors are `export_onnx`'s."""
    for name in (*inputs, *outputs):
        if not _is_words(name):
            raise ExportError(f"the tensor name {name!r} is not words in capitals", "name it like FACE_IMAGE")
    for name, example in inputs.items():
        if example.ndim == 0 or example.shape[0] != EXAMPLE_BATCH:
            raise ExportError(
                f"the example {name} is {list(example.shape)}",
                f"give it a batch of {EXAMPLE_BATCH} on axis 0: torch.export freezes a batch of 1",
            )
    batch = torch.export.Dim("batch", min=1, max=largest_batch)
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=opset,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=_dynamic_shapes(module, len(inputs), batch),
            optimize=False,  # see _simplify
            external_data=False,
            verbose=False,
        )
    assert program is not None
    _simplify(program.model)
    model = program.model_proto
    _name_nodes_by_layer(model)
    _forget_machine(model)
    return model


def _simplify(model: ir.Model) -> None:
    """Folds shape arithmetic and batch normalisation.

    Not onnxscript's default optimiser: it takes any constant within 1e-8 of 0 for 0 and drops the ``+ 1e-8``
    that keeps StyleGAN2's demodulation and LPIPS from dividing by 0.
    """
    optimizer.inline(model)
    optimizer.fold_constants_ir(model)
    rewriter.rewrite(
        model,
        [
            rules.fuse_batchnorm_into_conv_rule,
            rules.fuse_batchnorm_into_conv_transpose_rule,
            rules.fuse_batchnorm_into_gemm_rule,
            rules.remove_optional_bias_from_conv_rule,
            rules.remove_optional_bias_from_conv_transpose_rule,
            rules.remove_optional_bias_from_gemm_rule,
            rules.materialize_reshape_shape_rule,
            rules.unsqueeze_unsqueeze_rule,
            rules.no_op_expand_rule,
            rules.dropout_inference_rule,
        ],
    )
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    passes.DeduplicateInitializersPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)
    optimizer.remove_unused_nodes(model)


def _dynamic_shapes(module: torch.nn.Module, count: int, batch: torch.export.Dim) -> tuple[object, ...]:
    """What torch.export wants to know about each argument; ``*inputs`` of a wrapper count as one."""
    import inspect

    axes = [{0: batch} for _ in range(count)]
    parameters = inspect.signature(module.forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return (tuple(axes),)
    return tuple(axes)


def _is_words(name: str) -> bool:
    return name.isascii() and name.upper() == name and all(word.isalnum() for word in name.split("_"))


def _name_nodes_by_layer(model: onnx.ModelProto) -> None:
    """``layer4.2.conv1/Conv`` instead of ``node_conv2d_51``; numbered where a layer has several of a kind."""
    seen: Counter[str] = Counter()
    for node in model.graph.node:
        name = f"{_layer(node)}/{node.op_type}"
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"


def _layer(node: onnx.NodeProto) -> str:
    """The path of the module that made a node; ``graph`` for what has none."""
    for property_ in node.metadata_props:
        if property_.key == _SCOPES:
            # The last scope is the operation itself; the one before it is the module.
            scopes = ast.literal_eval(property_.value)
            return next((scope for scope in reversed(scopes[:-1]) if scope), "graph")
    return "graph"


def _forget_machine(model: onnx.ModelProto) -> None:
    """Stack traces name files of the machine that exported; a published file must not."""
    graph = model.graph
    for holder in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        del holder.metadata_props[:]
        holder.doc_string = ""
    graph.name = "network"


def _require_dynamic_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if not dims or not dims[0].dim_param:
            raise ExportError(
                f"{value.name} has no free batch on axis 0 in the graph",
                "the module computes a shape from the example's batch; use x.flatten(1), x.shape[0] or -1",
            )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Leaves out what the exporter says about itself: its own deprecations, and torchvision being absent."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
            # Several inputs share one batch, which is what is meant.
            warnings.filterwarnings("ignore", message="# The axis name: batch will not be used")
            warnings.filterwarnings(
                "ignore", category=DeprecationWarning, module=r"(torch|onnx|onnxscript)\b.*"
            )
            yield
    finally:
        logger.setLevel(level)
