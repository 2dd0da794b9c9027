"""IResNet-50 and IResNet-100, the backbones of ArcFace, with insightface's parameter names.

Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition": residual blocks that
normalise before the first convolution and have no activation after the sum, then batch normalisation, a
linear layer and batch normalisation again (the dropout between is training's). MICA and AlbedoGAN keep the
100-layer one in their files.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

IRESNET50_BLOCKS: Final = (3, 4, 14, 3)
IRESNET100_BLOCKS: Final = (3, 13, 30, 3)
#: Height and width of the aligned face that the network sees, pixels.
INPUT_SIZE: Final = 112
_WIDTHS: Final = (64, 128, 256, 512)
_LAST_SIZE: Final = 7


class _Block(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn3(self.conv2(y)) + shortcut


class IResNet(nn.Module):
    """Face embedding: f32 [B, 3, 112, 112], RGB as (value − 127.5)/127.5 → f32 [B, ``features``], not
    normalised.

    Args:
        blocks: how many blocks each of the four layers has (``IRESNET50_BLOCKS``, ``IRESNET100_BLOCKS``).
        features: length of the embedding.
    """

    def __init__(self, blocks: tuple[int, int, int, int] = IRESNET50_BLOCKS, features: int = 512) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0])
        self.prelu = nn.PReLU(_WIDTHS[0])
        channels = _WIDTHS[0]
        for i, (count, width) in enumerate(zip(blocks, _WIDTHS, strict=True), 1):
            first = _Block(channels, width, stride=2)
            layer = nn.Sequential(first, *(_Block(width, width, stride=1) for _ in range(count - 1)))
            setattr(self, f"layer{i}", layer)
            channels = width
        self.bn2 = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels * _LAST_SIZE * _LAST_SIZE, features)
        self.features = nn.BatchNorm1d(features)

    def forward(self, face: Tensor) -> Tensor:
        """``face`` [B, 3, 112, 112] → [B, ``features``]; a cosine between two of them compares two people."""
        x = self.prelu(self.bn1(self.conv1(face)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


def identity_direction(embedding: Tensor) -> Tensor:
    """``embedding`` [B, N] at unit length: what ArcFace's cosine and MICA's regressor read."""
    return functional.normalize(embedding)
