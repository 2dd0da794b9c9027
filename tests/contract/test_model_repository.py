"""Every config.pbtxt is what the contract and the table of stages give, and says the contract's tensors."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from facewright.server.model_configs import ENSEMBLES, NETWORKS, PROFILES, Sizing, model_config
from facewright_client import contract

REPOSITORY = Path(__file__).parents[2] / "model_repository"
MODELS = sorted([*ENSEMBLES, *contract.STAGES])


def _tensors(config: str, field: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors that a config's text declares, read without the code that wrote it."""
    block = re.search(rf"^{field} \[(.*?)^\]", config, re.S | re.M)
    assert block is not None
    rows = re.findall(r'name: "(\w+)" data_type: (\w+) dims: \[ ([-\d, ]+) \]', block[1])
    return {name: (kind, tuple(map(int, dims.split(",")))) for name, kind, dims in rows}


def test_the_repository_holds_the_contracts_models_and_no_others() -> None:
    assert sorted(path.name for path in REPOSITORY.iterdir() if path.is_dir()) == MODELS


@pytest.mark.parametrize("model", MODELS)
def test_configs_are_the_generated_ones(model: str) -> None:
    folder = REPOSITORY / model
    assert (folder / "config.pbtxt").read_text() == model_config(model, "cpu")
    files = {path.stem: path.read_text() for path in (folder / "configs").iterdir()}
    assert files == {profile: model_config(model, profile) for profile in PROFILES}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_declares_the_contracts_tensors(model: str, profile: str) -> None:
    config = (REPOSITORY / model / "configs" / f"{profile}.pbtxt").read_text()
    inputs, outputs = contract.AVATAR if model in ENSEMBLES else contract.STAGES[model]
    for field, tensors in (("input", inputs), ("output", outputs)):
        assert _tensors(config, field) == {tensor.name: (tensor.dtype, tensor.shape) for tensor in tensors}
    assert f'name: "{model}"' in config


@pytest.mark.parametrize("ensemble", sorted(ENSEMBLES))
def test_every_step_finds_its_inputs(ensemble: str) -> None:
    known = set(contract.AVATAR[0])
    for stage in ENSEMBLES[ensemble]:
        inputs, outputs = contract.STAGES[stage]
        assert set(inputs) <= known, stage
        assert not set(outputs) & known, stage
        known |= set(outputs)
    assert set(contract.AVATAR[1]) <= known


@pytest.mark.parametrize("stage", sorted(contract.STAGES))
def test_adapters_only_translate(stage: str) -> None:
    text = (REPOSITORY / stage / "1" / "model.py").read_text()
    assert len(text.splitlines()) <= 60
    assert "numpy" not in text


def test_only_networks_leave_python_in_the_tensorrt_profile() -> None:
    for stage in contract.STAGES:
        uses_tensorrt = "tensorrt_plan" in model_config(stage, "tensorrt")
        assert uses_tensorrt == (stage in NETWORKS)


def test_instances_follow_the_cores() -> None:
    assert Sizing(1).instances("find_face") == 1
    assert Sizing(16).instances("bake_texture") == 8 * Sizing(2).instances("bake_texture")
    assert "count: 8 " in model_config("find_face", "cpu", Sizing(16))


@pytest.mark.parametrize("ensemble", sorted(ENSEMBLES))
def test_no_two_steps_run_side_by_side(ensemble: str) -> None:
    """Two steps that fail at the same time crash Triton 2.51: each step must wait for the one before."""
    steps = ENSEMBLES[ensemble]
    for before, stage in pairwise(steps):
        assert set(contract.STAGES[before][1]) & set(contract.STAGES[stage][0]), (before, stage)
