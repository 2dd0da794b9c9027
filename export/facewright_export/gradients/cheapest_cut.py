"""Split a joint graph into a forward graph that saves residuals and a backward graph that reads them.

What to save is a minimum cut, as in AOTAutograd's partitioner (torch's
``min_cut_rematerialization_partition``; He & Yu, "Transcending runtime-memory tradeoffs in checkpointing by
being fusion aware", MLSys 2023): each value of the forward pass that the backward pass could start from
costs its bytes; what is cheap to compute again from saved values (element by element: activations, products
with styles) may be; convolutions, matrix products and reductions are computed once.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor, fx

_aten = torch.ops.aten
#: Operators whose results the backward graph may not compute again.
_EXPENSIVE: Final = {
    _aten.convolution,
    _aten.mm,
    _aten.addmm,
    _aten.bmm,
    _aten.baddbmm,
    _aten.sum,
    _aten.mean,
    _aten.amax,
    _aten.max_pool2d_with_indices,
    _aten._softmax,
}
#: Capacities are 32-bit integers: they count units of this many bytes of one batch item.
_UNIT_BYTES: Final = 64
_UNCUTTABLE: Final = 2**30


@dataclass(frozen=True)
class SplitGraphs:
    """Both halves of a joint graph.

    Attributes:
        forward: ``(inputs…) → (outputs…, residuals…)``.
        backward: ``(residuals…, gradients of outputs…) → (gradients of inputs…)``.
        residuals: their names; one that is an input of the function carries the input's name and is not among
            the forward graph's results.
        residual_bytes: of one batch item.
    """

    forward: fx.GraphModule
    backward: fx.GraphModule
    residuals: tuple[str, ...]
    residual_bytes: int


def split_at_cheapest_cut(
    joint: fx.GraphModule, input_names: Sequence[str], output_count: int
) -> SplitGraphs:
    """Split ``joint`` (see `trace_joint_graph`) where the fewest bytes cross.

    Args:
        joint: takes ``len(input_names)`` inputs, then ``output_count`` gradients of outputs.
        input_names: of the function's inputs.
        output_count: of the function.
    """
    placeholders = [node for node in joint.graph.nodes if node.op == "placeholder"]
    inputs, grad_outputs = placeholders[: len(input_names)], placeholders[len(input_names) :]
    results = list(joint.graph.output_node().args[0])
    outputs, gradients = results[:output_count], results[output_count:]

    needed = _ancestors(gradients)
    backward = _descendants(joint, grad_outputs)
    primal = [
        node for node in joint.graph.nodes if node in needed and node not in backward and not _is_free(node)
    ]
    saved = _cheapest_cut(primal, backward)

    named = dict(zip(inputs, input_names, strict=True))
    extra = [node for node in saved if node not in named]
    residuals = {node: f"RESIDUAL_{i}" for i, node in enumerate(extra)}
    names = {node: named.get(node) or residuals[node] for node in saved}
    forward_graph = _subgraph(joint, inputs, [*outputs, *extra])
    backward_graph = _subgraph(joint, [*saved, *grad_outputs], gradients)
    size = sum(_bytes_of_one(node) for node in saved)
    return SplitGraphs(forward_graph, backward_graph, tuple(names.values()), size)


def _cheapest_cut(primal: Sequence[fx.Node], backward: set[fx.Node]) -> list[fx.Node]:
    """The nodes of ``primal`` whose values to save: a minimum vertex cut before the backward nodes.

    Each node is an edge from its entry to its exit that costs its bytes; the source feeds what cannot be
    computed again, the sink drinks from what the backward pass reads.
    """
    entry = {node: 2 + 2 * i for i, node in enumerate(primal)}
    source, sink = 0, 1
    edges: dict[tuple[int, int], int] = {}
    for node in primal:
        cost = _UNCUTTABLE
        if isinstance(node.meta["val"], Tensor) and node.meta["val"].dtype.is_floating_point:
            cost = math.ceil(_bytes_of_one(node) / _UNIT_BYTES)
        edges[entry[node], entry[node] + 1] = cost
        if node.op == "placeholder" or getattr(node.target, "overloadpacket", None) in _EXPENSIVE:
            edges[source, entry[node]] = _UNCUTTABLE
        for user in node.users:
            if user in backward:
                edges[entry[node] + 1, sink] = _UNCUTTABLE
            elif user in entry:
                edges[entry[node] + 1, entry[user]] = _UNCUTTABLE
    size = 2 + 2 * len(primal)
    rows, columns = np.array(list(edges)).T
    capacity = csr_matrix((np.array(list(edges.values()), np.int32), (rows, columns)), shape=(size, size))
    rest = capacity - maximum_flow(capacity, source, sink).flow
    rest.data[rest.data < 0] = 0
    rest.eliminate_zeros()
    # Of cuts that cost the same the one nearest to the sink: what lies behind it is computed again.
    behind = set(breadth_first_order(rest.T.tocsr(), sink, return_predecessors=False).tolist())
    return [node for node in primal if entry[node] not in behind and entry[node] + 1 in behind]


def _subgraph(joint: fx.GraphModule, inputs: Sequence[fx.Node], outputs: Sequence[fx.Node]) -> fx.GraphModule:
    """The part of ``joint`` that computes ``outputs`` from ``inputs``, as a graph module of its own.

    The batch's size, which any input can tell, is read from the last input.
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    needed = _ancestors(outputs, stop=set(inputs))
    for node in joint.graph.nodes:
        if node not in needed or node in copies:
            continue
        if _is_size(node):
            batch = graph.call_function(_aten.sym_size.int, (copies[inputs[-1]], 0))
            copies[node] = graph.call_function(operator.mul, (batch, _batches_in(node, inputs[-1])))
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in outputs))
    module = fx.GraphModule(joint, graph)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _ancestors(nodes: Iterable[fx.Node], stop: set[fx.Node] | None = None) -> set[fx.Node]:
    """The nodes and all that they are computed from, not looking behind ``stop`` or a batch's size."""
    stop = stop or set()
    found: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        if node not in stop and not _is_size(node):
            waiting.extend(node.all_input_nodes)
    return found


