"""Which files a pipeline's networks and weights are on this machine, and their fingerprints."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.engines.exported_repository import served_versions, versions_in
from facewright.engines.profile import PROFILES, Profile
from facewright.pipelines.stages import Network, Pipeline
from facewright_client.contract import ErrorCode

#: The repository of ``facewright export`` that a server was given; its networks go before the open ones.
NETWORKS_VARIABLE: Final = "FACEWRIGHT_NETWORKS"
PROFILE_VARIABLE: Final = "FACEWRIGHT_PROFILE"
#: Of weights that their owner brought: under the owner's terms.
_OWNERS_LICENCE: Final = "LicenseRef-owner"


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


def served_provenance(row: Pipeline, repository: Path | None = None) -> Provenance:
    """What a pipeline's avatars are made with on this machine; every file is read once in a process.

    Args:
        row: the pipeline.
        repository: of exported networks; that of `served_networks` by default.

    Raises:
        FacewrightError: INTERNAL when a file is missing.
    """
    repository = repository or served_networks()
    files: dict[str, Path] = {}
    licences: dict[str, str] = {}
    for step in row.steps:
        owners = owners_network(step.name, repository) if isinstance(step, Network) else None
        if owners is not None:
            name = "/".join(owners.parts[-3:])
            files[name], licences[name] = owners, _OWNERS_LICENCE
            continue
        if isinstance(step, Network):
            network_file(step, repository)
        for weights in step.weights:
            files[weights.file], licences[weights.file] = asset_path(weights.file), weights.licence
    return _fingerprints(tuple(files.items()), tuple(licences.items()))


@cache
def _fingerprints(files: tuple[tuple[str, Path], ...], licences: tuple[tuple[str, str], ...]) -> Provenance:
    return Provenance.of_files(dict(files), dict(licences))
