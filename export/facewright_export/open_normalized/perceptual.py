"""The open perceptual network: LPIPS's form with untrained features.

VGG16 at an eighth of its widths (8 to 64 channels) with seeded random filters. Random convolutions followed
by rectifiers are a known, if weaker, measure of structure and texture (He, Wang & Hopcroft, "A Powerful
Generative Model Using Random Weights for the Deep Image Representation", NeurIPS 2016); but no one has been
asked what this one finds similar, and its numbers are no LPIPS scores. Published weights take its place
where an owner has them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import nn

from facewright_export.gradients.example_images import smooth_images
from facewright_export.networks.lpips import Lpips
from facewright_export.seeded_weights import seeded_uniform

#: VGG16's widths are divided by this.
NARROWING: Final = 8
_SEED: Final = 16
_LARGEST_BIAS: Final = 0.5
#: Mean distance, over all layers, of two random smooth images.
_MEAN_DISTANCE: Final = 0.5


class OpenPerceptual(Lpips):
    """`Lpips` with VGG16's layers at an eighth of their widths and random filters; see the module's text.

    Each filter but the first layer's sums to zero, so that it answers to contrasts and not to the
    brightness that all rectified features share. Each layer's distance is weighed alike: by its mean over
    pairs of random images.
    """

    def __init__(self) -> None:
        super().__init__("vgg16")
        for i, layer in enumerate(self.features):
            if isinstance(layer, nn.Conv2d):
                inputs = 3 if i == 0 else layer.in_channels // NARROWING
                self.features[i] = _random_convolution(
                    inputs, layer.out_channels // NARROWING, f"features.{i}"
                )
        weighings = [module for name, module in self.named_children() if name.startswith("lin")]
        for weighing in weighings:
            width = weighing.model[1].in_channels // NARROWING
            weighing.model[1] = nn.Conv2d(width, 1, 1, bias=False)
            nn.init.ones_(weighing.model[1].weight)
        self.requires_grad_(False)
        first, second = (
            self.unit_features(smooth_images(f"calibration {name}", 4, 64) * 2 - 1) for name in "ab"
        )
        for weighing, a, b in zip(weighings, first, second, strict=True):
            mean = float(weighing((a - b).square()).mean())
            weighing.model[1].weight.fill_(_MEAN_DISTANCE / (len(weighings) * mean))


def _random_convolution(inputs: int, outputs: int, key: str) -> nn.Conv2d:
    """3 x 3 filters of variance 2 / fan-in (He et al. 2015), which keeps the scale of rectified features."""
    weight = seeded_uniform((outputs, inputs, 3, 3), key, _SEED).astype(np.float64)
    if inputs > 3:
        weight -= weight.mean(axis=(1, 2, 3), keepdims=True)
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
    with torch.no_grad():
        # Numbers that half precision holds, because the files are stored so.
        weight = (weight * np.sqrt(6 / (9 * inputs))).astype(np.float16)
        convolution.weight.copy_(torch.from_numpy(weight))
        # Above zero, so that at every pixel some channel answers: the length that features are divided by is
        # never tiny, and with it no pixel's gradient huge.
        bias = np.abs(seeded_uniform((outputs,), f"{key}.bias", _SEED)) * _LARGEST_BIAS
        convolution.bias.copy_(torch.from_numpy(bias))
    return convolution
