"""``facewright parity``: every network in every precision beside its module, with seeded weights."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from facewright_export.export_command import gate_table, table_console
from facewright_export.network import Network
from facewright_export.network_export import build_graph, measure
from facewright_export.network_table import NETWORKS, pipeline_networks
from facewright_export.parity_gates import GateResult
from facewright_export.precision import Precision


def networks_of(pipelines: Sequence[str]) -> tuple[Network, ...]:
    """The networks of these pipelines, each once, in the table's order; of all where none is named."""
    names = {row.name for pipeline in pipelines for row in pipeline_networks(pipeline)}
    return tuple(row for row in NETWORKS if not pipelines or row.name in names)


def measure_parity(
    networks: Sequence[Network], precisions: Sequence[Precision], report: Callable[[str], None]
) -> Iterator[tuple[Network, Precision, list[GateResult]]]:
    """Measures each network in each precision that it is served in.

    The weights are seeded, because published ones may not be redistributed: what is proven is that the graph
    computes what the module computes, and that the module is the published one is proven by the goldens in
    the tests.
    """
    for row in networks:
        module = row.seeded()
        for precision in precisions:
            if precision in row.precisions:
                report(f"{row.name} in {precision}")
                yield row, precision, measure(row, module, build_graph(row, module, precision), precision)
        del module
        gc.collect()


def rows_for_report(
    network: Network, precision: Precision, results: Sequence[GateResult]
) -> list[dict[str, Any]]:
    """Plain rows of one network, for a JSON file: ``failures`` says which bounds are broken, in words, and a
    number that is not finite, which JSON does not have, is None.
    """
    return [
        {
            "network": network.name,
            "precision": str(precision),
            **{name: _finite_or_none(value) for name, value in asdict(result.parity).items()},
            "allowed": result.bounds.in_unit,
            "failures": list(result.failures),
        }
        for result in results
    ]


def _finite_or_none(value: str | float) -> str | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_parity(pipelines: Sequence[str], precisions: Sequence[Precision], json_file: Path | None) -> int:
    """Prints the tables; returns 1 where a gate fails."""
    console = table_console()
    rows: list[dict[str, Any]] = []
    tables: dict[Precision, list[tuple[str, list[GateResult]]]] = {precision: [] for precision in precisions}
    with Console(stderr=True).status("measuring") as status:
        for row, precision, results in measure_parity(networks_of(pipelines), precisions, status.update):
            tables[precision].append((row.name, results))
            rows += rows_for_report(row, precision, results)
    for precision, networks in tables.items():
        console.print(
            gate_table(f"ONNX Runtime in {precision} beside torch in fp32, seeded weights", networks)
        )
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")
    return int(any(row["failures"] for row in rows))
