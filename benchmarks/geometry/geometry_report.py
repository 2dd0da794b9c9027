"""The geometry section of the report."""

from __future__ import annotations

from typing import Any, Final

#: Numbers that stand alone.
_SINGLE: Final = frozenset(
    {
        "yaw 30 against yaw 0, rms mm",
        "strangers, rms mm",
        "yaw error at 0, degrees",
        "yaw error at 30, degrees",
        "weight found in neutral photos, mean",
    }
)


def geometry_section(result: dict[str, Any]) -> str:
    """Markdown of one geometry result."""
    lines = [
        "## Geometry",
        "",
        f"{result['heads']} people drawn from the open head's own prior (seed {result['seed']}), painted and "
        "photographed; the skin within 95 mm of the tip of the nose, after a similarity. A regression check: "
        "nobody of these is outside of what the fit expects. "
        f"Refused as no usable photos: {result['refused']}.",
        "",
        "`.venv/bin/python -m benchmarks.geometry --heads 20`",
        "",
        "| | median mm | mean mm | rms at unit scale mm | captured: all / x / y / z |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        captured = " / ".join(f"{row['captured'][axis]:.2f}" for axis in ("all", "x", "y", "z"))
        lines.append(
            f"| {name} | {row['median mm']:.2f} | {row['mean mm']:.2f} | {row['rms at unit scale mm']:.2f} "
            f"| {captured} |"
        )
    lines += ["", "| | |", "|---|---|"]
    for name, value in result.items():
        if name in _SINGLE:
            lines.append(f"| {name} | {value:.2f} |")
    lines += ["", "| expression in the photo | weight found | left in the neutral |", "|---|---|---|"]
    for name, row in result["expressions"].items():
        lines.append(f"| {name} | {row['found']:.2f} | {row['left in the neutral']:.2f} |")
    return "\n".join([*lines, ""])
