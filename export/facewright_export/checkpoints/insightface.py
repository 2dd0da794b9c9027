"""insightface's ArcFace backbones (``backbone.pth``): the state dict of an IResNet-50 or IResNet-100."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from facewright_export.checkpoints._files import LayoutError
from facewright_export.checkpoints._reading import fill, read_checkpoint
from facewright_export.networks.iresnet import IRESNET50_BLOCKS, IRESNET100_BLOCKS, IResNet

#: Blocks of the third layer, which tell the networks apart.
_BY_THIRD_LAYER: Final = {blocks[2]: blocks for blocks in (IRESNET50_BLOCKS, IRESNET100_BLOCKS)}


def import_arcface(path: Path | str) -> IResNet:
    """The embedding network, 50 or 100 layers deep as its entries tell. Raises CheckpointError."""
    names = read_checkpoint(path).tensors
    third = len({found[1] for name in names if (found := re.search(r"layer3\.(\d+)\.", name))})
    if third not in _BY_THIRD_LAYER:
        raise LayoutError(
            str(path),
            f"its third layer has {third} blocks, expected {' or '.join(map(str, _BY_THIRD_LAYER))}",
            "give an IResNet-50 or IResNet-100 of insightface's arcface_torch",
        )
    network = IResNet(_BY_THIRD_LAYER[third])
    fill(network, path)
    network.eval()
    return network
