"""Who is whose neighbour, and what the summaries count."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.likeness.identity_statistics import nearest_is_right, pair_distances, person_of, summary


def test_a_person_is_the_name_before_two_underscores() -> None:
    assert person_of("ann__sea.jpg") == person_of("ann__office.old.png") == "ann"
    assert person_of("half_light.jpg") == "half_light"


def test_pairs_are_split_by_person() -> None:
    descriptors = np.array([[0.0, 0.0], [0.3, 0.4], [0.0, 1.0]])
    pairs = pair_distances(descriptors, ["ann", "ann", "bob"])
    np.testing.assert_allclose(pairs.same, [0.5])
    np.testing.assert_allclose(sorted(pairs.strangers), [np.hypot(0.3, 0.6), 1.0])
    with pytest.raises(ValueError, match="3 descriptors but 2 persons"):
        pair_distances(descriptors, ["ann", "bob"])


def test_any_photo_of_the_person_is_right() -> None:
    photos = np.array([[0.0], [1.0], [5.0]])
    right = nearest_is_right(
        np.array([[0.9], [4.0], [0.1]]), photos, ["ann", "ann", "ann"], ["ann", "ann", "bob"]
    )
    assert right.tolist() == [True, False, True]


def test_summary_leaves_out_what_is_not_finite() -> None:
    assert summary([1.0, 3.0, float("nan")]) == {"count": 2, "mean": 2.0, "median": 2.0, "p95": 2.9}
    assert summary([]) == {"count": 0}
