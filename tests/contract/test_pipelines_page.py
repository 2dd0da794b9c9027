"""docs/pipelines.md is what the table gives."""

from __future__ import annotations

from pathlib import Path

from facewright.pipelines.__main__ import page


def test_the_page_is_the_generated_one() -> None:
    assert (Path(__file__).parents[2] / "docs" / "pipelines.md").read_text() == page()
