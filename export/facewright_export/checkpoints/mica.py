"""MICA's ``mica.tar``: a PyTorch file with ``arcface`` (IResNet-100) and ``flameModel`` (mapping network)."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import load_strictly, read_torch, section
from facewright_export.networks.mica import Mica


def import_mica(path: Path | str) -> Mica:
    """The network from an aligned face to FLAME's shape; the copy of FLAME in the file is left out.

    Raises CheckpointError.
    """
    network, content = Mica(), read_torch(path)
    arcface = section(content, "arcface", source=str(path))
    shape = section(content, "flameModel", source=str(path))
    state = {**{f"arcface.{name}": value for name, value in arcface.items()}, **shape}
    load_strictly(network, state, unused=("generator.",), source=str(path))
    network.eval()
    return network
