"""Pipelines without a server: the same stages in the same order, only as far as something is wanted."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.adapter.in_process import PipelineRunner, run_in_process, stage_model
from facewright.adapter.served_files import network_file
from facewright.adapter.served_provenance import served_provenance
from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.pipelines.refinement import REFINEMENT
from facewright.pipelines.stages import SECTIONS, Network, Pipeline, Stage
from facewright.pipelines.tensors import FITTED_VERTICES, NETWORK_LANDMARKS, TEXTURE
from facewright.pipelines.twin import AVATAR_TWIN, FACE_LANDMARKS, FIND_FACE
from facewright.render.light import Light
from facewright_client.contract import (
    FACE_CROP,
    GLB,
    HEAD_TO_CAMERA,
    INTRINSICS,
    LANDMARKS,
    PHOTO,
    PREVIEW,
    REPORT,
    SH_LIGHT,
    ErrorCode,
)
from tests.support.relit import skin_error

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"


def test_an_avatar_and_its_report() -> None:
    run = run_in_process("avatar_twin", ASTRONAUT.read_bytes(), {"texture_size": 512}, (GLB, REPORT))
    assert run.content(GLB).startswith(b"glTF")
    report = json.loads(run.content(REPORT))
    assert report["pipeline"] == "avatar_twin"
    assert report["texture"]["size"] == 512
    assert report["models"].keys() == {weights.file for weights in AVATAR_TWIN.weights}
    assert "face_landmarks+face_shape.network_and_waiting" in report["milliseconds"]
    assert PREVIEW not in run.tensors
    assert list(run.milliseconds) == [step.name for step in AVATAR_TWIN.steps[:-2]]


@pytest.mark.parametrize("delight", [0.5, 1.0])
def test_the_avatar_in_its_own_light_is_nearer_to_the_photo_than_in_even_light(
    open_head: HeadModel, delight: float
) -> None:
    options = {"texture_size": 512, "texture_format": "png", "delight": delight}
    run = run_in_process("avatar_twin", ASTRONAUT.read_bytes(), options, (TEXTURE, SH_LIGHT))
    texture = np.asarray(Image.open(io.BytesIO(run.content(TEXTURE))))
    camera = run.array(INTRINSICS), run.array(HEAD_TO_CAMERA)
    own, even = (
        skin_error(open_head, run.array(FITTED_VERTICES), texture, run.array(FACE_CROP), camera, light)
        for light in (Light(run.array(SH_LIGHT)), Light.even())
    )
    assert own < 0.5 * even


def test_a_photo_cut_at_the_face_gives_its_face() -> None:
    """What is outside the photo is missing; what is inside counts as the person, whatever surrounds it."""

    def visible(box: tuple[int, int, int, int]) -> float:
        file = io.BytesIO()
        Image.open(ASTRONAUT).crop(box).save(file, "PNG")
        run = run_in_process("avatar_twin", file.getvalue(), {"texture_size": 512}, (REPORT,))
        return float(json.loads(run.content(REPORT))["texture"]["visible_share"])

    whole = visible((0, 0, 512, 512))
    assert visible((167, 71, 282, 185)) > 0.85 * whole  # the face's box and 10 %
    assert visible((177, 81, 272, 175)) > 0.7 * whole  # the box
    assert visible((186, 90, 274, 160)) > 0.5 * whole  # 10 to 15 pixels less of 95 on three sides


def test_only_what_is_wanted_runs() -> None:
    run = run_in_process("avatar_twin", ASTRONAUT.read_bytes(), wanted=(NETWORK_LANDMARKS,))
    assert list(run.milliseconds) == ["find_face", "face_landmarks"]
    assert run.array(NETWORK_LANDMARKS).shape == (478, 3)
    assert LANDMARKS not in run.tensors


def test_errors_name_their_stage() -> None:
    with pytest.raises(FacewrightError) as caught:
        run_in_process("avatar_twin", b"no photo")
    assert (caught.value.code, caught.value.stage) == (ErrorCode.BAD_PHOTO, "find_face")
    with pytest.raises(FacewrightError, match="no pipeline 'avatar_none'"):
        run_in_process("avatar_none", b"")
    with pytest.raises(FacewrightError, match="unknown option 'texture_sise'"):
        run_in_process("avatar_twin", b"", {"texture_sise": 512})


class _Blind(StageModel):
    """Sees no face, whatever it is shown."""

    stage = FIND_FACE

    def load(self, machine: Machine) -> None:
        self.loaded = machine

    def compute(self, request: StageRequest) -> Outputs:
        raise FacewrightError(ErrorCode.NO_FACE, "nothing to see", "open your eyes")


def test_a_stage_can_be_replaced() -> None:
    blind = _Blind()
    runner = PipelineRunner(AVATAR_TWIN, {"find_face": blind})
    with pytest.raises(FacewrightError, match="nothing to see"):
        runner.run({PHOTO: b""})
    assert blind.loaded == Machine("cpu")


def test_a_stage_without_code_names_the_repository() -> None:
    with pytest.raises(FacewrightError, match=r"no imagined/1/model\.py") as caught:
        stage_model(Stage("imagined", (), ()))
    assert "FACEWRIGHT_MODEL_REPOSITORY" in caught.value.hint


def test_weights_of_a_pipeline_are_fingerprinted() -> None:
    made_with = served_provenance(AVATAR_TWIN)
    content = asset_path("person_mask.onnx").read_bytes()
    assert made_with.models["person_mask.onnx"] == hashlib.sha256(content).hexdigest()
    assert made_with.licences["head.npz"] == "CC0-1.0 AND MIT"


def test_an_open_network_runs_where_no_owner_brings_one(tmp_path: Path) -> None:
    assert network_file(FACE_LANDMARKS, tmp_path) == asset_path("face_landmarks.onnx")
    with pytest.raises(FacewrightError, match="no repository of exported networks has secret") as caught:
        network_file(Network("secret", (), ()), tmp_path)
    assert "facewright export" in caught.value.hint


@pytest.mark.parametrize("row", REFINEMENT, ids=lambda row: row.name)
def test_refinement_runs_in_this_process_too(row: Pipeline) -> None:
    """A pipeline of one stage, which is called by itself."""
    rng = np.random.default_rng(0)
    head_to_camera = np.concatenate([np.diag([1, -1, -1]), [[0], [0], [0.8]]], axis=1).astype(np.float32)
    inputs: Mapping[str, Any] = {
        "FACE_CROP": rng.integers(0, 255, (1024, 1024, 3), dtype=np.uint8),
        "FACE_MASK": np.full((256, 256), 255, np.uint8),
        "INTRINSICS": np.array([[2000, 0, 512], [0, 2000, 512], [0, 0, 1]], np.float32),
        "HEAD_TO_CAMERA": head_to_camera,
        "SH_LIGHT": np.eye(9, 3, dtype=np.float32),
        "W_PLUS": np.zeros((14, 512), np.float32),
    }
    runner = PipelineRunner(row)
    run = runner.run({tensor: inputs[tensor.name] for tensor in row.takes}, {"iterations": 1})
    assert run.array(next(t for t in row.gives if t.name == "REFINEMENT_LOSSES")).shape == (1, 4)
    assert SECTIONS not in run.tensors
