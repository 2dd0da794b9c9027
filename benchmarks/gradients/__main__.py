"""Exported gradients beside autograd, at the published sizes: parity first, then time.

.venv-export/bin/python -m benchmarks.gradients [--only generator perceptual identity] [--threads 2]

Writes ``benchmarks/results/gradients.json``. A gradient that is out of its bounds ends the run before
anything is written.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import torch

from benchmarks.run_conditions import RunConditions, write_result
from facewright_export.gradients.gradient_gates import BOUNDS
from facewright_export.gradients.parity import NETWORKS, GradientParity, published_size_parity


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    conditions = RunConditions()
    rows = []
    for row in published_size_parity(options.only, options.threads):
        print(_line(row), flush=True)
        if not row.within_bounds:
            raise SystemExit(
                f"the gradient of {row.network} in {row.precision} is not within {BOUNDS[row.precision]}"
            )
        rows.append(asdict(row))
    result = {"benchmark": "gradients", **conditions.as_row(), "threads": options.threads, "rows": rows}
    print(write_result("gradients", result))


def _line(row: GradientParity) -> str:
    spent = "not timed"
    if row.milliseconds is not None:
        spent = (
            f"{row.milliseconds:.0f} ms (processor {row.processor_milliseconds:.0f}), autograd "
            f"{row.autograd_milliseconds:.0f} ms ({row.autograd_processor_milliseconds:.0f})"
        )
    return (
        f"{row.network} {row.precision}: values {row.value_relative_l2:.1e}, gradient cosine "
        f"{row.gradient_cosine:.7f}, relative L2 {row.gradient_relative_l2:.1e}; {spent}; "
        f"residuals {row.residual_megabytes:.1f} MB"
    )


if __name__ == "__main__":
    main()
