"""A repository that an earlier version exported is served as it lies on its owner's disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from facewright.engines.exported_repository import exported_networks, require_servable, served_versions
from facewright.engines.onnx_engine import OnnxEngine
from facewright.server import Server, ServerSettings
from tests.server.doors import behind

#: As commit f6f195d wrote it; its README says how.
_WRITTEN_BY_0_1 = Path(__file__).parents[1] / "data" / "exported_repository_0_1"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy: Python leaves its bytecode beside what it imports."""
    copy = tmp_path_factory.mktemp("owner") / "repository"
    shutil.copytree(_WRITTEN_BY_0_1, copy)
    return copy


@pytest.fixture(scope="module")
def client(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[triton.InferenceServerClient]:
    """`facewright serve --networks` on it; networks are asked behind the door."""
    log = tmp_path_factory.mktemp("log") / "triton.log"
    settings = ServerSettings(grpc_port=0, http_port=0, networks=repository, log=log)
    with Server(settings) as running, triton.InferenceServerClient(behind(running)) as connected:
        yield connected


def test_its_networks_and_version_policies_are_read() -> None:
    require_servable(_WRITTEN_BY_0_1, "cpu")
    networks = exported_networks(_WRITTEN_BY_0_1)
    assert {name: served_versions(folder) for name, folder in networks.items()} == {
        "rolled_back": [1],
        "small_embedding": [1, 2],
    }


@pytest.mark.server
@pytest.mark.parametrize("served", ["small_embedding/1", "small_embedding/2", "rolled_back/1"])
def test_triton_answers_what_onnx_runtime_answers(
    served: str, repository: Path, client: triton.InferenceServerClient
) -> None:
    network, version = served.split("/")
    engine = OnnxEngine(repository / served / "model.onnx")
    rng = np.random.default_rng(0)
    given = {
        "FACE_IMAGE": rng.integers(0, 256, (3, 16, 16, 3), np.uint8),
        "CODE": rng.normal(size=(3, 4)).astype(np.float32),
    }
    inputs = []
    for name, kind in (("FACE_IMAGE", "UINT8"), ("CODE", "FP32")):
        inputs.append(triton.InferInput(name, given[name].shape, kind))
        inputs[-1].set_data_from_numpy(given[name])
    answer = client.infer(network, inputs, model_version=version)
    wanted = engine.run(given)
    assert wanted.keys() == {"EMBEDDING", "SUM"}
    for name, array in wanted.items():
        assert np.abs(array).max() > 0.1
        np.testing.assert_allclose(answer.as_numpy(name), array, rtol=1e-5, atol=1e-6)


@pytest.mark.server
def test_a_version_that_was_rolled_back_stays_so(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready("rolled_back", "1")
    assert not client.is_model_ready("rolled_back", "2")
