"""LPIPS: torchvision's backbone state dict and the lpips package's weights of the distance, two files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from facewright_export.checkpoints._reading import load_strictly, read_checkpoint, state_of
from facewright_export.networks.lpips import Backbone, Lpips

# AlexNet's second convolution; VGG16's are numbered 0, 2, 5, 7 …
_ALEXNET_ONLY: Final = "features.3.weight"


def import_lpips(backbone_path: Path | str, weights_path: Path | str) -> Lpips:
    """The distance over the features of `backbone_path` with the channel weights of `weights_path`.

    `backbone_path` is torchvision's `vgg16-….pth` or `alexnet-….pth`, told apart by the layers that it has
    (its classifier is left out), `weights_path` the lpips package's `weights/v0.1/vgg.pth` or `alex.pth` for
    the same backbone. Raises CheckpointError.
    """
    names = read_checkpoint(backbone_path).tensors
    backbone: Backbone = "alexnet" if any(name.endswith(_ALEXNET_ONLY) for name in names) else "vgg16"
    network = Lpips(backbone)
    of_backbone = {name for name in network.state_dict() if name.startswith("features.")}
    state = state_of(backbone_path, of_backbone, unused=("classifier.",))
    state |= state_of(weights_path, network.state_dict().keys() - of_backbone)
    load_strictly(network, state, source=f"{backbone_path} with {weights_path}")
    network.eval()
    return network
