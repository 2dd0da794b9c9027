"""Writes benchmarks/results/parity.json: every network in every precision beside torch in float32.

.venv-export/bin/python -m benchmarks.networks.parity [--network NAME ...] [--precision fp32 fp16 bf16]

The numbers do not depend on how busy the machine is. Rows that are not measured again are kept, each with the
commit it was measured at, and judged by today's gates. `facewright parity` prints the same table.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from typing import Any

from benchmarks.run_conditions import RunConditions, result_path, write_result
from facewright_export.network_tables import NETWORKS, network
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity import TensorParity
from facewright_export.parity.parity_command import measure_parity, rows_for_report
from facewright_export.parity.parity_gates import GateResult, result_line


def main() -> int:
    """Prints a line for each output and writes the result file; 1 where a gate fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks.parity", description=__doc__)
    parser.add_argument("--network", nargs="+", choices=[row.name for row in NETWORKS], metavar="NAME")
    parser.add_argument("--precision", nargs="+", choices=list(Precision), default=list(Precision))
    options = parser.parse_args()
    conditions = RunConditions()
    chosen = [network(name) for name in options.network] if options.network else NETWORKS
    precisions = [Precision(name) for name in options.precision]
    order = [row.name for row in NETWORKS]
    path = result_path("parity")
    kept = [judged_now(old) for old in json.loads(path.read_text())["rows"]] if path.is_file() else []
    failed = False
    for row, precision, results in measure_parity(chosen, precisions, lambda _what: None):
        kept = [old for old in kept if (old["network"], old["precision"]) != (row.name, precision)]
        for entry in rows_for_report(row, precision, results):
            kept.append({**entry, "commit": conditions.commit})
            failed = failed or bool(entry["failures"])
        for result in results:
            sys.stdout.write(f"{row.name:24} {precision} {result_line(result)}\n")
        sys.stdout.flush()
        kept.sort(key=lambda old: (order.index(old["network"]), list(Precision).index(old["precision"])))
        write_result("parity", {"benchmark": "parity", **conditions.as_row(), "rows": kept})
    return int(failed)


def judged_now(old: dict[str, Any]) -> dict[str, Any]:
    """A row of an earlier run with the bounds of today's table; numbers that are not finite fail in any."""
    numbers = {field.name: old[field.name] for field in fields(TensorParity)}
    if None in numbers.values():
        return old
    bounds = network(old["network"]).gates[old["tensor"]].bounds[Precision(old["precision"])]
    result = GateResult(TensorParity(**numbers), bounds)
    return {**old, "allowed": bounds.in_unit, "failures": list(result.failures)}


if __name__ == "__main__":
    sys.exit(main())
