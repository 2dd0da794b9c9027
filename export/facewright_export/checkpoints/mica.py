"""MICA's ``mica.tar``: a PyTorch file with ``arcface`` (IResNet-100) and ``flameModel`` (mapping network)."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import fill
from facewright_export.networks.mica import Mica


def import_mica(path: Path | str) -> Mica:
    """The network from an aligned face to FLAME's shape; the copy of FLAME in the file is left out.

    Raises CheckpointError.
    """
    network = Mica()
    fill(network, path, published={"regressor.": "flameModel.regressor."}, unused=("flameModel.generator.",))
    network.eval()
    return network
