"""Who has left is not worked for: a stage looks at the gateway's page, real memory, before each step."""

from __future__ import annotations

import json
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from facewright.adapter.departures import DeparturePage, Departures
from facewright.adapter.marks import VARIABLE
from facewright.adapter.stage_model import StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.pipelines.stages import Stage
from facewright_client.contract import PHOTO, ErrorCode, Tensor
from tests.support.triton_stub import Request, load_adapter

_ANSWER = Tensor("ANSWER", "TYPE_UINT8", (1,))
FIRST, SECOND = (uuid.UUID(bytes=bytes([17 * number]) * 16).hex for number in (1, 2))


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeparturePage]:
    """Of a gateway whose stages this process starts."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "marks"))
    written = DeparturePage(tmp_path / "marks")
    yield written
    written.close()
    assert not list(tmp_path.iterdir())


class TwoSteps(StageModel):
    """Does something between its steps."""

    stage: ClassVar[Stage] = Stage("two_steps", (PHOTO,), (_ANSWER,), opens=True)
    begun = ended = 0

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile

    def compute(self, request: StageRequest) -> Outputs:
        self.begun += 1
        self._meanwhile()
        request.still_wanted()
        self.ended += 1
        return {_ANSWER: np.ones(1, np.uint8)}


def _executed(model: Any, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Each request's error code, or ""."""
    load_adapter(monkeypatch, "facewright.adapter.triton_stage")
    model.initialize({"model_config": json.dumps({"output": [{"name": "ANSWER"}]})})
    requests = [Request({"PHOTO": np.ones(3, np.uint8)}, ["ANSWER"], name=name) for name in names]
    return [
        json.loads(str(response.error))["code"] if response.error else ""
        for response in model.execute(requests)
    ]


def test_a_stage_does_not_begin_with_who_has_left(
    page: DeparturePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two came together, and the second left while the first was worked on."""
    model = TwoSteps(lambda: page.write(SECOND))
    assert _executed(model, monkeypatch, FIRST, SECOND) == ["", ErrorCode.CANCELLED]
    assert (model.begun, model.ended) == (1, 1)


def test_work_ends_at_the_step_that_runs(page: DeparturePage, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TwoSteps(lambda: page.write(FIRST))
    assert _executed(model, monkeypatch, FIRST) == [ErrorCode.CANCELLED]
    assert (model.begun, model.ended) == (1, 0)


def test_without_a_gateway_tritons_word_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for marks in ("", str(tmp_path / "nobody" / "marks")):
        monkeypatch.setenv(VARIABLE, marks)
        assert not Departures().include(FIRST)
    assert _executed(TwoSteps(lambda: None), monkeypatch, FIRST) == [""]
    monkeypatch.setattr(Request, "is_cancelled", lambda _self: True)
    assert _executed(TwoSteps(lambda: None), monkeypatch, FIRST) == [ErrorCode.CANCELLED]


def test_only_whole_ids_are_on_the_page(page: DeparturePage, tmp_path: Path) -> None:
    """A probe's request has none, and whoever asks Triton itself may choose one."""
    page.write(FIRST)
    page.write("chosen")
    departures = Departures()
    assert departures.include(FIRST)
    assert not any(map(departures.include, ("", "1", FIRST[:-1], "chosen", SECOND, "ü" * 32)))
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_oldest_makes_room(page: DeparturePage) -> None:
    identities = [uuid.uuid5(uuid.NAMESPACE_OID, str(number)).hex for number in range(1100)]
    departures = Departures()
    for identity in identities:
        page.write(identity)
    assert all(map(departures.include, identities[-1000:]))
    assert not departures.include(identities[0])
