"""LightCNN-29 v2: the authors' `.pth.tar` files, a `DataParallel` module's weights under `state_dict`."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import fill
from facewright_export.networks.light_cnn import LightCnn29V2


def import_light_cnn(path: Path | str) -> LightCnn29V2:
    """The feature network of a LightCNN-29 v2 file; its classifier `fc2` is left out.

    Raises CheckpointError.
    """
    network = LightCnn29V2()
    fill(network, path, unused=("fc2.",))
    network.eval()
    return network