def _descendants(joint: fx.GraphModule, nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes and all that is computed from them."""
    found = set(nodes)
    for node in joint.graph.nodes:
        if not _is_size(node) and any(source in found for source in node.all_input_nodes):
            found.add(node)
    return found


def _is_size(node: fx.Node) -> bool:
    """Whether a node's value is a size: a multiple of the batch's."""
    return isinstance(node.meta.get("val"), torch.SymInt)


def _batches_in(size: fx.Node, tensor: fx.Node) -> int:
    """How many times the batch of ``tensor`` a size is.

    Raises:
        ValueError: it is not a multiple, so the function mixes items of the batch.
    """
    batch = tensor.meta["val"].shape[0].node.expr
    times = size.meta["val"].node.expr / batch
    if not times.is_Integer:
        raise ValueError(f"{size.name} is {size.meta['val']}, which is no multiple of the batch {batch}")
    return int(times)


def _is_free(node: fx.Node) -> bool:
    """Whether a node depends on the batch's size and constants alone."""
    if _is_size(node) or node.op == "get_attr":
        return True
    return node.op == "call_function" and all(_is_free(source) for source in node.all_input_nodes)


def _bytes_of_one(node: fx.Node) -> int:
    """Bytes of one batch item of a tensor node."""
    value = node.meta["val"]
    if not isinstance(value, Tensor):
        return 0
    count = value.numel()
    if isinstance(count, torch.SymInt):
        batch = count.node.expr
        count = int(batch.subs(dict.fromkeys(batch.free_symbols, 1)))
    size: int = int(count) * value.element_size()
    return size
