"""ResNet-50 and ResNet-101 with torchvision's parameter names, plain or dilated.

He et al. 2016, "Deep Residual Learning for Image Recognition", table 1, with the stride on the 3 × 3
convolution of a block, as torchvision's and every published checkpoint of the five pipelines have it. The
pipelines use it for the camera (7 outputs), DECA's encoders, Deep3D's regressor and PSPNet's backbone.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

RESNET50_BLOCKS: Final = (3, 4, 6, 3)
RESNET101_BLOCKS: Final = (3, 4, 23, 3)
#: Channels after the last layer.
FEATURES: Final = 2048
_EXPANSION: Final = 4


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions beside a shortcut, which widen to 4·``width``."""

    def __init__(self, channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        out = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            if stride != 1 or channels != out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, 4·width, H/stride, W/stride]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.bn3(self.conv3(y)) + shortcut)


def bottlenecks(
    channels: int, width: int, count: int, stride: int = 1, dilations: tuple[int, int] = (1, 1)
) -> nn.Sequential:
    """A layer of ``count`` blocks from ``channels`` to 4·``width``; the first one has the stride.

    ``dilations`` are those of the first block and of the others: the published dilated networks differ in the
    first.
    """
    first = Bottleneck(channels, width, stride, dilations[0])
    others = (Bottleneck(width * _EXPANSION, width, dilation=dilations[1]) for _ in range(count - 1))
    return nn.Sequential(first, *others)


class ResNet(nn.Module):
    """The network up to its pooled features, or with a last linear layer.

    Args:
        blocks: how many blocks each of the four layers has (``RESNET50_BLOCKS``, ``RESNET101_BLOCKS``).
        outputs: outputs of the last linear layer ``fc``; None: no such layer, the output is the features.
        dilations: (first block, others) of layers 3 and 4; a dilated layer keeps its input's resolution.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int] = RESNET50_BLOCKS,
        outputs: int | None = None,
        dilations: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1)),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = bottlenecks(64, 64, blocks[0])
        self.layer2 = bottlenecks(256, 128, blocks[1], stride=2)
        self.layer3 = bottlenecks(512, 256, blocks[2], _stride(dilations[0]), dilations[0])
        self.layer4 = bottlenecks(1024, 512, blocks[3], _stride(dilations[1]), dilations[1])
        self.fc = None if outputs is None else nn.Linear(FEATURES, outputs)

    def feature_maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """What layers 3 and 4 give for ``image`` [B, 3, H, W]: [B, 1024, H/16, W/16] and [B, 2048, H/32,
        W/32].

        A dilated layer does not halve the resolution.
        """
        stem = torch.relu(self.bn1(self.conv1(image)))
        pooled = nn.functional.max_pool2d(stem, 3, stride=2, padding=1)
        third = self.layer3(self.layer2(self.layer1(pooled)))
        return third, self.layer4(third)

    def forward(self, image: Tensor) -> Tensor:
        """``image`` [B, 3, H, W] → [B, 2048] features, or [B, ``outputs``]."""
        features = self.feature_maps(image)[1].mean((2, 3))
        return features if self.fc is None else self.fc(features)


def _stride(dilations: tuple[int, int]) -> int:
    return 1 if dilations[1] > 1 else 2
