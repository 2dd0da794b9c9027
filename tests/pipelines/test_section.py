"""Report sections of the stages, and how they become one report."""

from __future__ import annotations

import pytest

from facewright.core.errors import FacewrightError
from facewright.pipelines.section import (
    Section,
    merged_members,
    merged_milliseconds,
    merged_warnings,
    sections_from_json,
    sections_to_json,
    waited_ms,
)
from facewright_client.contract import ErrorCode

FIT = Section(
    {"confidence": {"nose": {"shape": 1.0}, "jaw": {"shape": 2.0}}, "fit": 7}, ["a", "b"], {"x": 1.0}
)
BAKE = Section(
    {"confidence": {"nose": {"texture": 0.5}}, "texture": [1]}, ["b", "c"], {"net.y": 2.0, "z": 3.0}
)


def _two() -> list[Section]:
    named = [
        Section(s.members, s.warnings, s.milliseconds, name) for s, name in ((FIT, "fit"), (BAKE, "bake"))
    ]
    return list(sections_from_json(sections_to_json(named)))


def test_members_of_one_name_are_merged() -> None:
    assert merged_members(_two()) == {
        "confidence": {"nose": {"shape": 1.0, "texture": 0.5}, "jaw": {"shape": 2.0}},
        "fit": 7,
        "texture": [1],
    }


def test_merging_leaves_the_sections_as_they_are() -> None:
    merged_members([FIT, BAKE])
    assert FIT.members["confidence"] == {"nose": {"shape": 1.0}, "jaw": {"shape": 2.0}}


def test_warnings_once_and_times_by_stage() -> None:
    assert merged_warnings(_two()) == ["a", "b", "c"]
    assert merged_milliseconds(_two()) == {"fit.x": 1.0, "net.y": 2.0, "bake.z": 3.0}


def test_the_wait_for_networks_is_told_where_there_were_some() -> None:
    ended = Section(stage="find_face", ended_unix_s=1e9)
    assert waited_ms([ended], ["a", "b"], 1e9 + 2) == {"a+b.network_and_waiting": 2000.0}
    assert waited_ms([ended], [], 1e9) == waited_ms([], ["a"], 1e9) == {}


def test_numbers_that_are_not_finite_do_not_travel() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        sections_to_json([Section({"fit": float("nan")})])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"7",
        b"{}7",
        b'[{"stag": 1}]',
        b"[7]",
        b'[{"members": 7}]',
        b'[{"milliseconds": 7}]',
        b'[{"milliseconds": {"x": "y"}}]',
        b'[{"warnings": 7}]',
        b'[{"ended_unix_s": []}]',
        b'[{"ended_unix_s": "5"}]',
        b'[{"ended_unix_s": NaN}]',
        b'[{"ended_unix_s": 1' + b"0" * 400 + b"}]",
        b'[{"members": {"x": Infinity}}]',
        b'[{"members": []}]',
        b'[{"warnings": "abc"}]',
        b'[{"stage": [5]}]',
        b"{}",
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_what_are_no_sections_is_refused(text: bytes) -> None:
    with pytest.raises(FacewrightError, match="EARLIER_SECTIONS") as caught:
        sections_from_json(text)
    assert caught.value.code == ErrorCode.BAD_OPTION
