"""The report's section on the terms of the loss shows what was measured."""

from __future__ import annotations

from benchmarks.refinement.loss_terms_report import loss_terms_section


def test_rows_are_shown_with_and_without_known_errors() -> None:
    known = {"pixels": 0.8, "vertices_mm": 1.17, "albedo": 0.055}
    row = {"terms": "identity", "identity": [0.1331, 0.0645], "perceptual": [0.11, 0.12]}
    rows = [
        {"subject": "render 1", "errors": [known, known | {"pixels": 0.64}], **row},
        {"subject": "astronaut", "errors": None, **row},
    ]
    text = loss_terms_section({"iterations": 60, "rows": rows})
    assert "where 60 iterations arrive" in text
    assert (
        "| render 1 | identity | 0.133 → 0.0645 | 0.11 → 0.12 | 0.8 → 0.64 | 1.17 → 1.17 | 0.055 → 0.055 |"
    ) in text
    assert "| astronaut | identity | 0.133 → 0.0645 | 0.11 → 0.12 | unknown | unknown | unknown |" in text
