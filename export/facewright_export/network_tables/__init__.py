"""Every network that Facewright exports, and the pipelines that they make up: one file for each pipeline.

A new network is one file in ``networks/`` (with its importer in ``checkpoints/``) and one row in its
pipeline's file here: see CONTRIBUTING.md. Nothing else names a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from facewright_export.network import Network
from facewright_export.network_tables import animatable, generative, normalized, rerenderable, twin

_TABLES: Final[Mapping[str, Sequence[Network]]] = {
    "twin": twin.NETWORKS,
    "normalized": normalized.NETWORKS,
    "rerenderable": rerenderable.NETWORKS,
    "generative": generative.NETWORKS,
    "animatable": animatable.NETWORKS,
}


def _groups(table: Sequence[Network]) -> tuple[tuple[str, ...], ...]:
    """The table's names: each network that is no alternative, followed by its alternatives.

    Raises ValueError for an alternative to a network that the table does not have.
    """
    names = {row.name for row in table if not row.instead_of}
    astray = [row.name for row in table if row.instead_of and row.instead_of not in names]
    if astray:
        raise ValueError(f"{', '.join(astray)}: instead_of must name a network of the same table")
    return tuple(
        (row.name, *(other.name for other in table if other.instead_of == row.name))
        for row in table
        if not row.instead_of
    )


NETWORKS: Final[tuple[Network, ...]] = tuple(row for table in _TABLES.values() for row in table)

#: What each pipeline needs: groups of networks, of which one each suffices.
PIPELINES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    pipeline: _groups(table) for pipeline, table in _TABLES.items()
}


def network(name: str) -> Network:
    """The row of this name.

    Raises:
        KeyError: there is none.
    """
    for row in NETWORKS:
        if row.name == name:
            return row
    raise KeyError(name)


def pipeline_networks(pipeline: str) -> tuple[Network, ...]:
    """Every network that a pipeline can use, alternatives included, in order."""
    return tuple(network(name) for group in PIPELINES[pipeline] for name in group)
