"""Attacks the server, and measures what is lost and what it costs.

    .venv/bin/python -m benchmarks.chaos                    # the whole table: half an hour
    .venv/bin/python -m benchmarks.chaos killed drain       # some rows; the result keeps the others
    .venv/bin/python -m benchmarks.chaos --quick --no-result crafted

Everything happens on loopback; each row starts what it attacks itself and stops it. Exit status 1 where a row
did not reach what it is to reach, which on a machine that is busy with other work it need not.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from benchmarks.chaos.row import Effort, Finding, Row
from benchmarks.chaos.rows import ROWS
from benchmarks.machine_load import MachineLoad
from benchmarks.run_conditions import RunConditions, result_path, write_result

_NAME = "chaos"
_CONSOLE = Console(stderr=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the rows; 1 where one of them is not reached."""
    options = _parse(arguments)
    rows: dict[str, Any] = {}
    for name in options.rows or ROWS:
        conditions = RunConditions()
        rows[name] = _measured(ROWS[name], Effort(not options.quick)) | {"commit": conditions.commit}
        row = rows[name]
        _CONSOLE.print(f"{name}: {row['said']} [{'reached' if row['met'] else 'NOT REACHED'}]", markup=False)
        if not options.no_result:
            _keep(name, row, conditions)
    json.dump(rows, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
    return int(not all(row["met"] for row in rows.values()))


def _measured(row: Row, effort: Effort) -> dict[str, Any]:
    load = MachineLoad()
    try:
        finding = row.measure(effort)
    except Exception as error:  # the other rows are worth having
        traceback.print_exc()
        finding = Finding(f"not measured: {type(error).__name__}: {error}"[:300], False, {})
    return {
        "title": row.title,
        "before": row.before,
        "reach": row.reach,
        "said": finding.said,
        "met": finding.met,
        "full": effort.full,
        "figures": finding.figures,
        **load.as_row(),
    }


def _keep(name: str, row: dict[str, Any], conditions: RunConditions) -> None:
    """Write the row into the result, beside those of earlier runs."""
    path = result_path(_NAME)
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    rows[name] = row
    ordered = {known: rows[known] for known in ROWS if known in rows}
    write_result(_NAME, {"benchmark": _NAME, **conditions.as_row(), "rows": ordered})


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all by default: {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--no-result", action="store_true", help="leave benchmarks/results alone")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}: choose from {', '.join(ROWS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
