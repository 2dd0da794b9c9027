"""Backward operators in terms of ONNX's operators, against autograd."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from facewright_export.gradients.joint_graph import trace_joint_graph


def _gradients(function, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of autograd, and of the traced graph."""
    random = torch.Generator().manual_seed(1)
    leaf = x.clone().requires_grad_(True)
    value = function(leaf)
    grad_value = torch.randn(value.shape, generator=random)
    expected = torch.autograd.grad(value, leaf, grad_value)[0]
    graph = trace_joint_graph(lambda x: (function(x),), [x], [0])
    used = {str(node.target) for node in graph.graph.nodes}
    assert not any("backward" in name for name in used), used
    return expected, graph(x, grad_value)[1]


def _image(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((2, 4, 7, 9), (6, 4, 3, 3), {"padding": 1}),
        ((2, 4, 7, 9), (6, 4, 3, 3), {}),
        ((2, 4, 8, 9), (6, 4, 3, 3), {"stride": 2}),
        ((2, 4, 8, 9), (6, 4, 3, 3), {"stride": 2, "padding": 1}),
        ((2, 4, 7, 9), (6, 4, 1, 7), {"padding": (0, 3)}),
        ((2, 4, 9, 9), (6, 4, 3, 3), {"padding": 2, "dilation": 2}),
        ((2, 4, 7, 9), (4, 1, 4, 4), {"padding": 1, "groups": 4}),
        ((2, 4, 7, 9), (6, 2, 3, 3), {"padding": 1, "groups": 2}),
        ((2, 4, 7, 9), (6, 4, 1, 1), {"padding": 1}),
    ],
)
def test_convolution(shape, weight, options) -> None:
    kernel = _image(*weight)
    expected, found = _gradients(lambda x: functional.conv2d(x, kernel, **options), _image(*shape))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("weight", "options"),
    [
        ((4, 6, 3, 3), {"stride": 2}),
        ((4, 6, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        ((4, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 4}),
    ],
)
def test_transposed_convolution(weight, options) -> None:
    kernel = _image(*weight)
    expected, found = _gradients(
        lambda x: functional.conv_transpose2d(x, kernel, **options), _image(2, 4, 5, 6)
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((8, 6), 2, 2), ((9, 7), 2, 2), ((9, 11), 3, 2), ((10, 8), 3, 2), ((7, 7), 3, 1)],
)
def test_max_pooling(size, kernel, stride) -> None:
    expected, found = _gradients(lambda x: functional.max_pool2d(x, kernel, stride), _image(2, 3, *size))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_max_pooling_behind_relu_gives_ties_at_zero_no_gradient() -> None:
    def pooled(x: Tensor) -> Tensor:
        return functional.max_pool2d(functional.relu(x), 2)

    x = _image(2, 3, 8, 8) - 1  # most windows are all zero behind the ReLU
    expected, found = _gradients(pooled, x)
    assert (expected == 0).sum() > expected.numel() / 2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("activation", [functional.relu, lambda x: functional.leaky_relu(x, 0.2)])
def test_activations_at_negative_positive_and_zero(activation) -> None:
    x = torch.tensor([[-2.0, -0.5, 0.0, 0.5, 2.0]] * 2)
    expected, found = _gradients(activation, x)
    torch.testing.assert_close(found, expected)


def test_half_precision_relu_stops_an_infinite_gradient_instead_of_making_it_nan() -> None:
    graph = trace_joint_graph(lambda x: (functional.relu(x),), [torch.zeros(2, 2).half()], [0])
    x = torch.tensor([[-1.0, 1.0], [0.0, 2.0]]).half()
    gradient = graph(x, torch.tensor([[float("inf"), 1.0], [float("inf"), 3.0]]).half())[1]
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.0], [0.0, 3.0]]).half())


@pytest.mark.parametrize("activation", [functional.relu, lambda x: functional.leaky_relu(x, 0.2)])
def test_the_smallest_and_largest_floats_lie_on_their_sides(activation) -> None:
    smallest, largest = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
    x = torch.tensor([[-largest, -smallest, -0.0, smallest, largest]] * 2)
    expected, found = _gradients(activation, x)
    torch.testing.assert_close(found, expected)


def test_sums_over_channels() -> None:
    x = _image(3, 5, 4, 6)
    expected, found = _gradients(lambda x: x * x.sum(1, keepdim=True), x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for rest in ({"dim": 1}, {"dim": (1, 2), "keepdim": True}, {"dim": 2, "keepdim": True}):
        expected, found = _gradients(lambda x, rest=rest: x.sum(**rest).sin(), x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_that_want_gradients_are_refused() -> None:
    kernel = _image(6, 4, 3, 3)

    def by_weights(x: Tensor) -> tuple[Tensor]:
        return (functional.conv2d(_image(2, 4, 5, 5), kernel * x.mean()),)

    with pytest.raises(ValueError, match="weights or bias"):
        trace_joint_graph(by_weights, [_image(2, 3)], [0])


def test_pooling_without_a_gradient_here_is_refused() -> None:
    with pytest.raises(ValueError, match="padding \\[1, 1\\]"):
        _gradients(lambda x: functional.max_pool2d(x, 3, 2, padding=1), _image(2, 3, 8, 8))
