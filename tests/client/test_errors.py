"""What Triton answers becomes one typed exception per code."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

import facewright_client
from facewright_client import FacewrightClientError, OverloadedError, RetryPolicy, ServerUnavailableError
from facewright_client._connection import Connection
from facewright_client._errors import error_from_answer
from facewright_client._request import Request
from facewright_client.contract import ErrorCode


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_its_exception(code: ErrorCode) -> None:
    wire = json.dumps({"code": code, "stage": "find_face", "message": "it was 7", "hint": "send {8}"})
    error = error_from_answer("StatusCode.INTERNAL", f"in ensemble 'avatar_twin', {wire}")
    assert error.code == code
    assert (error.message, error.hint, error.stage) == ("it was 7", "send {8}", "find_face")
    assert str(error) == "it was 7 (send {8})"
    kinds = [kind for kind in FacewrightClientError.__subclasses__() if kind.code == code]
    assert kinds == [type(error)]
    assert type(error).__name__ in facewright_client.__all__


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        ("StatusCode.UNAVAILABLE", "failed to connect", "UNAVAILABLE"),
        ("StatusCode.INTERNAL", "Stub process 'bake_texture_0_0' is not healthy.", "UNAVAILABLE"),
        ("StatusCode.NOT_FOUND", "Request for unknown model: 'x' is not found", "BAD_REQUEST"),
        ("StatusCode.UNAVAILABLE", "'avatar_twin' has no available versions", "UNAVAILABLE"),
        ("StatusCode.INVALID_ARGUMENT", "unexpected shape for input 'PHOTO'", "BAD_REQUEST"),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", "DEADLINE_EXCEEDED"),
        ("StatusCode.CANCELLED", "Locally cancelled", "CANCELLED"),
        ("StatusCode.INTERNAL", "something {broken", "INTERNAL"),
        ("StatusCode.INTERNAL", '{"code": "NO_FACE"}', "INTERNAL"),
        ("StatusCode.INTERNAL", '[{"a": 1}]', "INTERNAL"),
        ("None", "", "INTERNAL"),
    ],
)
def test_tritons_own_words(status: str, message: str, code: str) -> None:
    assert error_from_answer(status, message).code == code


def test_a_code_of_a_newer_server() -> None:
    wire = json.dumps({"code": "TOO_BEAUTIFUL", "stage": "fit_head", "message": "m", "hint": "h"})
    assert error_from_answer("StatusCode.INTERNAL", wire).code == ErrorCode.INTERNAL


def test_only_what_is_safe_is_sent_again() -> None:
    policy = RetryPolicy(attempts=3, first_pause_s=1.0, longest_pause_s=1.5)
    for kind in FacewrightClientError.__subclasses__():
        retried = policy.pause_after(1, kind("")) is not None
        assert retried == (kind in (OverloadedError, ServerUnavailableError))
    pauses = [policy.pause_after(2, OverloadedError("")) for _ in range(100)]
    assert all(pause is not None and 0.75 <= pause <= 2.25 for pause in pauses)
    assert len(set(pauses)) > 50
    assert policy.pause_after(3, OverloadedError("")) is None


def test_a_server_is_waited_for_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the request has, or as long as the policy says; the last send is just before."""
    for policy, seconds in ((RetryPolicy(), 3000.0), (RetryPolicy(unavailable_s=30.0), 30.0)):
        now = 100.0
        monkeypatch.setattr("facewright_client._request.time.monotonic", lambda: now)  # noqa: B023
        request = Request("gpu:8001", Connection(retries=policy), "avatar_twin", timeout_s=3000.0)
        with suppress(ServerUnavailableError):
            while True:
                now += request.pause_after(ServerUnavailableError("nothing listens"))
        assert now == pytest.approx(100.0 + seconds - 0.5)


def test_overload_ends_no_wait_for_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("facewright_client._request.time.monotonic", lambda: now)
    request = Request(
        "gpu:8001", Connection(retries=RetryPolicy(unavailable_s=30.0)), "twin", timeout_s=300.0
    )
    request.pause_after(ServerUnavailableError(""))
    now += 100.0
    request.pause_after(OverloadedError(""))
    request.pause_after(ServerUnavailableError(""))
