"""The network that reads a look from a picture of a face, in torch: what is trained.

Set-up builds the ONNX file from the weights alone (`facewright_export.open_normalized.embedding_graph`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facewright_export.open_head.head_file import write_head_file
from facewright_export.open_normalized.embedding_graph import CONVOLUTIONS, HIDDEN, LAST_SIDE, WEIGHTS_FILE
from facewright_export.open_normalized.factors import LOOK_SIZE


class LookEncoder(nn.Module):
    """Pictures f32 [B, 3, 80, 80] in -1 … 1 → look factors f32 [B, 32]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for outputs, kernel, stride in CONVOLUTIONS:
            layers += [
                nn.Conv2d(width, outputs, kernel, stride, kernel // 2),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            width = outputs
        self.convolutions = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.2)
        self.hidden = nn.Linear(width * LAST_SIDE**2, HIDDEN)
        self.last = nn.Linear(HIDDEN, LOOK_SIZE)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        features = torch.relu(self.hidden(self.drop(self.convolutions(pictures).flatten(1))))
        look: Tensor = self.last(features)
        return look


def save_weights(encoder: LookEncoder, provenance: dict[str, Any], path: Path = WEIGHTS_FILE) -> None:
    """Write the weights as float16, normalisations folded, with their ``provenance`` (JSON)."""
    encoder = encoder.eval()
    state: dict[str, Any] = {}
    layers = list(encoder.convolutions)
    for i, (convolution, norm) in enumerate(zip(layers[::3], layers[1::3], strict=True)):
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        folded = fuse_conv_bn_eval(convolution, norm)
        state |= {f"convolution_{i}": folded.weight, f"convolution_bias_{i}": folded.bias}
    state |= {"hidden": encoder.hidden.weight, "hidden_bias": encoder.hidden.bias}
    state |= {"last": encoder.last.weight, "last_bias": encoder.last.bias}
    arrays = {name: value.detach().numpy().astype(np.float16) for name, value in state.items()}
    write_head_file({"provenance": np.array(json.dumps(provenance, sort_keys=True)), **arrays}, path)
