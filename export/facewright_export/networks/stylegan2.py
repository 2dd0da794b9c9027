"""StyleGAN2 for inference engines (Karras et al., "Analyzing and Improving the Image Quality of StyleGAN").

Weight demodulation (sections 2.2 and appendix B, equations 1 and 3) is computed *unfused*: the input is
scaled by the style, convolved with constant weights, and the output is multiplied by `rsqrt(Σ (s·w)² + ε)`.
That is equal to convolving with per-sample weights, and its graph has a dynamic batch. Resampling by the
[1, 3, 3, 1] filter is a depthwise convolution. Parameter names are those of rosinality's checkpoints
(`g_ema`).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_DEMODULATION_EPSILON = 1e-8
_RESAMPLING_TAPS = (1.0, 3.0, 3.0, 1.0)


@dataclass(frozen=True)
class GeneratorLayout:
    """Sizes of a StyleGAN2 synthesis network; the defaults are the published 256² face generator.

    `channel_multiplier` 2 is the published configuration F, 1 its half-width variant; `largest_width` caps
    the channels of every resolution, which is how small demonstration networks are made. Without `noise`
    the network has no noise inputs at all (the "normalized" paper trains that way).
    `activation_clamp` bounds what each layer puts out, as NVIDIA's half-precision networks do (at 256).
    """

    resolution: int = 256
    output_channels: int = 3
    channel_multiplier: float = 2
    largest_width: int = 512
    style_width: int = 512
    noise: bool = True
    activation_clamp: float | None = None

    def __post_init__(self) -> None:
        if self.activation_clamp is not None and not self.activation_clamp > 0:
            raise ValueError(f"activation_clamp must be positive; got {self.activation_clamp}")
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution must be a power of two from 8 up; got {self.resolution}")

    @property
    def style_count(self) -> int:
        """How many style vectors one W+ code holds: 14 at 256², 18 at 1024²."""
        return 2 * (self.resolution.bit_length() - 1) - 2

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, … `resolution`."""
        return tuple(1 << i for i in range(2, self.resolution.bit_length()))

    def width(self, resolution: int) -> int:
        """Channels of the feature maps at `resolution`."""
        return min(self.largest_width, int(16384 * self.channel_multiplier) // resolution)


def _resampling_kernel(gain: float) -> Tensor:
    taps = torch.tensor(_RESAMPLING_TAPS)
    kernel = taps[:, None] * taps[None, :]
    return kernel * (gain / kernel.sum())


class _Blur(nn.Module):
    """The filter after a stride-2 transposed convolution: [B, C, 2H+1, 2W+1] → [B, C, 2H, 2W]."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _resampling_kernel(gain=4.0))

    def forward(self, features: Tensor) -> Tensor:
        channels = features.shape[1]
        weight = self.kernel.flip((0, 1)).expand(channels, 1, -1, -1)
        return functional.conv2d(features, weight, padding=1, groups=channels)


class _Upsample(nn.Module):
    """Doubles an image with the resampling filter: [B, C, H, W] → [B, C, 2H, 2W]."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _resampling_kernel(gain=4.0))

    def forward(self, image: Tensor) -> Tensor:
        channels = image.shape[1]
        weight = self.kernel.expand(channels, 1, -1, -1)
        return functional.conv_transpose2d(image, weight, stride=2, padding=1, groups=channels)


class _EqualizedLinear(nn.Module):
    """A linear layer whose weights are stored at unit variance and scaled when used: [B, I] → [B, O]."""

    def __init__(
        self, inputs: int, outputs: int, initial_bias: float = 0.0, learning_rate_multiplier: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / learning_rate_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), initial_bias))
        self.weight_scale = learning_rate_multiplier / math.sqrt(inputs)
        self.bias_scale = learning_rate_multiplier

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight * self.weight_scale, self.bias * self.bias_scale)


def _scaled_leaky_relu(values: Tensor) -> Tensor:
    return functional.leaky_relu(values, 0.2) * math.sqrt(2)


class _PixelNorm(nn.Module):
    """Each vector divided by its root mean square: [B, N] → [B, N]."""

    def forward(self, values: Tensor) -> Tensor:
        return values * torch.rsqrt((values * values).mean(dim=1, keepdim=True) + 1e-8)


class _MappingLayer(_EqualizedLinear):
    def forward(self, values: Tensor) -> Tensor:
        return _scaled_leaky_relu(super().forward(values))


