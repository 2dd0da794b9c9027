"""InceptionResnetV1 as FaceNet uses it: a face crop to a 512-d identity embedding of unit length.

Layers of Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning"
(section 3.2, figures 10–17) in the half-width form of the published FaceNet weights; sizes, the BatchNorm
epsilon 0.001, residual scales 0.17, 0.10, 0.20 and parameter names are facenet-pytorch's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_Size = int | tuple[int, int]
# An embedding of all zeros stays zero.
_LEAST_SQUARE = 1e-24


class _ConvolutionUnit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: _Size, stride: int = 1, padding: _Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(features)))


class _ResidualBlock(nn.Module):
    """Branches, concatenated, brought to the input's width by a 1×1 convolution, scaled and added."""

    branches: tuple[str, ...] = ("branch0", "branch1")

    def __init__(self, branch_width: int, width: int, scale: float, rectified: bool = True) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(branch_width, width, 1)
        self.scale = scale
        self.rectified = rectified

    def forward(self, features: Tensor) -> Tensor:
        mixed = torch.cat([getattr(self, name)(features) for name in self.branches], dim=1)
        features = features + self.scale * self.conv2d(mixed)
        return functional.relu(features) if self.rectified else features


class _Block35(_ResidualBlock):
    """Inception-ResNet-A, 256 channels."""

    branches = ("branch0", "branch1", "branch2")

    def __init__(self) -> None:
        super().__init__(branch_width=96, width=256, scale=0.17)
        self.branch0 = _ConvolutionUnit(256, 32, 1)
        self.branch1 = nn.Sequential(_ConvolutionUnit(256, 32, 1), _ConvolutionUnit(32, 32, 3, padding=1))
        self.branch2 = nn.Sequential(
            _ConvolutionUnit(256, 32, 1),
            _ConvolutionUnit(32, 32, 3, padding=1),
            _ConvolutionUnit(32, 32, 3, padding=1),
        )


class _Block17(_ResidualBlock):
    """Inception-ResNet-B, 896 channels."""

    def __init__(self) -> None:
        super().__init__(branch_width=256, width=896, scale=0.10)
        self.branch0 = _ConvolutionUnit(896, 128, 1)
        self.branch1 = nn.Sequential(
            _ConvolutionUnit(896, 128, 1),
            _ConvolutionUnit(128, 128, (1, 7), padding=(0, 3)),
            _ConvolutionUnit(128, 128, (7, 1), padding=(3, 0)),
        )


class _Block8(_ResidualBlock):
    """Inception-ResNet-C, 1792 channels."""

    def __init__(self, scale: float = 0.20, rectified: bool = True) -> None:
        super().__init__(branch_width=384, width=1792, scale=scale, rectified=rectified)
        self.branch0 = _ConvolutionUnit(1792, 192, 1)
        self.branch1 = nn.Sequential(
            _ConvolutionUnit(1792, 192, 1),
            _ConvolutionUnit(192, 192, (1, 3), padding=(0, 1)),
            _ConvolutionUnit(192, 192, (3, 1), padding=(1, 0)),
        )


class _Mixed6a(nn.Module):
    """Reduction from 256 channels at 17² to 896 at 8²."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = _ConvolutionUnit(256, 384, 3, stride=2)
        self.branch1 = nn.Sequential(
            _ConvolutionUnit(256, 192, 1),
            _ConvolutionUnit(192, 192, 3, padding=1),
            _ConvolutionUnit(192, 256, 3, stride=2),
        )

    def forward(self, features: Tensor) -> Tensor:
        pooled = functional.max_pool2d(features, 3, stride=2)
        return torch.cat([self.branch0(features), self.branch1(features), pooled], dim=1)


class _Mixed7a(nn.Module):
    """Reduction from 896 channels at 8² to 1792 at 3²."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(_ConvolutionUnit(896, 256, 1), _ConvolutionUnit(256, 384, 3, stride=2))
        self.branch1 = nn.Sequential(_ConvolutionUnit(896, 256, 1), _ConvolutionUnit(256, 256, 3, stride=2))
        self.branch2 = nn.Sequential(
            _ConvolutionUnit(896, 256, 1),
            _ConvolutionUnit(256, 256, 3, padding=1),
            _ConvolutionUnit(256, 256, 3, stride=2),
        )

    def forward(self, features: Tensor) -> Tensor:
        pooled = functional.max_pool2d(features, 3, stride=2)
        branches = [self.branch0(features), self.branch1(features), self.branch2(features), pooled]
        return torch.cat(branches, dim=1)


class InceptionResnetV1(nn.Module):
    """image f32 [B, 3, 160, 160], RGB, (x − 127.5) / 128 → identity embedding f32 [B, 512] of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = _ConvolutionUnit(3, 32, 3, stride=2)
        self.conv2d_2a = _ConvolutionUnit(32, 32, 3)
        self.conv2d_2b = _ConvolutionUnit(32, 64, 3, padding=1)
        self.conv2d_3b = _ConvolutionUnit(64, 80, 1)
        self.conv2d_4a = _ConvolutionUnit(80, 192, 3)
        self.conv2d_4b = _ConvolutionUnit(192, 256, 3, stride=2)
        self.repeat_1 = nn.Sequential(*(_Block35() for _ in range(5)))
        self.mixed_6a = _Mixed6a()
        self.repeat_2 = nn.Sequential(*(_Block17() for _ in range(10)))
        self.mixed_7a = _Mixed7a()
        self.repeat_3 = nn.Sequential(*(_Block8() for _ in range(5)))
        self.block8 = _Block8(scale=1.0, rectified=False)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=0.001)

    def forward(self, image: Tensor) -> Tensor:
        features = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(image)))
        features = functional.max_pool2d(features, 3, stride=2)
        features = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(features)))
        features = self.mixed_6a(self.repeat_1(features))
        features = self.mixed_7a(self.repeat_2(features))
        features = self.block8(self.repeat_3(features))
        pooled = features.mean(dim=(2, 3))
        embedding = self.last_bn(self.last_linear(pooled))
        return embedding * torch.rsqrt(embedding.square().sum(dim=1, keepdim=True).clamp(min=_LEAST_SQUARE))
