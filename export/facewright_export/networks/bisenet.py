"""BiSeNet, the face parser that owners really have: which part of a head each pixel of a photo is.

Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation" (figures 2 and 3),
as in face-parsing.PyTorch: ResNet-18 features stand in for the spatial path. Parameter names are those of
its published `79999_iter.pth`; the two auxiliary training heads (`conv_out16`, `conv_out32`) are left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from facewright_export.networks.aligned_resize import resize_aligned

#: The network's classes in order (CelebAMask-HQ's); left and right as that data set names them.
FACE_PARTS = (
    "background",
    "skin",
    "brow_left",
    "brow_right",
    "eye_left",
    "eye_right",
    "eyeglasses",
    "ear_left",
    "ear_right",
    "earring",
    "nose",
    "mouth_inside",
    "lip_upper",
    "lip_lower",
    "neck",
    "necklace",
    "cloth",
    "hair",
    "hat",
)


class _ConvolutionUnit(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(features)))


class _BasicBlock(nn.Module):
    """ResNet-18's block: two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        residual = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(residual)) + self.downsample(features))


class _ResNet18(nn.Module):
    """image [B, 3, H, W] → features at 1/8, 1/16 and 1/32 of its size: 128, 256 and 512 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(_BasicBlock(64, 64, 1), _BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(_BasicBlock(64, 128, 2), _BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(_BasicBlock(128, 256, 2), _BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(_BasicBlock(256, 512, 2), _BasicBlock(512, 512, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = functional.relu(self.bn1(self.conv1(image)))
        features = functional.max_pool2d(features, 3, stride=2, padding=1)
        eighth = self.layer2(self.layer1(features))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


def _mean(features: Tensor) -> Tensor:
    """The mean over all pixels: [B, C, H, W] → [B, C, 1, 1]."""
    return features.mean(dim=(2, 3), keepdim=True)


class _AttentionRefinement(nn.Module):
    """Features weighted by a sigmoid of their mean (figure 2b)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _ConvolutionUnit(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        features = self.conv(features)
        return features * torch.sigmoid(self.bn_atten(self.conv_atten(_mean(features))))


class _ContextPath(nn.Module):
    """image [B, 3, H, W] → [B, 128, H/8, W/8] of local and of wide context."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = _ResNet18()
        self.arm16 = _AttentionRefinement(256, 128)
        self.arm32 = _AttentionRefinement(512, 128)
        self.conv_head32 = _ConvolutionUnit(128, 128)
        self.conv_head16 = _ConvolutionUnit(128, 128)
        self.conv_avg = _ConvolutionUnit(512, 128, size=1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        eighth, sixteenth, thirty_second = self.resnet(image)
        context = self.arm32(thirty_second) + self.conv_avg(_mean(thirty_second))
        context = self.conv_head32(functional.interpolate(context, scale_factor=2.0, mode="nearest"))
        context = self.arm16(sixteenth) + context
        context = self.conv_head16(functional.interpolate(context, scale_factor=2.0, mode="nearest"))
        return eighth, context


class _FeatureFusion(nn.Module):
    """Two paths joined, then reweighted by channel (figure 2c)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convblk = _ConvolutionUnit(width, width, size=1)
        self.conv1 = nn.Conv2d(width, width // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(width // 4, width, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        features = self.convblk(torch.cat([spatial, context], dim=1))
        attention = torch.sigmoid(self.conv2(functional.relu(self.conv1(_mean(features)))))
        return features * attention + features


class _Head(nn.Module):
    def __init__(self, width: int, class_count: int) -> None:
        super().__init__()
        self.conv = _ConvolutionUnit(width, width)
        self.conv_out = nn.Conv2d(width, class_count, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv_out(self.conv(features))


class BiSeNet(nn.Module):
    """image f32 [B, 3, 512, 512], RGB, ImageNet-normalised → class logits f32 [B, 19, 512, 512].

    The classes are `FACE_PARTS`; other sides must be multiples of 32.
    """

    def __init__(self, class_count: int = len(FACE_PARTS)) -> None:
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _FeatureFusion(256)
        self.conv_out = _Head(256, class_count)

    def forward(self, image: Tensor) -> Tensor:
        if any(side % 32 for side in image.shape[2:]):
            raise ValueError(f"height and width must be multiples of 32; got {tuple(image.shape[2:])}")
        logits = self.conv_out(self.ffm(*self.cp(image)))
        return resize_aligned(logits, (image.shape[2], image.shape[3]))
