"""What travels with a request is checked again wherever a stage reads it, and its clock is kept."""

from __future__ import annotations

import json

import pytest

from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.pipelines.request import Request
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import ErrorCode

TWIN = {AVATAR_TWIN.name: AVATAR_TWIN}
MADE_WITH = Provenance("1.2.3", {"head.npz": "ab" * 32}, {"head.npz": "CC0-1.0"})


def _accepted(**parameters: object) -> Request:
    return Request.accepted(AVATAR_TWIN, parameters, MADE_WITH, now_unix_s=1000.0)  # type: ignore[arg-type]


def test_a_request_is_accepted_with_every_option_and_a_deadline() -> None:
    request = _accepted(texture_size="2048", deadline_ms=2500)
    assert request.options["texture_size"] == 2048
    assert request.options.keys() == AVATAR_TWIN.options.keys()
    assert (request.accepted_unix_s, request.deadline_unix_s) == (1000.0, 1002.5)
    assert _accepted().deadline_unix_s == 0.0


def test_json_round_trip() -> None:
    request = _accepted(texture_size=2048, delight=0.25, visemes=False)
    assert Request.from_json(request.to_json(), TWIN) == request


@pytest.mark.parametrize(
    "change",
    [
        {"options": {"texture_size": 60_000}},
        {"options": {"texture_size": [512]}},
        {"options": {"lods": 10**30}},
        {"options": {"delight": float("nan")}},
        {"options": {"colour": "red"}},
        {"options": ["texture_size"]},
        {"options": None},
        {"accepted_unix_s": None},
        {"deadline_unix_s": float("inf")},
        {"accepted_unix_s": 10**400},
        {"accepted_unix_s": "1000"},
        {"pipeline": "avatar_of_tomorrow"},
        {"pipeline": None},
        {"pipeline": {}},
        {"provenance": {"author": "me"}},
        {"provenance": None},
    ],
)
def test_what_no_stage_writes_is_refused(change: dict) -> None:
    members = json.loads(_accepted().to_json()) | change
    with pytest.raises(FacewrightError) as caught:
        Request.from_json(json.dumps(members), TWIN)
    assert caught.value.code == ErrorCode.BAD_OPTION
    assert caught.value.hint


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b"null", b"\xff", b"{", b"{}", b"[" * 100_000])
def test_what_is_no_request_is_refused(text: bytes) -> None:
    with pytest.raises(FacewrightError, match="REQUEST") as caught:
        Request.from_json(text, TWIN)
    assert caught.value.code == ErrorCode.BAD_OPTION
    assert len(caught.value.message) < 200


def test_in_time() -> None:
    Request("", {}, 1000.0, 1002.0).check_time(now_unix_s=1001.9)
    Request("", {}, 1000.0, 0.0).check_time(now_unix_s=1e9)


def test_too_late() -> None:
    with pytest.raises(FacewrightError, match="2100 ms have passed of 2000") as caught:
        Request("", {}, 1000.0, 1002.0).check_time(now_unix_s=1002.1)
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
