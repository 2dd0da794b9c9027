"""How the table of attacks judges what it sees, and what the report says of it."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from benchmarks.chaos.__main__ import main
from benchmarks.chaos.asking import Outcome, codes, longest_silence_s, losses
from benchmarks.chaos.chaos_report import chaos_section
from benchmarks.chaos.crafted_requests import messages
from benchmarks.chaos.mutated_requests import mutations
from benchmarks.chaos.slow_photos import slow_photo
from benchmarks.machine_load import BUSY_MARK

_ROW: dict[str, Any] = {
    "title": "SIGTERM",
    "before": "23 lost",
    "reach": "0 lost",
    "said": "lost 0 of 24",
    "met": True,
    "full": True,
    "commit": "0123456789ab",
    "machine_load": {"cores": 2, "by_this_run": 1.5, "by_others": 0.0},
}


@pytest.mark.parametrize(
    ("outcome", "refused", "lost"),
    [
        (Outcome(0, 1), False, False),
        (Outcome(0, 1, "OVERLOADED", "the call might wait 3.0 s"), True, False),
        (Outcome(0, 1, "UNAVAILABLE", "this server is stopping"), True, False),
        (Outcome(0, 1, "UNAVAILABLE", "what worked on this request ended 3 times"), False, True),
        (Outcome(0, 1, "INTERNAL", "this request ended what worked on it"), False, True),
        (Outcome(0, 1, "gRPC UNAVAILABLE", "Socket closed"), False, True),
        (Outcome(0, 1, "gRPC UNAVAILABLE", "Received RST_STREAM with error code 7"), True, False),
    ],
)
def test_lost_is_what_was_let_in_and_not_answered(outcome: Outcome, refused: bool, lost: bool) -> None:
    assert (outcome.refused, outcome.lost) == (refused, lost)
    assert bool(losses([outcome])) == lost
    assert codes([outcome, outcome]) == {outcome.code or "answered": 2}


def test_silence_is_between_answers_not_refusals() -> None:
    outcomes = [Outcome(0, at) for at in (1.0, 11.0, 14.0)] + [Outcome(0, 5.0, "OVERLOADED")]
    assert longest_silence_s(outcomes, 0.0) == (10.0, 11.0)
    assert longest_silence_s(outcomes, 10.5) == (3.0, 3.5)
    assert longest_silence_s([], 0.0) == (float("inf"), float("inf"))


def test_damage_is_the_same_for_a_seed() -> None:
    originals = list(messages().values())[-5:]
    first, again = (list(mutations(originals, 50, seed=3)) for _ in range(2))
    assert first == again
    assert len(set(first)) > 40
    assert list(mutations(originals, 50, seed=4)) != first


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_slow_photo_is_a_whole_file_and_a_thousandth_of_its_pixels(interlaced: bool) -> None:
    photo = slow_photo(1000, interlaced)
    assert len(photo) < 1000 * 1000 * 3 / 300
    start = photo.index(b"IDAT") + 4
    length = int.from_bytes(photo[start - 8 : start - 4], "big")
    assert len(zlib.decompress(photo[start : start + length])) >= 1000 * 3001


def test_the_report_says_what_was_not_reached_and_what_was_busy() -> None:
    busy = {"cores": 2, "by_this_run": 1.0, "by_others": 0.9}
    hung = _ROW | {"met": False, "full": False, "machine_load": busy, "commit": "ba9876543210"}
    text = chaos_section({"commit": "0123456789ab", "rows": {"drain": _ROW, "hung": hung}})
    assert "| drain | SIGTERM | 23 lost | 0 lost | lost 0 of 24 | yes |" in text
    measured = "lost 0 of 24 (small sizes) (commit ba9876543210)"
    assert f"| hung{BUSY_MARK} | SIGTERM | 23 lost | 0 lost | {measured} | **no** |" in text


def test_an_unknown_row_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["drain", "flood"])
    assert "no row flood" in capsys.readouterr().err
