"""Fingerprints of the files that a pipeline's networks and weights are on this machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from facewright.adapter.served_files import network_file, owners_network, served_networks, served_refinement
from facewright.core.assets import asset_path
from facewright.core.provenance import Provenance
from facewright.pipelines.stages import Network, Pipeline

#: Of weights that their owner brought: under the owner's terms.
_OWNERS_LICENCE: Final = "LicenseRef-owner"
#: Of networks with gradients that this project trained.
_OPEN_LICENCE: Final = "Apache-2.0"


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
        graphs = served_refinement(repository) if step.graphs else {}
        for name in graphs.keys() & set(step.graphs):
            brought = repository is not None and graphs[name].is_relative_to(repository)
            file = "/".join(graphs[name].parts[-3:]) if brought else graphs[name].name
            files[file], licences[file] = graphs[name], _OWNERS_LICENCE if brought else _OPEN_LICENCE
    return _fingerprints(tuple(files.items()), tuple(licences.items()))


@cache
def _fingerprints(files: tuple[tuple[str, Path], ...], licences: tuple[tuple[str, str], ...]) -> Provenance:
    return Provenance.of_files(dict(files), dict(licences))
