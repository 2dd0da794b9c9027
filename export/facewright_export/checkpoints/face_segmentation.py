"""Face segmentation: BiSeNet's `79999_iter.pth` of face-parsing.PyTorch, and semseg's PSPNet files."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import fill
from facewright_export.networks.bisenet import BiSeNet
from facewright_export.networks.pspnet import CELEBAMASK_CLASS_COUNT, PspNet


def import_bisenet(path: Path | str) -> BiSeNet:
    """The face parser of a face-parsing.PyTorch file, without its two training heads.

    Raises CheckpointError.
    """
    network = BiSeNet()
    fill(network, path, unused=("conv_out16.", "conv_out32."))
    network.eval()
    return network


def import_pspnet(path: Path | str, class_count: int = CELEBAMASK_CLASS_COUNT) -> PspNet:
    """PSPNet-ResNet101 of a semseg file; its training head `aux` is left out.

    Raises CheckpointError.
    """
    network = PspNet(class_count)
    fill(network, path, unused=("aux.",))
    network.eval()
    return network
