"""DECA's ``deca_model.tar``: a PyTorch file (no tar) with ``E_flame``, ``E_detail`` and ``D_detail``.

DECA's own loader skips whatever does not fit; here it is an error.
"""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import fill
from facewright_export.networks.deca import COARSE, AnimatableDetail, DecaEncoder


def import_deca_coarse(path: Path | str) -> DecaEncoder:
    """The coarse encoder (236 coefficients) of a DECA file. Raises CheckpointError."""
    network = DecaEncoder(COARSE)
    fill(network, path, published={"": "E_flame."})
    network.eval()
    return network


def import_deca_detail(path: Path | str) -> AnimatableDetail:
    """The detail encoder and the decoder of displacements of a DECA file. Raises CheckpointError."""
    network = AnimatableDetail()
    fill(network, path, published={"encoder.": "E_detail.", "decoder.": "D_detail."})
    network.eval()
    return network
