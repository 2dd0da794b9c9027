"""The refinement's section of the report: what an iteration costs, by part, and where it arrives."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.machine_load import busy_mark
from benchmarks.refinement import PUBLISHED_GFLOP

#: Of an H200 in half precision, dense, by NVIDIA's data sheet.
_H200_TFLOP_PER_S: Final = 989.0
_H200_MS: Final = PUBLISHED_GFLOP / _H200_TFLOP_PER_S
_PUBLISHED: Final = (
    f"{PUBLISHED_GFLOP:.0f} GFLOP an iteration and photo; not measured: at the "
    f"{_H200_TFLOP_PER_S:.0f} TFLOP/s of an H200's data sheet (half precision, dense) "
    f"{_H200_MS:.2f} ms, {_H200_MS / 5:.2f} s per 200"
)


def refinement_section(result: dict[str, Any]) -> str:
    """Markdown of one result of the refinement benchmark."""
    device = (
        result["gpu"]["name"]
        if result["device"] == "cuda"
        else f"CPU, {result['threads']} threads for networks and one for kernels"
    )
    lines = [
        "## Refinement",
        "",
        f"On the {device}. Median wall-clock time of an iteration (generator, renderer, perceptual and "
        "identity networks, their gradients, Adam), in brackets least processor time of all threads; loss "
        "and gradient were checked against torch autograd on the same task where torch is installed, and "
        f"timed in turns with it. Published sizes: {_PUBLISHED}. Roofline: processor time of so many "
        "operations at the rate of a large product or convolution, measured in the same run.",
        "",
        "```\npython -m benchmarks.refinement --published\n```",
        "",
        "| networks | batch | ms | s per 200 and photo | autograd, ms | roofline, ms | GB | parts, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        name = f"{row['networks']}, {row['precision']}, {row['engine']}{busy_mark(row)} | {row['batch']}"
        if "not_run" in row:
            lines.append(f"| {name} | {row['not_run']} | – | – | – | – | – |")
            continue
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in row["parts_ms"].items() if ms >= 0.1)
        lines.append(
            f"| {name} | {row['ms']:.1f} ({row['processor_ms']:.1f}) "
            f"| {row['seconds_per_200_and_photo']:.2f} | {_autograd(row['autograd'])} "
            f"| {row.get('roofline_processor_ms', '–')} | {row.get('memory_gb', '–')} | {parts} |"
        )
    commits = {(row["networks"], row.get("commit", result["commit"])) for row in result["rows"]}
    lines += [
        f"\n{networks.capitalize()}: commit {commit}."
        for networks, commit in sorted(commits)
        if commit != result["commit"]
    ]
    if result["convergence"]:
        lines += ["", *_convergence(result["convergence"])]
    return "\n".join([*lines, ""])


def _autograd(rival: Any) -> str:
    if isinstance(rival, str):
        return rival
    return f"{rival['ms']:.1f} ({rival['processor_ms']:.1f}), gradient cosine {rival['gradient_cosine']:.5f}"


def _convergence(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"Where {rows[0]['iterations']} iterations arrive with the open networks, from a picture of "
        "a known face: errors before → after. Pixels are of 256; light and albedo are relative L2.",
        "",
        "| refined | loss | pixels | degrees | face, mm | albedo | light |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        before, after = row["before"], row["after"]
        errors = " | ".join(f"{before[name]:.3g} → {after[name]:.3g}" for name in before)
        lines.append(f"| {row['refined']} | {row['loss'][0]:.3g} → {row['loss'][1]:.3g} | {errors} |")
    return lines
