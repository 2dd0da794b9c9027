"""What scripts/gpu-suite ran on a GPU, and what it did not."""

from __future__ import annotations

from typing import Any


def not_run_section() -> str:
    """Markdown where there is no result of the suite."""
    return (
        "## On a GPU\n\nNot run: there is no result of `scripts/gpu-suite` in `benchmarks/results/gpu`, so "
        "nothing here was measured on a GPU.\n"
    )


def suite_section(result: dict[str, Any]) -> str:
    """Markdown of the suite's summary: each part's state, time and, where it failed, why."""
    lines = [
        "## On a GPU",
        "",
        "```\nscripts/gpu-suite\n```",
        "",
        "| part | state | seconds | |",
        "|---|---|---|---|",
    ]
    for part in result["parts"]:
        seconds = "–" if part["seconds"] is None else f"{part['seconds']:.0f}"
        lines.append(f"| {part['part']} | {part['state']} | {seconds} | {part['detail']} |")
    return "\n".join([*lines, ""])


def kernel_tests_section(result: dict[str, Any]) -> str:
    """Markdown of the kernels' tests on the GPU."""
    return (
        "## Kernel tests on a GPU\n\n```\npython -m pytest tests/kernels -m gpu\n```\n\n"
        f"{result['passed']} passed, {result['failed']} failed, {result['skipped']} skipped.\n"
    )
