"""Who is taken for whom: shares of the gap, accept rates, ranks, and what failures do to them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.likeness.verification import JudgedPhotos, auc, verification

#: Two people on a line, two photos of each; renders 1 beside their photos.
_PERSONS = ["ann", "ann", "bob", "bob"]
_PHOTOS = np.array([[0.0], [2.0], [10.0], [12.0]])


def _judged(offset: float, failed: list[str] | None = None) -> JudgedPhotos:
    return JudgedPhotos(_PERSONS, _PHOTOS, {"0": _PHOTOS[:, None] + offset}, failed or [])


def test_a_render_that_is_the_photo_has_no_share_of_the_gap() -> None:
    told = verification(_judged(0.0))
    assert (told["pairs"], told["same"], told["strangers"], told["auc"]) == (4, 2.0, 10.0, 1.0)
    assert told["poses"]["0"] == {
        "cross_photo": 2.0,
        "share": 0.0,
        "tar": {"1 %": 1.0, ".1 %": 1.0},
        "rank": 1.0,
        "taken for each other": 0.25,
    }


def test_the_photo_an_avatar_is_made_from_does_not_count() -> None:
    told = verification(_judged(5.0))["poses"]["0"]
    assert told["cross_photo"] == pytest.approx((7 + 3 + 7 + 3) / 4)
    assert told["share"] == pytest.approx((5 - 2) / 8)
    assert told["rank"] == 0.75, "the render of ann at 7 is 3 from a photo of bob, 5 from the one it is of"


def test_failures_are_pairs_and_renders_that_nobody_recognises() -> None:
    whole, failing = verification(_judged(0.0)), verification(_judged(0.0, ["ann", "eve"]))
    assert failing["pairs lost"] == 2, "ann's two photos; eve has no other"
    assert failing["poses"]["0"]["tar"]["1 %"] == pytest.approx(4 / 6)
    assert failing["poses"]["0"]["rank"] == pytest.approx(4 / 6)
    assert failing["poses"]["0"]["share"] == whole["poses"]["0"]["share"]
    of, lost = np.array([1, 1, 0, 0], bool), np.array([True, False])
    only_ann = verification(_judged(0.0, ["ann", "eve"]), of, lost)
    assert (only_ann["photos"], only_ann["pairs"], only_ann["pairs lost"]) == (2, 2, 2)


def test_thresholds_are_of_all_strangers_not_of_the_group() -> None:
    photos = np.array([[0.0], [1.0], [1.2], [9.0], [20.0], [40.0]])
    judged = JudgedPhotos(["a", "a", "b", "c", "d", "e"], photos, {"0": photos[:, None]}, [])
    near = np.array([1, 1, 1, 0, 0, 0], bool)
    told = verification(judged, near)["poses"]["0"]
    assert told["taken for each other"] == 0.5, "of ann's two and bob, those .2 apart"
    assert told["tar"][".1 %"] == 0.0


def test_auc_counts_ties_by_half() -> None:
    assert auc(np.array([1.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx((0.75 + 0) / 2)
    assert auc(np.array([]), np.array([1.0])) is None
