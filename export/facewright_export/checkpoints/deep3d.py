"""Deep3DFaceRecon's ``epoch_20.pth``: a PyTorch file with the regressor under ``net_recon``."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import fill
from facewright_export.networks.coefficient_regressor import CoefficientRegressor


def import_deep3d(path: Path | str) -> CoefficientRegressor:
    """The regressor of 257 coefficients. Raises CheckpointError."""
    network = CoefficientRegressor()
    fill(network, path, published={"": "net_recon."})
    network.eval()
    return network
