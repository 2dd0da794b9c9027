"""``facewright parity``: every network in every precision beside its module, with seeded weights."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from facewright_export.export_command import gate_table, table_console
from facewright_export.export_error import ExportError
from facewright_export.network import Network
from facewright_export.network_export import build_graph, deviating_layers, measure
from facewright_export.network_tables import NETWORKS, pipeline_networks
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity_gates import GateResult
from facewright_export.parity.parity_layers import LayerDeviation, error_in_words


def networks_of(pipelines: Sequence[str], names: Sequence[str] = ()) -> tuple[Network, ...]:
    """The networks of these pipelines, each once, in the table's order; of all pipelines where none is named.

    Args:
        pipelines: keys of `PIPELINES`.
        names: only these networks; () for all.

    Raises:
        ExportError: the pipelines have no network of that name.
    """
    there = {row.name for pipeline in pipelines for row in pipeline_networks(pipeline)}
    rows = [row for row in NETWORKS if not pipelines or row.name in there]
    unknown = sorted(set(names) - {row.name for row in rows})
    if unknown:
        raise ExportError(
            f"there is no network {', '.join(unknown)}", f"one of: {', '.join(row.name for row in rows)}"
        )
    return tuple(row for row in rows if not names or row.name in names)


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


def run_parity(networks: Sequence[Network], precisions: Sequence[Precision], json_file: Path | None) -> int:
    """Prints the tables; returns 1 where a gate fails."""
    console = table_console()
    rows: list[dict[str, Any]] = []
    tables: dict[Precision, list[tuple[str, list[GateResult]]]] = {precision: [] for precision in precisions}
    with Console(stderr=True).status("measuring") as status:
        for row, precision, results in measure_parity(networks, precisions, status.update):
            tables[precision].append((row.name, results))
            rows += rows_for_report(row, precision, results)
    for precision, measured in tables.items():
        console.print(
            gate_table(f"ONNX Runtime in {precision} beside torch in fp32, seeded weights", measured)
        )
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1, allow_nan=False) + "\n")
    return int(any(row["failures"] for row in rows))


def run_layers(networks: Sequence[Network], precisions: Sequence[Precision]) -> int:
    """Prints where inside the narrow files of these networks the errors come from; returns 0.

    Raises:
        ExportError: none of the networks is served in a narrow one of these precisions.
    """
    narrow = [precision for precision in precisions if precision is not Precision.FP32]
    if not any(precision in row.precisions for row in networks for precision in narrow):
        raise ExportError(
            "--layers looks inside files narrower than fp32, and none of these networks has one in "
            f"--precision {' '.join(precisions)}",
            "add --precision fp16 or bf16, or leave --precision out",
        )
    console = table_console()
    for row in networks:
        module = row.seeded()
        for precision in narrow:
            if precision not in row.precisions:
                continue
            with Console(stderr=True).status(f"{row.name} in {precision}"):
                model = build_graph(row, module, precision)
                layers = deviating_layers(row, module, model, precision)
            console.print(_layers_table(f"{row.name} in {precision} beside fp32, seeded weights", layers))
        del module
        gc.collect()
    return 0


def _layers_table(title: str, layers: Sequence[LayerDeviation]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    table.add_column("layer", no_wrap=True)
    for heading in ("of what it makes", "of what it reads"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in layers:
        table.add_row(layer.layer, error_in_words(layer.relative_l2), error_in_words(layer.inherited))
    return table
