"""Which files a pipeline's networks are on this machine: an owner's, else the open ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.engines.exported_repository import served_versions, versions_in
from facewright.engines.profile import PROFILES, Profile
from facewright.pipelines.stages import Network
from facewright.refine.network_files import refinement_files, refinement_folder
from facewright_client.contract import ErrorCode

#: The repository of ``facewright export`` that a server was given; its networks go before the open ones.
NETWORKS_VARIABLE: Final = "FACEWRIGHT_NETWORKS"
PROFILE_VARIABLE: Final = "FACEWRIGHT_PROFILE"


#: Exported networks, and the graphs with gradients that ``facewright export`` writes beside each one's
#: ``model.onnx``.
GRADIENTS_OF: Final = {
    "avatar_generator": ("generator_forward", "generator_backward"),
    "perceptual_distance": ("perceptual_targets", "perceptual_loss"),
    "face_embedding": ("identity_targets", "identity_loss"),
}


def served_networks() -> Path | None:
    """``$FACEWRIGHT_NETWORKS``, where it is set."""
    folder = os.environ.get(NETWORKS_VARIABLE)
    return Path(folder) if folder else None


def _profile() -> Profile:
    """``$FACEWRIGHT_PROFILE``: whose version policies count; a server sets it for its stages."""
    named = os.environ.get(PROFILE_VARIABLE, "cpu")
    return next((profile for profile in PROFILES if profile == named), "cpu")


def owners_network(name: str, repository: Path | None) -> Path | None:
    """The ONNX file of an exported network that answers requests, of the newest served version; None where
    the repository has none of this name.
    """
    if repository is None or not (repository / name).is_dir() or not versions_in(repository / name):
        return None
    folder = repository / name
    return folder / str(served_versions(folder, _profile())[-1]) / "model.onnx"


def network_file(network: Network, repository: Path | None) -> Path:
    """The ONNX file that a pipeline's network runs: an owner's, else the open one.

    Raises:
        FacewrightError: INTERNAL, with the command that mends it, when there is neither.
    """
    owners = owners_network(network.name, repository)
    if owners is not None:
        return owners
    if not network.weights:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"no repository of exported networks has {network.name}",
            "write it with facewright export, and start with: facewright serve --networks REPOSITORY",
        )
    return asset_path(network.weights[0].file)


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
