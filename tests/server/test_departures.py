"""Who leaves is not computed for: at most the step that runs when it does is worked to its end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from facewright.pipelines.twin import FIND_FACE
from facewright.server import Server
from facewright.server.model_configs import Sizing
from facewright_client import CancelledError, Client, OverloadedError
from tests.server.doors import events, metric
from tests.server.processes import answered, eventually, settled

pytestmark = pytest.mark.server

#: A texture that is baked for about a second: there is time to leave.
SLOW = {"texture_size": 2048, "texture_format": "png"}
_SLOW_PATH = "/v1/avatars?texture_size=2048&texture_format=png"


def _cancels_over_grpc(server: Server, client: Client, photo: bytes) -> None:
    fitted = answered(server.url, "fit_head")
    pending = client.submit(photo, **SLOW)
    assert eventually(lambda: answered(server.url, "fit_head") > fitted, 30)
    pending.cancel()
    with pytest.raises(CancelledError):
        pending.result(30)


def _hangs_up_over_rest(server: Server, client: Client, photo: bytes) -> None:
    del client
    with events(server, _SLOW_PATH, photo) as told:
        assert any(event == ("began", {"stage": "bake_texture"}) for event in told)


@pytest.mark.parametrize("leaves", [_cancels_over_grpc, _hangs_up_over_rest])
def test_whoever_leaves_while_a_stage_works(
    server: Server, client: Client, photo: bytes, leaves: Callable[[Server, Client, bytes], None]
) -> None:
    """The bake ends at its next step, or the stage after it does not begin."""
    saved = []
    for _ in range(3):  # on a busy machine a step may be over before anybody hears of the departure
        packaged, turned_away = _packaged(server), _turned_away(server)
        leaves(server, client, photo)
        saved.append(eventually(lambda before=turned_away: _turned_away(server) > before, 10))  # type: ignore[misc]
        if saved[-1]:
            assert _packaged(server) == packaged
            break
    assert saved[-1], saved


def _packaged(server: Server) -> float:
    return metric(server, "facewright_stage_seconds_count", "package_avatar")


def _read(server: Server) -> float:
    return metric(server, "facewright_stage_seconds_count", "find_face")


def _turned_away(server: Server) -> float:
    stages = ("bake_texture", "package_avatar")
    return sum(metric(server, "facewright_failures_total", stage, 'code="CANCELLED"') for stage in stages)


def test_whoever_leaves_while_waiting_is_not_even_looked_at(
    server: Server, client: Client, photo: bytes
) -> None:
    """Nor is who stands in Triton's own line before the first step."""
    at_once = 2 * server.settings.usable_cores
    found = settled(server.url, "find_face")
    waiting = [client.submit(photo, **SLOW) for _ in range(at_once + 4)]
    assert eventually(lambda: answered(server.url, "find_face") > found, 30)
    for pending in waiting:
        pending.cancel()
    time.sleep(0.05)  # until the gateway has heard of it
    read = _read(server)
    left = 0
    for pending in waiting:
        try:
            pending.result(30)
        except CancelledError:
            left += 1
        except OverloadedError:  # had no place in the line
            pass
    assert left >= at_once
    assert settled(server.url, "find_face") <= found + at_once
    instances = Sizing(server.settings.usable_cores).instances(FIND_FACE)
    assert _read(server) <= read + instances
    assert client.create(photo, texture_size=512).glb
