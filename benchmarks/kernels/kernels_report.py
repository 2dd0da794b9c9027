"""The kernels' section of the report: time, bandwidth, a copy of the same bytes, and the rivals."""

from __future__ import annotations

from typing import Any

from benchmarks.machine_load import busy_mark

_RIVALS = ("numpy", "torch", "nvdiffrast")


def kernels_section(result: dict[str, Any]) -> str:
    """Markdown of one result of the kernel benchmark."""
    on_gpu = result["device"] == "cuda"
    how = (
        "Median time between two events, the cache flushed before each run"
        if on_gpu
        else f"{result['threads']} thread; processor time, least of several runs, with warm caches"
    )
    lines = [
        "## Kernels on a GPU" if on_gpu else "## Kernels",
        "",
        f"On the {result['device']}. {how}; each result was checked against its float64 reference before it "
        "was timed. GB/s are the bytes that the kernel must read and write at least; the copy moves as many "
        "in the same run (beside adam_step, which works in place: a change of sign in place). The last "
        "columns are the same computation by other means, milliseconds (NumPy and torch: the programs in "
        "`benchmarks/kernels`, gradients in torch by autograd).",
        "",
        f"```\npython -m benchmarks.kernels{' --device cuda' if on_gpu else ''}\n```",
        "",
        "| kernel | ms | goal ms | GB/s | % of a copy | copy, ms | NumPy | torch | nvdiffrast |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        goal = "–" if row["goal_ms"] is None else f"{row['goal_ms']:g}"
        rivals = [row["rivals_ms"].get(name) for name in _RIVALS]
        shown = " | ".join("–" if ms is None else f"{ms:.2f}" for ms in rivals)
        lines.append(
            f"| {row['kernel']}{busy_mark(row)} | {row['ms']:.2f} | {goal} | {row['gb_per_s']:.1f} "
            f"| {row['percent_of_copy']:.1f} | {row['copy_ms']:.3f} | {shown} |"
        )
    lines += ["", *(f"Not timed: {case['kernel']}: {case['error']}\n" for case in result["failed"])]
    if result.get("not_reached"):
        lines.append(f"Stopped before: {'; '.join(result['not_reached'])}.\n")
    return "\n".join([*lines, *_parity(result["nvdiffrast_parity"]), ""])


def _parity(parity: Any) -> list[str]:
    if isinstance(parity, str):
        return [f"Agreement with nvdiffrast: {parity}."]
    lines = [
        "Agreement with nvdiffrast, given the same raster:",
        "",
        "| operation | largest difference | mean | largest magnitude | pixels that see another triangle |",
        "|---|---|---|---|---|",
    ]
    for row in parity:
        other = "–" if row["other_triangle"] is None else f"{row['other_triangle']} of {row['pixels']}"
        lines.append(
            f"| {row['operation']} | {row['largest_difference']:.2e} | {row['mean_difference']:.2e} "
            f"| {row['largest_magnitude']:.2e} | {other} |"
        )
    return lines
