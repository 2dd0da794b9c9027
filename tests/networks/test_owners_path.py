"""An owner's files to an avatar: `facewright export normalized`, and the pipeline that runs what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facewright.adapter.in_process import PipelineRunner
from facewright.adapter.served_files import NETWORKS_VARIABLE, served_refinement
from facewright.cli import doctor, main
from facewright.core.errors import FacewrightError
from facewright.engines.onnx_engine import OnnxEngine
from facewright.pipelines.normalized import AVATAR_NORMALIZED
from facewright_client.contract import GLB, PHOTO, REFINED_W_PLUS, REPORT, ErrorCode
from facewright_export.network_tables import network
from tests.networks.published_files import write_files

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
GENERATOR = ("identity_regressor", "avatar_generator")


@pytest.fixture(
    scope="module",
    params=[GENERATOR, pytest.param(("face_embedding", *GENERATOR), marks=pytest.mark.slow)],
    ids=["generator", "all"],
)
def brought(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The networks that the owner has."""
    names: tuple[str, ...] = request.param
    return names


@pytest.fixture(scope="module")
def repository(brought: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes of files in their published formats, with seeded weights."""
    weights, output = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("owner") / "repository"
    files = [str(path) for name in brought for path in write_files(weights, network(name))]
    arguments = ["--weights", *files, "--network", *brought, "--output", str(output)]
    assert main(["export", "normalized", *arguments]) == 0
    return output


@pytest.fixture(autouse=True)
def _served(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server tells its stages."""
    monkeypatch.setenv(NETWORKS_VARIABLE, str(repository))


def test_an_owners_networks_make_an_avatar(repository: Path, brought: tuple[str, ...]) -> None:
    runner = PipelineRunner(AVATAR_NORMALIZED, repository=repository)
    options = {"iterations": 2, "texture_size": 512}
    run = runner.run({PHOTO: ASTRONAUT.read_bytes()}, options, (GLB, REPORT, REFINED_W_PLUS))
    assert run.content(GLB).startswith(b"glTF")
    report = json.loads(run.content(REPORT))
    assert report["refinement"]["iterations"] == 2
    models = set(report["models"])
    assert "identity_regressor/1/model.onnx" in models
    assert {f"avatar_generator/1/generator_{part}.onnx" for part in ("forward", "backward")} <= models
    own = "face_embedding" in brought
    assert ("face_embedding/1/identity_loss.onnx" in models) == own
    assert ("face_embedding.onnx" in models) != own
    # The latents began at what the owner's regressor says of the owner's embedding.
    regressor = OnnxEngine(repository / "identity_regressor" / "1" / "model.onnx")
    embedding = next(value for tensor, value in run.tensors.items() if tensor.name == "EMBEDDING")
    start = regressor.run({"EMBEDDING": embedding[None]})["W_PLUS"][0]
    moved = np.abs(run.array(REFINED_W_PLUS) - start).max()
    assert 0 < moved < 0.2


def test_the_doctor_says_whose_weights_would_run(
    repository: Path, brought: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    doctor.examine(networks=repository)
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "avatar_normalized" in line)
    assert f"{', '.join(brought)} of {repository}" in line
    assert "perceptual_distance open" in line
    twin = next(line for line in said.splitlines() if "avatar_twin" in line)
    assert "its weights are open" in twin


def test_a_generator_without_gradients_is_named_with_the_mend(repository: Path) -> None:
    graph = repository / "avatar_generator" / "1" / "generator_backward.onnx"
    hidden = graph.rename(graph.with_suffix(".away"))
    try:
        with pytest.raises(FacewrightError, match=r"generator_backward\.onnx") as caught:
            served_refinement(repository)
    finally:
        hidden.rename(graph)
    assert caught.value.code is ErrorCode.ENGINE_MISMATCH
    assert "facewright export normalized --network avatar_generator" in caught.value.hint
