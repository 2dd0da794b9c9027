"""What the report says of attacks: a row each, with what came of it before there was a gateway."""

from __future__ import annotations

from typing import Any

from benchmarks.machine_load import busy_mark


def chaos_section(result: dict[str, Any]) -> str:
    """Markdown of the table of attacks."""
    lines = [
        "## Attacks",
        "",
        "The served process attacked over loopback, on this machine's cores, which the attackers share. "
        "*Before*: the same Triton without a gateway.",
        "",
        "```\npython -m benchmarks.chaos [ROW…]\n```",
        "",
        "| row | attack | before | to reach | measured | reached |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        measured = f"{row['said']}{'' if row['full'] else ' (small sizes)'}"
        if row["commit"] != result["commit"]:
            measured += f" (commit {row['commit']})"
        cells = (
            f"{name}{busy_mark(row)}",
            row["title"],
            row["before"],
            row["reach"],
            measured,
            "yes" if row["met"] else "**no**",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
