"""What counts as alive: an answered photo, and nothing but that when statistics are slow."""

from __future__ import annotations

import pytest

from facewright.pipelines.twin import AVATAR_TWIN
from facewright.server.liveness import LivenessProbe
from facewright_client import FacewrightClientError, OverloadedError, ServerUnavailableError


@pytest.mark.parametrize(
    ("failure", "alive"),
    [
        (None, True),
        (OverloadedError("full", stage="fit_head"), True),
        (ServerUnavailableError("no answer"), False),
    ],
)
def test_slow_statistics_leave_it_to_the_photo(
    monkeypatch: pytest.MonkeyPatch, failure: FacewrightClientError | None, alive: bool
) -> None:
    def slow(probe: LivenessProbe, *_: object) -> int:
        raise ServerUnavailableError("timed out")

    def create(probe: LivenessProbe, *_: object) -> None:
        sent.append(1)
        if failure is not None:
            raise failure

    sent: list[int] = []
    monkeypatch.setattr(LivenessProbe, "_answers", slow)
    monkeypatch.setattr(LivenessProbe, "_create", create)
    assert LivenessProbe("127.0.0.1:1", {"avatar_twin": AVATAR_TWIN}).alive(1.0) is alive
    assert sent == [1]
