"""Splitting a joint graph: both halves together are the function and its gradient, and little crosses."""

import pytest
import torch
from torch import Tensor, nn

from facewright_export.gradients.cheapest_cut import SplitGraphs, split_at_cheapest_cut
from facewright_export.gradients.half_arithmetic import HalfArithmetic
from facewright_export.gradients.joint_graph import (
    trace_function,
    trace_joint_graph,
    trace_losses_with_gradient,
)
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis


@pytest.fixture(scope="module")
def synthesis() -> nn.Module:
    torch.manual_seed(0)
    layout = GeneratorLayout(resolution=16, output_channels=6, largest_width=8, noise=False)
    return StyleGan2Synthesis(layout).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def split(synthesis: nn.Module) -> SplitGraphs:
    joint = trace_joint_graph(lambda w: (synthesis(w),), [torch.zeros(2, 6, 512)], [0])
    return split_at_cheapest_cut(joint, ["W_PLUS"], 1)


def _run(split: SplitGraphs, inputs: dict[str, Tensor], grad_output: Tensor) -> tuple[Tensor, Tensor]:
    output, *extra = split.forward(*inputs.values())
    saved = dict(zip((name for name in split.residuals if name not in inputs), extra, strict=True)) | inputs
    (gradient,) = split.backward(*(saved[name] for name in split.residuals), grad_output)
    return output, gradient


@pytest.mark.parametrize("batch", [1, 3])
def test_both_halves_are_the_function_and_its_gradient(
    synthesis: nn.Module, split: SplitGraphs, batch: int
) -> None:
    codes, grad_image = torch.randn(batch, 6, 512), torch.randn(batch, 6, 16, 16)
    image, gradient = _run(split, {"W_PLUS": codes}, grad_image)
    expected, pull_back = torch.func.vjp(synthesis, codes)
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, pull_back(grad_image)[0], rtol=1e-3, atol=1e-3)


def test_residuals_are_fewer_than_the_activations(synthesis: nn.Module, split: SplitGraphs) -> None:
    sizes: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: sizes.append(out[0].numel() * 4))
        for name, layer in synthesis.named_modules()
        if name.endswith("activate")
    ]
    synthesis(torch.zeros(1, 6, 512))
    for hook in hooks:
        hook.remove()
    # Autograd keeps a layer's input, its convolution's result and its activation; here one of them is saved,
    # besides a few vectors.
    assert sum(sizes) <= split.residual_bytes < 1.5 * sum(sizes)


def test_the_cut_is_where_the_fewest_bytes_cross() -> None:
    narrowing = torch.randn(64, 8)

    def function(x: Tensor) -> tuple[Tensor]:
        # tanh's gradient needs its 128 results, which the 8 numbers that they come from give again.
        return (torch.tanh((x @ narrowing * 2).repeat(1, 16)),)

    joint = trace_joint_graph(function, [torch.zeros(2, 64)], [0])
    split = split_at_cheapest_cut(joint, ["X"], 1)
    assert split.residual_bytes == 8 * 4
    x, gradient_in = torch.randn(5, 64), torch.randn(5, 128)
    expected, pull_back = torch.func.vjp(lambda x: function(x)[0], x)
    output, gradient = _run(split, {"X": x}, gradient_in)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradient, pull_back(gradient_in)[0])


def test_an_input_that_the_gradient_needs_is_not_saved_twice() -> None:
    joint = trace_joint_graph(lambda x, y: (x * y,), [torch.zeros(2, 3)] * 2, [0])
    split = split_at_cheapest_cut(joint, ["X", "Y"], 1)
    assert split.residuals == ("Y",)
    assert len(split.forward(torch.ones(4, 3), torch.ones(4, 3))) == 1


def test_losses_give_each_item_its_own_gradient() -> None:
    graph = trace_losses_with_gradient(lambda x, y: ((x - y) ** 2).sum(1), [torch.zeros(2, 3)] * 2, 0, 8.0)
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    losses, gradient = graph(x, y)
    torch.testing.assert_close(losses, ((x - y) ** 2).sum(1))
    torch.testing.assert_close(gradient, 2 * (x - y))


def test_constants_are_folded_and_repeated_operators_shared() -> None:
    weight = torch.randn(4, 4)
    graph = trace_function(
        lambda x: (torch.relu(x @ (weight * 2).t()) + torch.relu(x @ (weight * 2).t()),), [torch.zeros(2, 4)]
    )
    operators = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert sorted(operators) == ["aten.add.Tensor", "aten.mm.default", "aten.relu.default"]
    x = torch.randn(3, 4)
    torch.testing.assert_close(graph(x)[0], 2 * torch.relu(x @ (weight * 2).t()))


def test_sums_are_not_written_out_before_they_are_multiplied() -> None:
    graph = trace_joint_graph(lambda x: ((x * x).mean((2, 3)),), [torch.zeros(2, 3, 8, 8)], [0])
    assert not any("expand" in str(node.target) for node in graph.graph.nodes)
    x, grad = torch.randn(4, 3, 8, 8), torch.randn(4, 3)
    torch.testing.assert_close(graph(x, grad)[1], grad[:, :, None, None] * 2 * x / 64)


def test_the_derivative_of_a_square_is_no_sum_of_images() -> None:
    def function(x: Tensor) -> tuple[Tensor]:
        return (x * 3 + x * (x * x).mean((2, 3), keepdim=True),)

    graph = trace_joint_graph(function, [torch.zeros(2, 3, 8, 8)], [0])
    sums = [node for node in graph.graph.nodes if node.target is torch.ops.aten.add.Tensor]
    assert len(sums) == 3  # one of the values, two of the gradient
    x, grad = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    expected, pull_back = torch.func.vjp(lambda x: function(x)[0], x)
    torch.testing.assert_close(graph(x, grad), (expected, pull_back(grad)[0]))


def test_half_precision_is_rounded_at_every_operator() -> None:
    def overflows(x: Tensor) -> tuple[Tensor]:
        return ((x.half() * 1000 / 1000).float(),)

    graph = trace_function(overflows, [torch.zeros(2, 1)])
    found = HalfArithmetic(graph).run(torch.tensor([[1.0], [100.0]]))[0]
    assert found[0] == 1
    assert torch.isinf(found[1])


def test_a_gradient_too_small_for_half_precision_survives_scaled() -> None:
    def doubled(x: Tensor) -> tuple[Tensor]:
        return ((x.half() * 2).float(),)

    tiny = torch.full((3, 1), 1e-8)
    for scale, expected in ((1.0, 0.0), (2.0**14, 2e-8)):
        graph = trace_joint_graph(doubled, [torch.zeros(2, 1)], [0], scale)
        gradient = HalfArithmetic(graph).run(torch.ones(3, 1), tiny)[1]
        torch.testing.assert_close(gradient, torch.full((3, 1), expected), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize(
    ("examples", "wrt", "message"),
    [
        ([torch.zeros(2, 3)], [], "wrt must name some of the 1 arguments"),
        ([torch.zeros(2, 3)], [1], "wrt must name some of the 1 arguments"),
        ([torch.zeros(1, 3)], [0], "batch of at least 2"),
        ([torch.zeros(2, 3), torch.zeros(3, 3)], [0], "one and the same batch"),
    ],
)
def test_bad_examples_are_refused(examples: list[Tensor], wrt: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trace_joint_graph(lambda *x: (x[0],), examples, wrt)
