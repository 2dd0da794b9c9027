"""StyleGAN2's layers in a form whose gradient reads and writes their maps less often.

An iteration of refinement spends what it does not spend in convolutions on passes over feature maps.
Autograd's formulas, followed operator by operator, take about twice as many as are needed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from facewright_export.gradients.decompositions import side_slope
from facewright_export.gradients.refinement_functions import constant_copy
from facewright_export.networks.stylegan2 import StyledConvolution, ToImage

_SLOPE = 0.2
_GAIN = math.sqrt(2)


def with_lean_gradients(network: nn.Module) -> nn.Module:
    """A constant copy that computes the same, its StyleGAN2 layers in the forms below.

    Layers that clamp their activations stay as they are. A network without such layers is only copied.
    """
    copy = constant_copy(network)
    for name, layer in list(copy.named_modules()):
        if isinstance(layer, StyledConvolution) and layer.clamp is None:
            copy.set_submodule(name, _LeanStyledConvolution(layer))
        elif isinstance(layer, ToImage) and layer.clamp is None:
            copy.set_submodule(name, _LeanToImage(layer))
    return copy


class _LeanStyledConvolution(nn.Module):
    """A styled convolution; the gain behind its activation, which is positive, is in front of it."""

    def __init__(self, layer: StyledConvolution) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        layer = self.layer
        scales = layer.conv.modulation(style)
        result: Tensor = _ScaledActivation.apply(
            layer.conv.modulated(features, scales),
            layer.conv.demodulation(scales) * _GAIN,
            layer.activate.bias[:, None, None] * _GAIN,
            None if noise is None else layer.noise.weight * noise * _GAIN,
        )
        return result


class _LeanToImage(nn.Module):
    """Features to image channels; styles scale the few weights instead of the features."""

    def __init__(self, layer: ToImage) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, features: Tensor, style: Tensor, image: Tensor | None = None) -> Tensor:
        layer = self.layer
        batch, channels, rows, columns = features.shape
        weights = layer.conv.weight.reshape(-1, channels) * layer.conv.weight_scale
        styled = weights * layer.conv.modulation(style).unsqueeze(1)
        pixels = features.reshape(batch, channels, rows * columns)
        increment = torch.bmm(styled, pixels).reshape(batch, -1, rows, columns) + layer.bias
        return increment if image is None else increment + layer.upsample(image)


class _ScaledActivation(torch.autograd.Function):
    """Leaky ReLU of ``x · scale + bias + noise``; the gradient comes from the result alone.

    x [B, C, H, W], scale [B, C, 1, 1] and positive, bias [C, 1, 1], noise [1, 1, H, W] or None; bias and
    noise are constants. With v the argument and y = σ v the result, where σ is 1 or the slope, and g the
    gradient by y: the gradient by v is σ g, and that by the scale is Σ σ g x = (Σ g y - Σ σ g (bias + noise))
    / scale. So neither x nor v is kept or computed again.
    """

    @staticmethod
    def forward(x: Tensor, scale: Tensor, bias: Tensor, noise: Tensor | None) -> Tensor:
        argument = x * scale
        if noise is not None:
            argument = argument + noise
        return functional.leaky_relu(argument + bias, _SLOPE)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:], output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        scale, bias, noise, result = ctx.saved_tensors
        (grad,) = grads
        by_argument = grad * side_slope(result, _SLOPE)
        weighted = (grad * result).sum((2, 3), keepdim=True) - by_argument.sum((2, 3), keepdim=True) * bias
        if noise is not None:
            weighted = weighted - (by_argument * noise).sum((2, 3), keepdim=True)
        return by_argument * scale, weighted / scale, None, None
