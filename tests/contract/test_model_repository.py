"""Adapters only translate, and each config that Triton is given says what the table of pipelines says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton

from facewright.engines.profile import PROFILES, Profile
from facewright.pipelines.open_head import TO_OPEN_HEAD
from facewright.pipelines.registry import networks, pipelines, stages
from facewright.pipelines.stages import EARLIER_SECTIONS, REQUEST, SECTIONS, Pipeline
from facewright.pipelines.twin import BAKE_TEXTURE, FIND_FACE
from facewright.server.model_configs import Sizing, ensemble_config, open_network_config, stage_config

REPOSITORY = Path(__file__).parents[2] / "model_repository"
SERVED = pipelines()
#: Ready for its first pipeline.
WAITING = (TO_OPEN_HEAD,)
STAGES = {row.name: row for row in WAITING} | {
    name: stage for name, stage in stages(SERVED).items() if name not in networks(SERVED)
}
ENSEMBLES = [row for row in SERVED.values() if row.is_ensemble]


def _config(text: str) -> Any:
    return text_format.Parse(text, triton.ModelConfig())


def _stage(name: str, profile: Profile, sizing: Sizing | None = None) -> Any:
    return _config(stage_config(STAGES[name], SERVED.values(), profile, sizing or Sizing()))


def _declared(rows: Any) -> set[tuple[str, str, tuple[int, ...]]]:
    return {(row.name, triton.DataType.Name(row.data_type), tuple(row.dims)) for row in rows}


def test_the_repository_holds_the_python_stages_and_nothing_else() -> None:
    files = {
        str(path.relative_to(REPOSITORY))
        for path in REPOSITORY.rglob("*.*")
        if "__pycache__" not in str(path)
    }
    assert files == {f"{name}/1/model.py" for name in STAGES}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_adapters_only_translate(stage: str) -> None:
    text = (REPOSITORY / stage / "1" / "model.py").read_text()
    assert len(text.splitlines()) <= 60
    assert "numpy" not in text
    assert "triton_python_backend_utils" not in text


@pytest.mark.parametrize("name", sorted(STAGES))
@pytest.mark.parametrize("profile", PROFILES)
def test_a_stages_config_declares_its_tensors(name: str, profile: Profile) -> None:
    config, stage = _stage(name, profile), STAGES[name]
    own = {(t.name, t.dtype, t.shape) for t in stage.takes}, {(t.name, t.dtype, t.shape) for t in stage.gives}
    assert own[0] <= _declared(config.input)
    assert own[1] <= _declared(config.output)
    more = {row.name for row in config.input} - {t.name for t in stage.takes}
    assert more == (set() if stage.opens else {REQUEST.name, EARLIER_SECTIONS.name})
    assert (config.name, config.backend) == (name, "python")
    assert config.model_transaction_policy.decoupled == stage.streams


def test_what_opens_pipelines_has_a_request_for_each() -> None:
    outputs = {row.name for row in _stage("find_face", "cpu").output} - {t.name for t in FIND_FACE.gives}
    opened = {row.request_output.name for row in ENSEMBLES if row.steps[0].name == "find_face"}
    assert outputs == {SECTIONS.name} | opened


def test_only_networks_leave_python_in_the_tensorrt_profile() -> None:
    for network in networks(SERVED).values():
        assert _config(open_network_config(network, "tensorrt", Sizing())).platform == "tensorrt_plan"
        assert _config(open_network_config(network, "cpu", Sizing())).backend == "python"


def test_a_stage_that_computes_on_the_gpu_is_one_and_takes_many() -> None:
    config = _stage("refine_latent", "tensorrt")
    assert (config.max_batch_size, config.instance_group[0].count) == (32, 1)
    assert {name: value.string_value for name, value in config.parameters.items()} == {
        "network_device": "cuda",
        "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
        "network_plans": "yes",
    }
    assert _stage("refine_latent", "cpu").max_batch_size == 1


def test_instances_follow_the_cores() -> None:
    assert Sizing(1).instances(FIND_FACE) == 1
    assert Sizing(16).instances(BAKE_TEXTURE) == 8 * Sizing(2).instances(BAKE_TEXTURE)
    assert _stage("find_face", "cpu", Sizing(16)).instance_group[0].count == 8


@pytest.mark.parametrize("row", ENSEMBLES, ids=lambda row: row.name)
def test_every_step_finds_its_inputs_and_waits_for_the_one_before(row: Pipeline) -> None:
    """Two steps that fail at the same time crash Triton 2.51."""
    config = _config(ensemble_config(row))
    steps = config.ensemble_scheduling.step
    assert [step.model_name for step in steps] == [step.name for step in row.steps]
    known = {tensor.name for tensor in row.takes}
    for step, stage in zip(steps, row.steps, strict=True):
        assert set(step.input_map.values()) <= known
        needed = {tensor.name for tensor in stage.as_model().takes if not tensor.optional}
        assert needed <= set(step.input_map)
        given = set(step.output_map.values())
        assert not given & known
        known |= given
    assert {tensor.name for tensor in row.gives} <= known
    for before, after in pairwise(steps):
        assert set(before.output_map.values()) & set(after.input_map.values())


@pytest.mark.parametrize("row", ENSEMBLES, ids=lambda row: row.name)
def test_nothing_is_handed_on_that_nobody_reads(row: Pipeline) -> None:
    """Triton refuses such an ensemble."""
    config = _config(ensemble_config(row))
    steps = config.ensemble_scheduling.step
    read = {name for step in steps for name in step.input_map.values()} | {t.name for t in row.gives}
    assert {name for step in steps for name in step.output_map.values()} <= read
