"""Who a photo shows, and what the summaries count."""

from __future__ import annotations

from benchmarks.likeness.identity_statistics import person_of, summary


def test_a_person_is_the_name_before_two_underscores() -> None:
    assert person_of("ann__sea.jpg") == person_of("ann__office.old.png") == "ann"
    assert person_of("half_light.jpg") == "half_light"


def test_summary_leaves_out_what_is_not_finite() -> None:
    assert summary([1.0, 3.0, float("nan")]) == {"count": 2, "mean": 2.0, "median": 2.0, "p95": 2.9}
    assert summary([]) == {"count": 0}
