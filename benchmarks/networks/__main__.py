"""Times every exported network at its published size: ONNX Runtime beside torch, each beside the roofline.

    .venv-export/bin/python -m benchmarks.networks [--device cuda] [--network NAME ...] [--batch 1 8 32]

Weights are seeded: times do not depend on them. The roofline is the larger of operations over the rate of a
large matrix product or convolution and weights over the rate of a large copy, both measured before each
network; the best of this run counts, also for rows that are kept from earlier ones. On the CPU everything
runs on one thread and its processor time is counted; a server runs requests side by side instead. On a GPU,
torch replays a CUDA graph, and so does ONNX Runtime where it can capture the network. What was timed is
checked, and what is wrong is not written.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from typing import Any

import torch

from benchmarks.machine_load import MachineLoad
from benchmarks.networks.cases import measure_network, runs_onnx_on
from benchmarks.networks.roofline import Ceiling, measure_ceiling
from benchmarks.run_conditions import RunConditions, result_path, write_result
from facewright_export.network_tables import NETWORKS, network

_ORDER = [row.name for row in NETWORKS]


def main() -> int:
    """Prints a line for each case and writes the result file; 1 where a result was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--network", nargs="+", choices=_ORDER, metavar="NAME")
    parser.add_argument("--batch", nargs="+", type=int, default=(1, 8, 32))
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help="begin no further network after this long (default: on cuda 80, on the cpu no limit)",
    )
    options = parser.parse_args()
    conditions = RunConditions()
    if options.device == "cpu":
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ceiling = measure_ceiling(options.device)
    sys.stdout.write(f"ceiling {ceiling.gflop_per_s:.0f} GFLOP/s, {ceiling.gb_per_s:.1f} GB/s\n")
    rows = _rows_of_last_run(options.device)
    limit = options.seconds or (80.0 if options.device == "cuda" else float("inf"))
    failed: list[dict[str, str]] = []
    started = time.monotonic()
    for name in options.network or _ORDER:
        if time.monotonic() - started > limit:
            break
        ceiling = ceiling.larger(measure_ceiling(options.device))
        try:
            load = MachineLoad()
            measured = measure_network(network(name), tuple(options.batch), options.device)
            measured = [row | load.as_row() for row in measured]
        except Exception as error:  # a wrong network does not hide the others
            failed.append({"network": name, "error": f"{type(error).__name__}: {error}"[:400]})
            sys.stdout.write(f"{name:24} NOT TIMED: {failed[-1]['error']}\n")
            measured = []
        for row in measured:
            sys.stdout.write(f"{_line(row, ceiling)}\n")
        sys.stdout.flush()
        gc.collect()
        rows = [
            row for row in rows if (row["network"], row["batch"]) not in {(name, b) for b in options.batch}
        ]
        rows += [{**row, "commit": conditions.commit} for row in measured]
        rows.sort(key=lambda row: (_ORDER.index(row["network"]), row["batch"]))  # stable: runners stay
        path = write_result(  # after each: a run that is stopped leaves what it measured
            "networks",
            {
                "benchmark": "networks",
                **conditions.as_row(),
                "device": options.device,
                "threads": 1,
                "ceiling_gflop_per_s": round(ceiling.gflop_per_s, 1),
                "ceiling_gb_per_s": round(ceiling.gb_per_s, 1),
                "rows": [{**row, "roofline_ms": _roofline_ms(row, ceiling)} for row in rows],
                "not_run": [name for name in _ORDER if name not in {row["network"] for row in rows}],
                "failed": failed,
                "onnx_runtime": runs_onnx_on(options.device),
            },
        )
    sys.stdout.write(f"{path}\n")
    return 1 if failed else 0


def _rows_of_last_run(device: str) -> list[dict[str, Any]]:
    """Rows of networks that are not measured again stay, each with the commit it was measured at."""
    path = result_path("networks", device)
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.is_file() else []
    return rows


def _roofline_ms(row: dict[str, Any], ceiling: Ceiling) -> float:
    return round(ceiling.milliseconds(row["gflop"], row["weights_gb"]), 2)


def _line(row: dict[str, Any], ceiling: Ceiling) -> str:
    if "ms" not in row:
        return f"{row['network']:24} {row['batch']:3} left out: {row['left_out']}"
    return (
        f"{row['network']:24} {row['batch']:3} {row['runner']:18} {row['ms']:10.2f} ms "
        f"{row['gflop_per_s']:8.1f} GFLOP/s   roofline {_roofline_ms(row, ceiling):.2f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
