"""The Python backend's stage for any exported network: its answers, its metrics, and who has left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright_client.contract import ErrorCode
from tests.support.triton_stub import Request, load_adapter

_REPOSITORY = Path(__file__).parents[1] / "data" / "exported_repository_0_1"
_GIVEN = {"FACE_IMAGE": np.ones((16, 16, 3), np.uint8), "CODE": np.ones(4, np.float32)}


class _Left(Request):
    """A request whose caller does not wait any more."""

    def is_cancelled(self) -> bool:
        return True


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The adapter, as Triton starts it for version 2 of a network."""
    module = load_adapter(monkeypatch, "facewright.adapter.network_stage")
    folder = shutil.copytree(_REPOSITORY / "small_embedding", tmp_path / "small_embedding")
    model = module.TritonPythonModel()
    model.initialize(
        {
            "model_name": "small_embedding",
            "model_repository": str(folder),
            "model_version": "2",
            "model_config": json.dumps({"parameters": {}}),
        }
    )
    return model


def test_answers_and_failures_are_counted(stage: Any) -> None:
    wrong = _GIVEN | {"CODE": np.ones(5, np.float32)}
    answered, refused = stage.execute([Request(_GIVEN, ["SUM"]), Request(wrong, ["SUM"])])
    assert list(answered.arrays()) == ["SUM"]
    assert json.loads(str(refused.error))["code"] == ErrorCode.INTERNAL
    seconds, _, failures = (family.observed for family in stage._metrics._families)
    assert len(seconds) == 1
    assert seconds[0] > 0
    assert failures == [1]


def test_nothing_is_computed_for_who_has_left(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage._network, "run", lambda *_: pytest.fail("it was computed"))
    (response,) = stage.execute([_Left(_GIVEN, ["SUM"])])
    assert response.error is not None
    assert response.error.code == "CANCELLED"
    assert json.loads(str(response.error))["code"] == ErrorCode.CANCELLED
    assert stage._metrics._families[2].observed == [1]
