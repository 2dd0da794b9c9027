"""The albedo section of the report."""

from __future__ import annotations

from typing import Any


def albedo_section(result: dict[str, Any]) -> str:
    """Markdown of one albedo result."""
    lines = ["## Albedo", ""]
    if "rows" in result:
        lines += [
            f"{result['photos']} private portraits of {result['persons']} people: how far the colours of one "
            "person's faces lie apart over his photos, and those of strangers. No figure stands for itself: "
            "the trivial rival, today's texture with its contrast halved, halves the first and tells nobody "
            f"apart any better. As worn, what is coarser than {result['blur_texels']:g} texels of 256² is "
            "the network's and the rest the photo's.",
            "",
            "`.venv-export/bin/python -m benchmarks.albedo FOLDER`",
            "",
            "| | one person ΔE / strangers | ratio | AUC | of tone alone: ratio, AUC | skin left-right ΔL: "
            "median / > 5 | L, chroma of plain skin (± between photos) |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in result["rows"].items():
            skin, tone, uneven = row["skin"], row["tone"], 100 * row["left-right ΔL > 5"]
            lines.append(
                f"| {name} | {skin['same']:.1f} / {skin['strangers']:.1f} | {skin['ratio']:.2f} "
                f"| {skin['auc']:.2f} | {tone['ratio']:.2f}, {tone['auc']:.2f} "
                f"| {row['left-right ΔL, median']:.1f} / {uneven:.0f} % "
                f"| {row['L'][0]:.0f} ± {row['L'][1]:.0f}, {row['chroma'][0]:.0f} ± {row['chroma'][1]:.0f} |"
            )
        lines.append("")
    if "synthetic" in result:
        lines += [
            f"{result['synthetic_people']} synthetic people that nothing was trained on; *prior* is a "
            "generic head of the tone that the photo seems to have:",
            "",
            "| | mean ΔE |",
            "|---|---|",
            *(f"| {name} | {value:.2f} |" for name, value in result["synthetic"].items()),
            "",
        ]
    return "\n".join(lines)
