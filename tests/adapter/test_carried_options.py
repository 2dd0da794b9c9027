"""What travels between stages is checked again where a stage reads it."""

from __future__ import annotations

import json

import pytest

from facewright.adapter.carried_options import refuse_bad_info
from facewright.core.errors import FacewrightError
from facewright.core.options import AvatarOptions
from facewright_client.contract import ErrorCode

_GOOD = {"accepted_unix_s": 1000.0, "deadline_unix_s": 0, "options": AvatarOptions().to_dict()}


@pytest.mark.parametrize("info", [_GOOD, {"photo": _GOOD, "yaw": 1.0}])
def test_what_stages_write_is_taken(info: dict) -> None:
    refuse_bad_info("PHOTO_INFO", json.dumps(info).encode())


@pytest.mark.parametrize("as_fit_info", [False, True])
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
    ],
)
def test_what_no_stage_writes_is_refused(change: dict, as_fit_info: bool) -> None:
    photo = _GOOD | change
    with pytest.raises(FacewrightError) as caught:
        refuse_bad_info("FIT_INFO", json.dumps({"photo": photo} if as_fit_info else photo).encode())
    assert caught.value.code == ErrorCode.BAD_OPTION
    assert caught.value.hint


@pytest.mark.parametrize(
    "info", [b"", b"[]", b"7", b"null", b"\xff", b"{", b"{}", b'{"photo": 7}', b"[" * 100_000]
)
def test_what_is_no_info_is_refused(info: bytes) -> None:
    with pytest.raises(FacewrightError, match="FIT_INFO") as caught:
        refuse_bad_info("FIT_INFO", info)
    assert caught.value.code == ErrorCode.BAD_OPTION
    assert len(caught.value.message) < 200
