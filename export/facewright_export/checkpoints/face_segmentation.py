"""Face segmentation: BiSeNet's `79999_iter.pth` of face-parsing.PyTorch, and semseg's PSPNet files."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import load_strictly, read_torch, section
from facewright_export.networks.bisenet import BiSeNet
from facewright_export.networks.pspnet import CELEBAMASK_CLASS_COUNT, PspNet


def import_bisenet(path: Path | str) -> BiSeNet:
    """The face parser of a face-parsing.PyTorch file, a plain state dict.

    Its two training heads are left out. Raises CheckpointError.
    """
    network = BiSeNet()
    state = section(read_torch(path), source=str(path))
    load_strictly(network, state, unused=("conv_out16.", "conv_out32."), source=str(path))
    network.eval()
    return network


def import_pspnet(path: Path | str, class_count: int = CELEBAMASK_CLASS_COUNT) -> PspNet:
    """PSPNet-ResNet101 of a semseg file, under `state_dict`; its training head `aux` is left out.

    Raises CheckpointError.
    """
    network = PspNet(class_count)
    state = section(read_torch(path), "state_dict", source=str(path))
    load_strictly(network, state, unused=("aux.",), source=str(path))
    network.eval()
    return network
