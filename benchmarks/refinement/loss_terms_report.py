"""The section of the report on the terms of the refinement's loss: figure 18 of the normalized paper."""

from __future__ import annotations

from typing import Any

from facewright.refine.network_files import IDENTITY_COMMAND


def loss_terms_section(result: dict[str, Any]) -> str:
    """Markdown of one result of `benchmarks.refinement.loss_terms`."""
    lines = [
        "## Terms of the refinement's loss",
        "",
        f"The columns of figure 18 (normalized paper): where {result['iterations']} iterations arrive with "
        "the open generator, the open perceptual network and dlib's face recognition as "
        "identity network; each column has the latent term too. Distances before → after, whichever was "
        "minimised; errors of faces that are known in pixels of 256, millimetres and relative L2. Renders "
        "start from another person's latents, the photo from the mean face.",
        "",
        f"```\n{IDENTITY_COMMAND}\npython -m benchmarks.refinement.loss_terms --pictures out\n```",
        "",
        "| face | terms | identity distance | perceptual distance | pixels | face, mm | albedo |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        identity, perceptual = (_change(row[name]) for name in ("identity", "perceptual"))
        errors = row["errors"]
        shown = (
            " | ".join(_change([errors[0][name], errors[1][name]]) for name in errors[0])
            if errors
            else "unknown | unknown | unknown"
        )
        lines.append(f"| {row['subject']} | {row['terms']} | {identity} | {perceptual} | {shown} |")
    return "\n".join([*lines, ""])


def _change(values: list[float]) -> str:
    return f"{values[0]:.3g} → {values[1]:.3g}"
