"""A function and its vector-Jacobian product as one graph of tensor operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._dynamo.source import ConstantSource
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from facewright_export.gradients.decompositions import BACKWARD_OPERATORS

_aten = torch.ops.aten
_BROADCASTING = {_aten.mul.Tensor, _aten.add.Tensor, _aten.sub.Tensor, _aten.div.Tensor}
_BY_SCALARS = {_aten.mul.Scalar, _aten.div.Scalar}

#: Takes tensors, gives a tuple of tensors; the first axis of every one is the batch.
TensorFunction = Callable[..., tuple[Tensor, ...]]


def trace_joint_graph(
    function: TensorFunction, examples: Sequence[Tensor], wrt: Sequence[int], gradient_scale: float = 1.0
) -> fx.GraphModule:
    """The graph ``(inputs…, gradients of outputs…) → (outputs…, gradients of the inputs ``wrt``…)``.

    `torch.func.vjp` inside a plain function is traced operator by operator with tensors that have shapes
    but no values; the size of the batch is a symbol. Then constants are folded and what is not used is
    dropped.

    Args:
        function: differentiable; its parameters are constants (``requires_grad_(False)``).
        examples: one tensor for each argument, shapes and dtypes count, first axis the batch, of at least 2.
        wrt: which arguments to differentiate by.
        gradient_scale: multiplies the gradients on their way in and divides them on their way out, in their
            own dtype: keeps small gradients from vanishing in a function that computes in half precision.

    Raises:
        ValueError: no argument to differentiate by, or an example without a batch of at least 2.
    """
    _check(examples, wrt)

    def outputs_and_gradients(*arguments: Tensor) -> tuple[Tensor, ...]:
        inputs, grad_outputs = list(arguments[: len(examples)]), arguments[len(examples) :]

        def of_differentiated(*values: Tensor) -> tuple[Tensor, ...]:
            for position, value in zip(wrt, values, strict=True):
                inputs[position] = value
            return function(*inputs)

        outputs, pull_back = torch.func.vjp(of_differentiated, *(inputs[i] for i in wrt))
        gradients = pull_back(tuple(_times(g, gradient_scale) for g in grad_outputs))
        return (*outputs, *(_times(g, 1 / gradient_scale) for g in gradients))

    inputs, mode = _without_values(examples)
    with mode:
        grad_outputs = [torch.empty_like(y) for y in function(*inputs)]
    return _traced(outputs_and_gradients, [*inputs, *grad_outputs])


def trace_losses_with_gradient(
    function: Callable[..., Tensor], examples: Sequence[Tensor], wrt: int, gradient_scale: float = 1.0
) -> fx.GraphModule:
    """The graph ``(inputs…) → (losses [B], gradient of each item's loss by the input ``wrt``)``.

    For a function whose result is one loss for each item of the batch nothing enters between both passes, so
    they are one graph and no residual leaves it. Arguments and errors: `trace_joint_graph`.
    """
    _check(examples, [wrt])

    def losses_and_gradient(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        def of_differentiated(value: Tensor) -> Tensor:
            return function(*arguments[:wrt], value, *arguments[wrt + 1 :])

        losses, pull_back = torch.func.vjp(of_differentiated, arguments[wrt])
        gradient = pull_back(torch.full_like(losses, gradient_scale))[0]
        return losses, _times(gradient, 1 / gradient_scale)

    return _traced(losses_and_gradient, _without_values(examples)[0])


def trace_function(function: TensorFunction, examples: Sequence[Tensor]) -> fx.GraphModule:
    """The graph of a function alone, traced and folded as the others are.

    Examples and errors: `trace_joint_graph`.
    """
    _check_batches(examples)
    return _traced(function, _without_values(examples)[0])


def _times(gradient: Tensor, scale: float) -> Tensor:
    """The product; a gradient that is not scaled is not read either."""
    return gradient if scale == 1 else gradient * scale


def _traced(function: Callable[..., Any], arguments: Sequence[Tensor]) -> fx.GraphModule:
    def plain_function(*values: Tensor) -> Any:  # make_fx miscounts the arguments of a method
        return function(*values)

    trace = make_fx(plain_function, decomposition_table=BACKWARD_OPERATORS, _allow_non_fake_inputs=True)
    graph = trace(*arguments)
    drop_round_trips(graph)
    leave_expanding_to_operators(graph)
    share_repeated_operators(graph)
    double_small_factors(graph)
    fold_constants(graph)
    return graph


def drop_round_trips(graph: fx.GraphModule) -> None:
    """Remove, in place, casts of half-precision numbers to float32 and back: they change nothing."""
    cast = _aten._to_copy.default
    for node in list(graph.graph.nodes):
        if node.target is not cast or node.args[0].target is not cast:
            continue
        original, wide = node.args[0].args[0], node.args[0]
        dtypes = original.meta["val"].dtype, wide.meta["val"].dtype, node.meta["val"].dtype
        if dtypes[1] == torch.float32 and dtypes[0] == dtypes[2] != torch.float64:
            node.replace_all_uses_with(original)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def leave_expanding_to_operators(graph: fx.GraphModule) -> None:
    """Remove, in place, expansions whose result only meets tensors of its full shape: those operators
    broadcast.

    The gradient of a mean or a sum over pixels is one number for each of them, which autograd writes out as a
    whole image before it multiplies it with another.
    """
    expand = _aten.expand.default
    for node in list(graph.graph.nodes):
        if node.target in _BY_SCALARS and isinstance(node.args[0], fx.Node) and node.args[0].target is expand:
            small, size = node.args[0].args[0], node.args[0].args[1]
            with graph.graph.inserting_before(node):
                scaled = graph.graph.call_function(node.target, (small, *node.args[1:]))
                whole = graph.graph.call_function(expand, (scaled, size))
            scaled.meta["val"] = node.target(small.meta["val"], *node.args[1:])
            whole.meta = dict(node.meta)
            node.replace_all_uses_with(whole)
    for node in list(graph.graph.nodes):
        if node.target is not expand or node.args[0].meta["val"].ndim != node.meta["val"].ndim:
            continue
        for user in list(node.users):
            others = [n for n in user.all_input_nodes if n is not node and n.target is not expand]
            tensors = [n for n in others if isinstance(n.meta["val"], Tensor)]  # sizes are nodes, too
            whole = [n for n in tensors if n.meta["val"].shape == node.meta["val"].shape]
            if user.target in _BROADCASTING and whole:
                user.replace_input_with(node, node.args[0])
    graph.graph.eliminate_dead_code()
    graph.recompile()


def double_small_factors(graph: fx.GraphModule) -> None:
    """Rewrite, in place, x s + x s as x (2 s) and (a + x s) + x s as a + x (2 s), where s is smaller than x.

    The derivative of x x is written so; the sums would read and write whole images.
    """
    for node in list(graph.graph.nodes):
        if node.target is not _aten.add.Tensor or node.kwargs:
            continue
        rest, term = node.args
        before: tuple[fx.Node, ...] = ()
        if rest is not term:
            if not isinstance(rest, fx.Node) or rest.target is not _aten.add.Tensor or rest.kwargs:
                continue
            if rest.args[1] is not term or len(rest.users) != 1:
                continue
            before = (rest.args[0],)
        if term.target is not _aten.mul.Tensor or set(term.users) - {node, rest}:
            continue
        factors = sorted(term.args, key=lambda factor: isinstance(factor, fx.Node) and _elements(factor))
        if not all(isinstance(f, fx.Node) for f in factors) or _elements(factors[0]) >= _elements(term):
            continue
        with graph.graph.inserting_before(node):
            double = graph.graph.call_function(_aten.mul.Tensor, (factors[0], 2.0))
            product = graph.graph.call_function(_aten.mul.Tensor, (factors[1], double))
            result = graph.graph.call_function(_aten.add.Tensor, (*before, product)) if before else product
        double.meta["val"] = factors[0].meta["val"] * 2.0
        product.meta, result.meta = dict(term.meta), dict(node.meta)
        node.replace_all_uses_with(result)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def fold_constants(graph: fx.GraphModule) -> None:
    """Compute, in place, every node that depends on constants alone (turned-over weights)."""
    values: dict[fx.Node, Any] = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            values[node] = getattr(graph, node.target)
        elif node.op == "call_function" and all(source in values for source in node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for node in list(values):
        used = [user for user in node.users if user not in values]
        if node.op == "get_attr" or not used or not isinstance(values[node], Tensor):
            continue
        name = f"folded_{node.name}"
        graph.register_buffer(name, values[node].detach().contiguous())
        with graph.graph.inserting_before(node):
            folded = graph.graph.get_attr(name)
        folded.meta = dict(node.meta)
        node.replace_all_uses_with(folded, delete_user_cb=used.__contains__)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def share_repeated_operators(graph: fx.GraphModule) -> None:
    """Merge, in place, nodes that apply one operator to the same arguments; drop what nothing uses."""
    seen: dict[Any, fx.Node] = {}
    for node in list(graph.graph.nodes):
        if node.op not in ("call_function", "get_attr"):
            continue
        key = (node.op, node.target, repr(node.args), repr(node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
        else:
            seen[key] = node
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _elements(node: fx.Node) -> int:
    """Of one item of the batch, or of a tensor without one."""
    return math.prod(size for size in node.meta["val"].shape if isinstance(size, int))


def _check(examples: Sequence[Tensor], wrt: Sequence[int]) -> None:
    if not wrt or not all(0 <= i < len(examples) for i in wrt):
        raise ValueError(f"wrt must name some of the {len(examples)} arguments by position, got {list(wrt)}")
    _check_batches(examples)


def _check_batches(examples: Sequence[Tensor]) -> None:
    batches = {x.shape[0] if x.ndim else 0 for x in examples}
    if len(batches) != 1 or min(batches) < 2:
        raise ValueError(
            "every example must have one and the same batch of at least 2 as its first axis (torch takes a "
            f"size of 1 for a constant), got shapes {[tuple(x.shape) for x in examples]}"
        )


def _without_values(examples: Sequence[Tensor]) -> tuple[list[Tensor], FakeTensorMode]:
    """Tensors like the examples with shapes but no values, their batch a symbol; the mode they live in."""
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    sizes = [DimDynamic.DYNAMIC] + [DimDynamic.STATIC] * (examples[0].ndim - 1)
    symbols = StatelessSymbolicContext(dynamic_sizes=sizes)
    first = mode.from_tensor(examples[0], symbolic_context=symbols, source=ConstantSource("batch"))
    with mode:
        return [torch.empty((first.shape[0], *x.shape[1:]), dtype=x.dtype) for x in examples], mode
