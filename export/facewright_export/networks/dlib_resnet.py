"""dlib's face recognition network: an aligned face to a 128-d descriptor.

The network of ``dlib_face_recognition_resnet_model_v1.dat`` (Davis King 2017): ResNet-34 (He et al. 2016,
"Deep Residual Learning for Image Recognition", table 1) with fewer layers and half the filters; sizes from
``examples/dnn_face_recognition_ex.cpp`` of dlib, operators from ``dlib/dnn/layers.h``. 29 convolutions, each
followed by a scale and shift per channel ("affine": a trained batch normalisation), which are part of the
convolutions here. Where a block halves the resolution, its shortcut is the 2 x 2 mean of what it was given,
and of the two that are added the one with fewer channels, rows or columns is filled up with zeros behind
(``add_prev``): nothing is padded before a convolution of stride 2, so the last two blocks that halve come out
a row and a column smaller than their shortcuts.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Height and width of the aligned face, pixels (dlib's ``get_face_chip_details``, padding 0.25).
INPUT_SIZE: Final = 150
#: Length of the descriptor.
DESCRIPTOR_SIZE: Final = 128
#: What is taken from red, green and blue (0-255), and what the difference is divided by.
PIXEL_MEAN: Final = (122.782, 117.001, 104.298)
PIXEL_SCALE: Final = 256.0
#: Filters of the first convolution.
STEM_WIDTH: Final = 32
#: Filters and blocks of each level; the first block of each but the first halves the resolution.
LEVELS: Final = ((32, 3), (64, 4), (128, 3), (256, 3), (256, 1))


class _Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut.

    Args:
        channels: of its input.
        width: filters of both convolutions.
        size: rows and columns of its input.
        halves: whether it halves the resolution.
    """

    def __init__(self, channels: int, width: int, size: int, halves: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, *((2, 0) if halves else (1, 1)))
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.halves = halves
        self.size = size // 2 if halves else size
        found = (size - 3) // 2 + 1 if halves else size
        # Means and new channels in one convolution: the exported gradient of one is a convolution too.
        means = torch.eye(width, channels)[:, :, None, None].expand(-1, -1, 2, 2) / 4
        self.register_buffer("means", means.contiguous() if halves else None, persistent=False)
        # Rows and columns of zeros by products: torch reads the batch as a number when it traces padding.
        self.lost = self.size - found
        self.register_buffer("places", torch.eye(self.size, found) if self.lost else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.conv1(x)))
        if self.halves:
            x = functional.conv2d(x, self.means, stride=2)
        if self.lost:
            columns = functional.linear(y, self.places).transpose(2, 3).contiguous()
            y = functional.linear(columns, self.places).transpose(2, 3)
        return functional.relu(x + y)


class DlibFaceDescriptor(nn.Module):
    """Face descriptor: f32 [B, 3, 150, 150], RGB as (value - `PIXEL_MEAN`) / `PIXEL_SCALE` → f32 [B, 128].

    Descriptors are not of unit length; dlib takes two faces for one person whose descriptors differ by less
    than 0.6 in Euclidean length.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_WIDTH, 7, 2)
        size = ((INPUT_SIZE - 7) // 2 + 1 - 3) // 2 + 1
        channels = STEM_WIDTH
        blocks: list[nn.Module] = []
        for level, (width, count) in enumerate(LEVELS):
            for i in range(count):
                block = _Block(channels, width, size, halves=level > 0 and i == 0)
                blocks.append(block)
                channels, size = width, block.size
        self.blocks = nn.Sequential(*blocks)
        self.descriptor = nn.Linear(channels, DESCRIPTOR_SIZE, bias=False)

    def forward(self, face: Tensor) -> Tensor:
        """``face`` [B, 3, 150, 150] → [B, 128]."""
        x = functional.max_pool2d(functional.relu(self.stem(face)), 3, 2)
        return self.descriptor(torch.mean(self.blocks(x), dim=(2, 3)))
