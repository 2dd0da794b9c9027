"""LPIPS, the perceptual distance of deep features (Zhang et al., CVPR 2018, equation 1), version 0.1.

The features are those of VGG16 or AlexNet. Backbone keys are torchvision's (`features.0.weight` …), the
weights of the distance those of the lpips package (`lin0.model.1.weight` …), so both published files load
into one module under their own names.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Backbone = Literal["vgg16", "alexnet"]

# The features compared are those behind these layers: VGG16's relu1_2, 2_2, 3_3, 4_3, 5_3 and AlexNet's
# five ReLUs.
_TAPPED_LAYERS: dict[Backbone, tuple[int, ...]] = {"vgg16": (3, 8, 15, 22, 29), "alexnet": (1, 4, 7, 9, 11)}
_TAPPED_WIDTHS: dict[Backbone, tuple[int, ...]] = {
    "vgg16": (64, 128, 256, 512, 512),
    "alexnet": (64, 192, 384, 256, 256),
}
# ImageNet's mean and deviation, restated for images in −1 … 1.
_IMAGE_SHIFT = (-0.030, -0.088, -0.188)
_IMAGE_SCALE = (0.458, 0.448, 0.450)
_NORM_EPSILON = 1e-10
# Under the root, so that the gradient of a pixel whose features are all zero is finite: a ReLU's backward
# pass that multiplies by 0 instead of selecting would let a NaN through.
_LENGTH_FLOOR = 1e-20


def _vgg16_layers() -> list[nn.Module]:
    """VGG16 up to relu5_3 (Simonyan and Zisserman, configuration D), numbered as in torchvision."""
    layers: list[nn.Module] = []
    inputs = 3
    for stage, (width, depth) in enumerate([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]):
        if stage:
            layers.append(nn.MaxPool2d(2, stride=2))
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
    return layers


def _alexnet_layers() -> list[nn.Module]:
    """AlexNet up to its fifth ReLU, numbered as in torchvision."""
    return [
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    ]


class _FeatureWeights(nn.Module):
    """Weights of one layer's channels; published files number the convolution behind a dropout."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Identity(), nn.Conv2d(width, 1, 1, bias=False))

    def forward(self, squared_difference: Tensor) -> Tensor:
        return self.model(squared_difference)


def unit_length(features: Tensor) -> Tensor:
    """Features f32 [B, C, h, w] divided by their length along the channels; zero stays zero."""
    length = ((features * features).sum(dim=1, keepdim=True) + _LENGTH_FLOOR).sqrt()
    # The reciprocal is of one number for all channels, and its gradient reads the features once less.
    return features * (1 / (length + _NORM_EPSILON))


class Lpips(nn.Module):
    """Perceptual distance of two images, f32 [B, 3, H, W] each, RGB in −1 … 1 → f32 [B].

    `unit_features` and `distance` are separate so that a loop against one fixed photo computes its features
    once.
    """

    def __init__(self, backbone: Backbone = "vgg16") -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        layers = _vgg16_layers() if backbone == "vgg16" else _alexnet_layers()
        self.features = nn.Sequential(*layers)
        for i, width in enumerate(_TAPPED_WIDTHS[backbone]):
            self.add_module(f"lin{i}", _FeatureWeights(width))
        self.register_buffer("image_shift", torch.tensor(_IMAGE_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("image_scale", torch.tensor(_IMAGE_SCALE)[:, None, None], persistent=False)

    def unit_features(self, image: Tensor) -> list[Tensor]:
        """Five feature maps [B, C, h, w], each scaled to unit length along the channels."""
        features = (image - self.image_shift) / self.image_scale
        tapped = []
        for i, layer in enumerate(self.features):
            features = layer(features)
            if i in _TAPPED_LAYERS[self.backbone]:
                tapped.append(unit_length(features))
        return tapped

    def distance(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
        """Equation 1 over two lists of `unit_features`: f32 [B]."""
        per_layer = [
            self.get_submodule(f"lin{i}")((a - b) * (a - b)).mean(dim=(1, 2, 3))
            for i, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        return torch.stack(per_layer).sum(dim=0)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.distance(self.unit_features(first), self.unit_features(second))
