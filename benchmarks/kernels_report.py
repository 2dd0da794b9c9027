"""The kernels' section of the report: time, bandwidth, and a copy of the same bytes."""

from __future__ import annotations

from typing import Any


def kernels_section(result: dict[str, Any]) -> str:
    """Markdown of one result of the kernel benchmark."""
    lines = [
        "## Kernels",
        "",
        f"On the {result['device']}, {result['threads']} thread; processor time, least of several runs; each "
        "result was checked against its float64 reference before it was timed. The copy moves the bytes that "
        "the kernel must read and write at least. Not run on a GPU.",
        "",
        "```\npython -m benchmarks.kernels\n```",
        "",
        "| kernel | ms | goal ms | GB/s | copy of the same bytes, ms | GB/s |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        goal = "–" if row["goal_ms"] is None else f"{row['goal_ms']:g}"
        lines.append(
            f"| {row['kernel']} | {row['ms']:.2f} | {goal} | {row['gb_per_s']:.2f} | {row['copy_ms']:.2f} "
            f"| {row['copy_gb_per_s']:.2f} |"
        )
    return "\n".join([*lines, ""])