class StyleGan2Mapping(nn.Module):
    """The mapping network: z f32 [B, 512] → w f32 [B, 512]; eight layers at learning-rate multiplier 0.01.

    Keys are `style.1.weight` … `style.8.bias`, the part of a published generator that synthesis does not use.
    """

    def __init__(self, style_width: int = 512, layer_count: int = 8) -> None:
        super().__init__()
        layers = [
            _MappingLayer(style_width, style_width, learning_rate_multiplier=0.01) for _ in range(layer_count)
        ]
        self.style = nn.Sequential(_PixelNorm(), *layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.style(z)


class _ModulatedConvolution(nn.Module):
    """Equations 1 and 3: features [B, I, H, W], style [B, S] → [B, O, H, W], or doubled with `upsample`."""

    def __init__(
        self, inputs: int, outputs: int, size: int, style_width: int, upsample: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, size, size))
        self.modulation = _EqualizedLinear(style_width, inputs, initial_bias=1.0)
        self.weight_scale = 1 / math.sqrt(inputs * size * size)
        self.size = size
        self.upsample = upsample
        if upsample:
            self.blur = _Blur()

    def modulated(self, features: Tensor, scales: Tensor) -> Tensor:
        """The convolution of features scaled by channel, scales [B, I], before demodulation."""
        scaled = features * _of_images(scales)
        weight = self.weight[0] * self.weight_scale
        if self.upsample:
            return self.blur(functional.conv_transpose2d(scaled, weight.transpose(0, 1), stride=2))
        return functional.conv2d(scaled, weight, padding=self.size // 2)

    def demodulation(self, scales: Tensor) -> Tensor:
        """The factor of each output channel, [B, O, 1, 1]."""
        energy = (self.weight[0] * self.weight_scale).square().sum(dim=(2, 3))
        return _of_images(torch.rsqrt(functional.linear(scales * scales, energy) + _DEMODULATION_EPSILON))


def _of_images(factors: Tensor) -> Tensor:
    """[B, C] as [B, C, 1, 1]; not by an index, whose gradient would scatter into zeros."""
    return factors.unsqueeze(2).unsqueeze(3)


class _FixedNoise(nn.Module):
    """Adds one fixed image of noise, [1, 1, H, W], times a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        return features + self.weight * noise


class _BiasedActivation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        return _scaled_leaky_relu(features + self.bias[:, None, None])


def _clamped(features: Tensor, limit: float | None) -> Tensor:
    return features if limit is None else features.clamp(-limit, limit)


class StyledConvolution(nn.Module):
    """Modulated 3×3 convolution, demodulation, noise, bias, activation.

    Features f32 [B, inputs, H, W], style f32 [B, style_width], noise f32 [1, 1, H', W'] or None → features
    f32 [B, outputs, H', W']; with ``upsample`` the sides are twice as long.
    """

    def __init__(self, inputs: int, outputs: int, layout: GeneratorLayout, upsample: bool = False) -> None:
        super().__init__()
        self.conv = _ModulatedConvolution(inputs, outputs, 3, layout.style_width, upsample)
        if layout.noise:
            self.noise = _FixedNoise()
        self.activate = _BiasedActivation(outputs)
        self.clamp = layout.activation_clamp

    def forward(self, features: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        scales = self.conv.modulation(style)
        features = self.conv.modulated(features, scales) * self.conv.demodulation(scales)
        if noise is not None:
            features = self.noise(features, noise)
        return _clamped(self.activate(features), self.clamp)


class ToImage(nn.Module):
    """Features to image channels: a modulated 1×1 convolution, not demodulated, added to the image so far.

    Features f32 [B, inputs, H, W], style f32 [B, style_width], image so far or None → image f32
    [B, output_channels, H, W]. With ``upsample`` the image so far has sides half as long.
    """

    def __init__(self, inputs: int, layout: GeneratorLayout, upsample: bool = True) -> None:
        super().__init__()
        self.conv = _ModulatedConvolution(inputs, layout.output_channels, 1, layout.style_width)
        self.bias = nn.Parameter(torch.zeros(1, layout.output_channels, 1, 1))
        self.clamp = layout.activation_clamp
        if upsample:
            self.upsample = _Upsample()

    def forward(self, features: Tensor, style: Tensor, image: Tensor | None = None) -> Tensor:
        increment = self.conv.modulated(features, self.conv.modulation(style)) + self.bias
        increment = _clamped(increment, self.clamp)
        return increment if image is None else increment + self.upsample(image)


class _ConstantInput(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class StyleGan2Synthesis(nn.Module):
    """The synthesis network: w_plus f32 [B, L, style_width] → image f32 [B, output_channels, R, R].

    L is `layout.style_count`; the image lies about in −1 … 1. With noise, the checkpoint's own fixed noise
    images are added, so that one code always gives one image. A w code is repeated L times to make a
    w_plus.
    """

    def __init__(self, layout: GeneratorLayout | None = None) -> None:
        super().__init__()
        self.layout = layout = layout or GeneratorLayout()
        width = layout.width(4)
        self.input = _ConstantInput(width)
        self.conv1 = StyledConvolution(width, width, layout)
        self.to_rgb1 = ToImage(width, layout, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for resolution in layout.resolutions[1:]:
            outputs = layout.width(resolution)
            self.convs.append(StyledConvolution(width, outputs, layout, upsample=True))
            self.convs.append(StyledConvolution(outputs, outputs, layout))
            self.to_rgbs.append(ToImage(outputs, layout))
            width = outputs
        if layout.noise:
            self.noises = nn.Module()
            for i in range(len(self.convs) + 1):
                side = 2 ** ((i + 5) // 2)
                self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, side, side))

    def forward(self, w_plus: Tensor) -> Tensor:
        styles = w_plus.unbind(dim=1)
        features = self.conv1(self.input.input, styles[0], self._noise(0))
        image = self.to_rgb1(features, styles[1])
        for i, to_image in enumerate(self.to_rgbs):
            features = self.convs[2 * i](features, styles[2 * i + 1], self._noise(2 * i + 1))
            features = self.convs[2 * i + 1](features, styles[2 * i + 2], self._noise(2 * i + 2))
            image = to_image(features, styles[2 * i + 3], image)
        return image

    def _noise(self, i: int) -> Tensor | None:
        return getattr(self.noises, f"noise_{i}") if self.layout.noise else None
