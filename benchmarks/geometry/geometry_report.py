"""The geometry sections of the report: drawn people, and scans."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.geometry.sittings import ANOTHER, LIGHTS

#: Numbers that stand alone.
_SINGLE: Final = frozenset(
    {
        "yaw 30 against yaw 0, rms mm",
        "strangers, rms mm",
        LIGHTS,
        ANOTHER,
        "yaw error at 0, degrees",
        "yaw error at 30, degrees",
        "weight found in neutral photos, mean",
    }
)
#: Of an expression's row; results of earlier commits have none.
_APART: Final = ("against calm, rms mm", "lips against calm, rms mm")
#: Of a scan's row.
SCAN_COLUMNS: Final = ("mean mm", "median mm", "mean by area mm")


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
        "| | median mm | mean mm | mean at unit scale mm | rms at unit scale mm "
        "| captured: all / x / y / z |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        captured = " / ".join(f"{row['captured'][axis]:.2f}" for axis in ("all", "x", "y", "z"))
        lines.append(
            f"| {name} | {row['median mm']:.2f} | {row['mean mm']:.2f} | {row['mean at unit scale mm']:.2f} "
            f"| {row['rms at unit scale mm']:.2f} | {captured} |"
        )
    lines += ["", "| | |", "|---|---|"]
    for name, value in result.items():
        if name in _SINGLE:
            lines.append(f"| {name} | {value:.2f} |")
    lines += [
        "",
        "The last two columns compare with the neutral of the same person's calm photo.",
        "",
        "| expression in the photo | weight found | left in the neutral | face, rms mm | lips, rms mm |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["expressions"].items():
        apart = [f"{row[column]:.2f}" if column in row else "–" for column in _APART]
        lines.append(
            f"| {name} | {row['found']:.2f} | {row['left in the neutral']:.2f} | {' | '.join(apart)} |"
        )
    return "\n".join([*lines, ""])


def scans_section(result: dict[str, Any]) -> str:
    """Markdown of one result of scans."""
    over = result["all"]
    lines = [
        "## Scans",
        "",
        f"Avatars ({result['pipeline']}) beside scans of real heads, which are in no prior: how far the "
        "scan's points within 95 mm of the tip of the nose that can be seen from outside are from the "
        "avatar's skin and eyes, after a similarity; *by area* counts the surface instead of the points. "
        "Sizes are such that 63 mm are between the pupils. "
        f"{over['photos']} photos, refused: {over['refused']}. The mean head is fitted to nobody.",
        "",
        "`.venv/bin/python -m benchmarks.geometry --scans FOLDER`",
        "",
        f"| scan and photo | {' | '.join(SCAN_COLUMNS)} | yaw found |",
        "|---|" + "---|" * (len(SCAN_COLUMNS) + 1),
    ]
    for name in ("avatars", "the mean head"):
        lines.append(_scan_line(f"**{name}**", over[name]))
    for scan, told in result["scans"].items():
        if "refused" in told:
            lines.append(f"| {scan}: {told['refused']} |{' – |' * (len(SCAN_COLUMNS) + 1)}")
        lines += [_scan_line(f"{scan}, {photo}", row) for photo, row in told["photos"].items()]
    return "\n".join([*lines, ""])


def _scan_line(name: str, row: dict[str, Any]) -> str:
    refused = f" ({row['refused']})" if "refused" in row else ""
    cells = " | ".join(f"{row[column]:.2f}" if column in row else "–" for column in SCAN_COLUMNS)
    yaw = f"{row['yaw found']:.0f}°" if "yaw found" in row else "–"
    return f"| {name}{refused} | {cells} | {yaw} |"
