"""Deadlines and the longest wait, from the JSON that travels between stages."""

from __future__ import annotations

import json

import pytest

from facewright.adapter.request_clock import RequestClock
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

PHOTO_INFO = {"accepted_unix_s": 1000.0, "deadline_unix_s": 1002.0, "photo_width": 7}


@pytest.mark.parametrize("info", [PHOTO_INFO, {"photo": PHOTO_INFO, "yaw": 0.0}])
def test_both_kinds_of_info_carry_the_clock(info: dict) -> None:
    assert RequestClock.from_info(json.dumps(info).encode()) == RequestClock(1000.0, 1002.0)


def test_in_time() -> None:
    RequestClock(1000.0, 1002.0).check(5.0, now=1001.9)
    RequestClock(1000.0, 0.0).check(0.0, now=1e9)


@pytest.mark.parametrize(
    ("clock", "longest", "now", "code"),
    [
        (RequestClock(1000.0, 1002.0), 0.0, 1002.1, ErrorCode.DEADLINE_EXCEEDED),
        (RequestClock(1000.0, 1002.0), 1.0, 1002.1, ErrorCode.DEADLINE_EXCEEDED),
        (RequestClock(1000.0, 1002.0), 1.0, 1001.5, ErrorCode.OVERLOADED),
        (RequestClock(1000.0, 0.0), 1.0, 1001.5, ErrorCode.OVERLOADED),
    ],
)
def test_too_late(clock: RequestClock, longest: float, now: float, code: ErrorCode) -> None:
    with pytest.raises(FacewrightError) as caught:
        clock.check(longest, now)
    assert caught.value.code is code
