"""PSPNet over a dilated ResNet-101: which pixels of a photo are face, for the "normalized" pipeline.

Zhao et al., "Pyramid Scene Parsing Network" (section 3.2, figure 3: pooling to 1, 2, 3 and 6 bins), which
Luo et al. train on CelebAMask-HQ (section 3.3). Layer sizes and parameter names are those of the authors'
PyTorch code (semseg), whose ResNet has a stem of three 3×3 convolutions; its auxiliary training head is
left out.
"""

import torch
from torch import Tensor, nn

from facewright_export.networks.aligned_resize import resize_aligned
from facewright_export.networks.resnet import RESNET101_BLOCKS, bottlenecks

#: CelebAMask-HQ's classes: background and eighteen parts of a head.
CELEBAMASK_CLASS_COUNT = 19
#: The side that the published networks are trained at: 8·59 + 1 keeps corners aligned through the strides.
IMAGE_SIDE = 473
_BINS = (1, 2, 3, 6)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


class _PyramidPooling(nn.Module):
    """Features beside their means over 1, 2², 3² and 6² regions: [B, 2048, H, W] → [B, 4096, H, W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(width, width // len(_BINS), 1, bias=False),
                nn.BatchNorm2d(width // len(_BINS)),
                nn.ReLU(),
            )
            for bins in _BINS
        )

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[2], features.shape[3]
        pooled = [resize_aligned(level(features), size) for level in self.features]
        return torch.cat([features, *pooled], dim=1)


class PspNet(nn.Module):
    """image f32 [B, 3, H, W], RGB, ImageNet-normalised → class logits f32 [B, classes, H, W].

    H and W are `IMAGE_SIDE`; other sides must be a multiple of 8 plus 1.
    """

    def __init__(self, class_count: int = CELEBAMASK_CLASS_COUNT) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            *_convolution(3, 64, stride=2),
            *_convolution(64, 64),
            *_convolution(64, 128),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        counts = RESNET101_BLOCKS
        self.layer1 = bottlenecks(128, 64, counts[0])
        self.layer2 = bottlenecks(256, 128, counts[1], stride=2)
        self.layer3 = bottlenecks(512, 256, counts[2], dilations=(2, 2))
        self.layer4 = bottlenecks(1024, 512, counts[3], dilations=(4, 4))
        self.ppm = _PyramidPooling(2048)
        self.cls = nn.Sequential(*_convolution(4096, 512), nn.Identity(), nn.Conv2d(512, class_count, 1))

    def forward(self, image: Tensor) -> Tensor:
        if any(side % 8 != 1 for side in image.shape[2:]):
            raise ValueError(f"height and width must be multiples of 8 plus 1; got {tuple(image.shape[2:])}")
        features = self.layer2(self.layer1(self.layer0(image)))
        features = self.ppm(self.layer4(self.layer3(features)))
        logits = self.cls(features)
        return resize_aligned(logits, (image.shape[2], image.shape[3]))
