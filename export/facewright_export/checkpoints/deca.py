"""DECA's ``deca_model.tar``: a PyTorch file (no tar) with ``E_flame``, ``E_detail`` and ``D_detail``.

DECA's own loader skips whatever does not fit; here it is an error.
"""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import load_strictly, read_torch, section
from facewright_export.networks.deca import COARSE, AnimatableDetail, DecaEncoder


def import_deca_coarse(path: Path | str) -> DecaEncoder:
    """The coarse encoder (236 coefficients) of a DECA file. Raises CheckpointError."""
    network = DecaEncoder(COARSE)
    state = section(read_torch(path), "E_flame", source=str(path))
    load_strictly(network, state, source=f"E_flame of {path}")
    network.eval()
    return network


def import_deca_detail(path: Path | str) -> AnimatableDetail:
    """The detail encoder and the decoder of displacements of a DECA file. Raises CheckpointError."""
    network = AnimatableDetail()
    content = read_torch(path)
    for part, name in ((network.encoder, "E_detail"), (network.decoder, "D_detail")):
        load_strictly(part, section(content, name, source=str(path)), source=f"{name} of {path}")
    network.eval()
    return network
