"""The stage ``to_open_head`` in a pipeline: what it gives, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.adapter.in_process import PipelineRunner, Run
from facewright.adapter.stage_model import StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.correspondence import HeadCorrespondence, file_sha256
from facewright.head.head_model import HeadModel
from facewright.pipelines.open_head import TO_OPEN_HEAD
from facewright.pipelines.stages import Pipeline, Stage
from facewright.pipelines.tensors import (
    FITTED_VERTICES,
    SOURCE_NEUTRAL_VERTICES,
    SOURCE_TO_CAMERA,
    SOURCE_VERTICES,
)
from facewright_client.contract import EXPRESSION, HEAD_TO_CAMERA, NEUTRAL_VERTICES, PHOTO, ErrorCode

_CAMERA = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.7]], np.float32)


class GivenHead(StageModel):
    """Gives the head that the request holds in the photo's place."""

    def compute(self, request: StageRequest) -> Outputs:
        """Take it apart."""
        posed, neutral = request.array(PHOTO).view(np.float32).reshape(2, -1, 3)
        return {SOURCE_VERTICES: posed, SOURCE_NEUTRAL_VERTICES: neutral, SOURCE_TO_CAMERA: _CAMERA}


_GIVE = Stage("give_head", (PHOTO,), TO_OPEN_HEAD.takes, opens=True, model=GivenHead)
_CARRIED = Pipeline("carry_head", (_GIVE, TO_OPEN_HEAD), {}, gives=TO_OPEN_HEAD.gives)


def _run(posed: NDArray[Any], neutral: NDArray[Any]) -> Run:
    content = np.stack([posed, neutral]).astype(np.float32).tobytes()
    return PipelineRunner(_CARRIED).run({PHOTO: content})


def test_an_owners_head_comes_out_in_the_open_topology(
    open_head: HeadModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Millimetres, the vertices in reverse, three more that nobody needs."""
    own = HeadCorrespondence.identity(open_head)
    count = open_head.vertex_count + 3
    metadata = {
        "source": "owners",
        "source_vertices": count,
        "head_sha256": file_sha256(asset_path("head.npz")),
    }
    file = replace(
        own,
        metadata=metadata,
        corners=count - 1 - own.corners,
        source_to_head=np.eye(3, dtype=np.float32) / 1000,
    )
    np.savez(tmp_path / "owners_to_open.npz", **file.arrays())
    monkeypatch.setenv("FACEWRIGHT_NETWORKS", str(tmp_path))

    def owners(vertices: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate([np.full((3, 3), 7e3, np.float32), 1000 * vertices[::-1]])

    smile = np.zeros(52, np.float32)
    smile[list(open_head.expression_names).index("mouthSmileLeft")] = 0.8
    posed = open_head.shape(np.zeros(160), smile)
    # this camera is of metres, the source's of millimetres: what is seen is the source
    with monkeypatch.context() as patch:
        patch.setattr(f"{__name__}._CAMERA", _CAMERA * np.array([1e-3, 1e-3, 1e-3, 1], np.float32))
        run = _run(owners(posed), owners(open_head.vertices_mean))
    np.testing.assert_allclose(run.array(NEUTRAL_VERTICES), open_head.vertices_mean, atol=2e-4)
    np.testing.assert_allclose(run.array(FITTED_VERTICES), posed, atol=2e-4)
    np.testing.assert_allclose(run.array(EXPRESSION), smile, atol=0.03)
    np.testing.assert_allclose(run.array(HEAD_TO_CAMERA), _CAMERA, atol=1e-3)


def test_a_head_without_a_correspondence_is_refused(
    open_head: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACEWRIGHT_NETWORKS", raising=False)
    with pytest.raises(FacewrightError, match="gives a head of 5023 vertices") as failure:
        _run(np.zeros((5023, 3)), np.zeros((5023, 3)))
    assert (failure.value.code, failure.value.stage) == (ErrorCode.ENGINE_MISMATCH, "to_open_head")
    broken = open_head.vertices_mean.copy()
    broken[0] = np.nan
    with pytest.raises(FacewrightError, match="SOURCE_VERTICES holds numbers that are not finite"):
        _run(broken, open_head.vertices_mean)
