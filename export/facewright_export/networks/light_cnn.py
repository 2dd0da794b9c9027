"""LightCNN-29 v2: a face crop to the 256-d identity feature of the "twin" pipeline.

Wu et al., "A Light CNN for Deep Face Representation with Noisy Labels" (section 3). Version 2 of the
29-layer network pools by the sum of maximum and mean and ends in one linear layer; layer sizes and parameter
names are those of the authors' published weights. The Digital Twin paper uses it as its
shape regressor's feature encoder (section 3.3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class _MaxFeatureMap(nn.Module):
    """A convolution to twice the channels and the larger of each pair: [B, I, H, W] → [B, O, H, W]."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(inputs, 2 * outputs, size, padding=size // 2)

    def forward(self, features: Tensor) -> Tensor:
        first, second = self.filter(features).chunk(2, dim=1)
        return torch.maximum(first, second)


class _Group(nn.Module):
    """A 1×1 and a 3×3 convolution, each with Max-Feature-Map."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_a = _MaxFeatureMap(inputs, inputs, 1)
        self.conv = _MaxFeatureMap(inputs, outputs, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(self.conv_a(features))


class _ResidualBlock(nn.Module):
    """Two 3×3 convolutions with Max-Feature-Map beside an identity shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = _MaxFeatureMap(width, width, 3)
        self.conv2 = _MaxFeatureMap(width, width, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv2(self.conv1(features)) + features


def _halved(features: Tensor) -> Tensor:
    """[B, C, H, W] → [B, C, H/2, W/2]: the maximum plus the mean of each 2×2 block."""
    return functional.max_pool2d(features, 2) + functional.avg_pool2d(features, 2)


class LightCnn29V2(nn.Module):
    """image f32 [B, 1, 128, 128], grey, 0 … 1 → identity feature f32 [B, 256], not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _MaxFeatureMap(1, 48, 5)
        widths = (48, 96, 192, 128, 128)
        for i, block_count in enumerate((1, 2, 3, 4)):
            blocks = (_ResidualBlock(widths[i]) for _ in range(block_count))
            self.add_module(f"block{i + 1}", nn.Sequential(*blocks))
            self.add_module(f"group{i + 1}", _Group(widths[i], widths[i + 1]))
        self.fc = nn.Linear(8 * 8 * 128, 256)

    def forward(self, image: Tensor) -> Tensor:
        features = _halved(self.conv1(image))
        features = _halved(self.group1(self.block1(features)))
        features = _halved(self.group2(self.block2(features)))
        features = self.group3(self.block3(features))
        features = _halved(self.group4(self.block4(features)))
        return self.fc(features.flatten(1))
