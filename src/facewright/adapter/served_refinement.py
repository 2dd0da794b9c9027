"""Which files a server's refinement runs: an owner's networks with gradients, the open ones for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from facewright.adapter.served_provenance import owners_network, served_networks
from facewright.core.errors import FacewrightError
from facewright.refine.demo_networks import refinement_folder
from facewright.refine.networks import refinement_files
from facewright_client.contract import ErrorCode

#: Exported networks, and the graphs with gradients that ``facewright export`` writes beside each one's
#: ``model.onnx``.
GRADIENTS_OF: Final = {
    "avatar_generator": ("generator_forward", "generator_backward"),
    "perceptual_distance": ("perceptual_targets", "perceptual_loss"),
    "face_embedding": ("identity_targets", "identity_loss"),
}


def served_refinement(repository: Path | None = None) -> dict[str, Path]:
    """The ONNX files by the names of `facewright.refine.networks`.

    Args:
        repository: of exported networks; that of `served_networks` by default.

    Raises:
        FacewrightError: ENGINE_MISMATCH when an open one is missing, or an owner's network has no gradients.
    """
    files = refinement_files(refinement_folder())
    repository = repository or served_networks()
    for network, names in GRADIENTS_OF.items():
        owners = owners_network(network, repository)
        if owners is None:
            continue
        graphs = {name: owners.with_name(f"{name}.onnx") for name in names}
        missing = [path.name for path in graphs.values() if not path.is_file()]
        if missing:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{network} in {repository} has no {', '.join(missing)}, which refinement runs",
                f"export it again: facewright export normalized --network {network} --weights FILE",
            )
        files |= graphs
    return files
