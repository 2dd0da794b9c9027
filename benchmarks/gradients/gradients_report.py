"""The section of exported gradients: parity with autograd, and time beside it."""

from __future__ import annotations

from typing import Any


def gradients_section(result: dict[str, Any]) -> str:
    """Markdown of one result of `benchmarks.gradients`."""
    lines = [
        "## Exported gradients",
        "",
        "The networks of refinement at their published sizes with random weights, forward and backward, "
        "beside float32 autograd. fp32: the ONNX files on ONNX Runtime. fp16: the graphs with every operator "
        "rounded, because ONNX Runtime rounds nothing in half precision on a CPU; so not timed. "
        f"One item, {result['threads']} CPU threads each, least time of runs that take turns, in brackets "
        "processor time of all threads. A loss is one graph; `split` is the same loss as two graphs, for "
        "comparison.",
        "",
        "```\npython -m benchmarks.gradients\n```",
        "",
        "| network | precision | gradient cosine | gradient relative L2 | values, relative L2 "
        "| ms | autograd, ms | residuals, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        times = " – | –"
        if row["milliseconds"] is not None:
            times = f" {_time(row, '')} | {_time(row, 'autograd_')}"
        lines.append(
            f"| {row['network']} | {row['precision']} | {row['gradient_cosine']:.7f} "
            f"| {row['gradient_relative_l2']:.1e} | {row['value_relative_l2']:.1e} |{times} "
            f"| {row['residual_megabytes']:.1f} |"
        )
    return "\n".join([*lines, ""])


def _time(row: dict[str, Any], whose: str) -> str:
    processor = row.get(f"{whose}processor_milliseconds")
    used = "" if processor is None else f" ({processor:.0f})"
    return f"{row[f'{whose}milliseconds']:.0f}{used}"
