"""Backward operators that ONNX has no name for, said with operators that it has.

Autograd's formulas end in a few fused operators (``convolution_backward`` and its kind). Refinement needs
their gradient by the *input* only: weights are constants. Each function here has the signature of the
operator of `torch.ops.aten` that it stands for, and is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

Ints = list[int]
#: A float32 that takes every positive one but denormals beyond 1.
_BEYOND_ONE: Final = 3e38


def convolution_backward(
    grad_output: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Ints | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
    output_mask: list[bool],
) -> tuple[Tensor | None, None, None]:
    """Gradient of a convolution by its input.

    A transposed convolution's is the plain convolution with the same weights. A plain one's is, at stride
    1, the convolution with the weights turned over (ONNX Runtime's convolution is several times as fast as
    its transposed one), else the transposed convolution, whose output padding restores the rows the stride
    left out.

    Raises:
        ValueError: autograd asks for the gradient by the weights or the bias.
    """
    if output_mask[1] or output_mask[2]:
        raise ValueError(
            "the function is differentiated by a convolution's weights or bias; only gradients by "
            "activations are exported: call requires_grad_(False) on the module"
        )
    if transposed:
        return _convolution(grad_output, weight, stride, padding, dilation, groups), None, None
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if all(s == 1 for s in stride) and all(r >= p for r, p in zip(reach, padding, strict=True)):
        turned = _swap_channels(weight, groups).flip(*range(2, weight.ndim))
        around = [r - p for r, p in zip(reach, padding, strict=True)]
        return _convolution(grad_output, turned, stride, around, dilation, groups), None, None
    left_out = [
        size - ((out - 1) * s - 2 * p + r + 1)
        for size, out, s, p, r in zip(x.shape[2:], grad_output.shape[2:], stride, padding, reach, strict=True)
    ]
    gradient = torch.ops.aten.convolution.default(
        grad_output, weight, None, stride, padding, dilation, True, left_out, groups
    )
    return gradient, None, None


def max_pool2d_backward(
    grad_output: Tensor,
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """Gradient of max pooling by its input, without indices: it goes to each input that equals its window's
    maximum.

    Where several inputs of a window tie, all of them get it (autograd's choice is the first). After a ReLU,
    ties are zeros, whose gradient the ReLU stops; ties of other floats do not happen.

    Raises:
        ValueError: padding, dilation or ceil_mode: no network here pools like that.
    """
    if any(padding) or any(d != 1 for d in dilation) or ceil_mode:
        raise ValueError(
            f"max pooling with padding {padding}, dilation {dilation}, ceil_mode {ceil_mode} has no gradient "
            "here; write it into facewright_export.gradients.decompositions"
        )
    stride = stride or kernel
    pooled = torch.ops.aten.max_pool2d_with_indices.default(x, kernel, stride)[0]
    rows, columns = x.shape[2:]
    whole = (rows, columns) == (pooled.shape[2] * stride[0], pooled.shape[3] * stride[1])
    if kernel == stride and whole:
        best, spread = _enlarged(pooled, stride), _enlarged(grad_output, stride)
        return torch.where(x >= best, spread, torch.zeros((), dtype=x.dtype))
    # Windows overlap: one channel for each place in the window, which a transposed convolution with one-hot
    # weights puts there and sums.
    shares = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            end_i, end_j = (
                i + stride[0] * (pooled.shape[2] - 1) + 1,
                j + stride[1] * (pooled.shape[3] - 1) + 1,
            )
            seen = x[:, :, i : end_i : stride[0], j : end_j : stride[1]]
            shares.append(torch.where(seen >= pooled, grad_output, torch.zeros((), dtype=x.dtype)))
    channels, places = x.shape[1], len(shares)
    stacked = torch.stack(shares, 2).flatten(1, 2)
    place = torch.eye(places, dtype=x.dtype).reshape(places, 1, *kernel).repeat(channels, 1, 1, 1)
    left_out = [
        size - ((out - 1) * s + k)
        for size, out, s, k in zip(x.shape[2:], pooled.shape[2:], stride, kernel, strict=True)
    ]
    result: Tensor = torch.ops.aten.convolution.default(
        stacked, place, None, stride, [0, 0], [1, 1], True, left_out, channels
    )
    return result


def leaky_relu_backward(grad_output: Tensor, x: Tensor, slope: float, from_result: bool) -> Tensor:
    """Gradient of leaky ReLU: the slope of the side that ``x`` (or, of the same sign, the result) lies on."""
    return grad_output * side_slope(x, slope)


def threshold_backward(grad_output: Tensor, x: Tensor, threshold: float) -> Tensor:
    """Gradient of ReLU by its input, from the input or the result ``x``.

    Half precision selects instead of multiplying by 0 or 1: where all channels of a pixel are 0, the
    gradient of a feature vector's direction is beyond it, and infinity times 0 would be NaN.

    Raises:
        ValueError: a threshold other than 0: no network here has one.
    """
    if threshold != 0:
        raise ValueError(f"only ReLU (threshold 0) has a gradient here, not a threshold of {threshold}")
    if x.dtype == torch.float32:
        return grad_output * side_slope(x, 0.0)
    return torch.where(x > 0, grad_output, torch.zeros((), dtype=x.dtype))


def sum_dim_int_list(
    x: Tensor, dim: Ints | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """Sum along axes. Over the channels of images it is a product with ones.

    ONNX Runtime's ReduceSum takes twenty times as long along channels, whose values lie far apart; to a GPU
    both are one reading of the image.
    """
    if dim != [1] or not keepdim or x.ndim != 4 or x.dtype != torch.float32:
        return NotImplemented  # what make_fx takes for: leave it as it is
    batch, channels, rows, columns = x.shape
    ones = x.new_ones((batch, 1, channels))
    return torch.bmm(ones, x.reshape(batch, channels, rows * columns)).reshape(batch, 1, rows, columns)


def side_slope(x: Tensor, lower: float) -> Tensor:
    """1 where ``x`` is positive, else ``lower``.

    In float32 by scaling until every positive number that is not denormal exceeds 1: ONNX Runtime clips in a
    fraction of the time that it selects. In half precision denormals occur, and GPUs select as fast.
    """
    if x.dtype == torch.float32:
        return torch.clamp(x * _BEYOND_ONE, lower, 1.0)
    one, less = (torch.full((), value, dtype=x.dtype) for value in (1.0, lower))
    return torch.where(x > 0, one, less)


def _convolution(
    x: Tensor, weight: Tensor, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:
    result: Tensor = torch.ops.aten.convolution.default(
        x, weight, None, stride, padding, dilation, False, [0, 0], groups
    )
    return result


def _swap_channels(weight: Tensor, groups: int) -> Tensor:
    """Weights [G·O, I, ...] of a grouped convolution as [G·I, O, ...]: those of the opposite direction."""
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return grouped.transpose(1, 2).reshape(groups * weight.shape[1], -1, *weight.shape[2:])


def _enlarged(x: Tensor, factor: Ints) -> Tensor:
    """Each pixel repeated ``factor`` times along rows and columns.

    ONNX Runtime's nearest Resize takes a thirtieth of the time of an Expand between the axes.
    """
    rows, columns = x.shape[2] * factor[0], x.shape[3] * factor[1]
    result: Tensor = torch.ops.aten.upsample_nearest2d.default(x, [rows, columns], *map(float, factor))
    return result


#: What `torch.fx.experimental.proxy_tensor.make_fx` takes as ``decomposition_table``.
BACKWARD_OPERATORS: Final[dict[Any, Callable[..., Any]]] = {
    torch.ops.aten.convolution_backward.default: convolution_backward,
    torch.ops.aten.max_pool2d_with_indices_backward.default: max_pool2d_backward,
    torch.ops.aten.leaky_relu_backward.default: leaky_relu_backward,
    torch.ops.aten.threshold_backward.default: threshold_backward,
    torch.ops.aten.sum.dim_IntList: sum_dim_int_list,
}
