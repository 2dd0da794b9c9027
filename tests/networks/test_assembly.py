"""A repository of exported networks: versions, configs that say what the file says, a real Triton."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc import model_config_pb2 as triton_config

from benchmarks.inner_stages import triton_target
from facewright.core.errors import FacewrightError
from facewright.engines import exported_repository
from facewright.engines.exported_repository import (
    exported_networks,
    require_servable,
    served_versions,
    versions_in,
)
from facewright.engines.onnx_engine import OnnxEngine
from facewright.engines.tensorrt_plan import PlanIdentity, write_identity
from facewright.server import Server, ServerSettings
from facewright.server.model_configs import PROFILES
from facewright_export.export_error import ExportError
from facewright_export.network import Batch, Example, Input, Network
from facewright_export.network_export import ExportedNetwork, export_network
from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.onnx.precision import Precision
from facewright_export.parity.parity import angle_degrees, plain_difference
from facewright_export.parity.parity_gates import gate
from facewright_export.repository_assembly import (
    add_version,
    describe,
    main,
    parity_rows,
    serve_versions,
)


class Small(nn.Module):
    """An image and a code to an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.code_layer = nn.Linear(4, 8)

    def forward(self, image, code):  # type: ignore[no-untyped-def]
        features = self.conv(image).mean(dim=(2, 3)) + self.code_layer(code)
        return features, features.sum(dim=1, keepdim=True)


SMALL = Network(
    name="small_embedding",
    build=Small,
    load=Small,
    files=(),
    inputs=(Input("FACE_IMAGE", (16, 16, 3), Example.PIXELS), Input("CODE", (4,), Example.NORMAL)),
    gates={"EMBEDDING": gate(angle_degrees(), 0.01, 1, 8), "SUM": gate(plain_difference(), 1e-4, 1e-2, 1e-1)},
    source="this test",
    pixels=PixelNormalisation((127.5,) * 3, (127.5,) * 3),
    batch=Batch(1, 2, 8),
)


@pytest.fixture(scope="module")
def exported() -> ExportedNetwork:
    return export_network(SMALL, SMALL.seeded(), Precision.FP32, ("weights.pt 00ff",))


@pytest.fixture
def repository(exported: ExportedNetwork, tmp_path: Path) -> Path:
    add_version(tmp_path / "repository", exported.model, parity_rows(exported.results), "cpu")
    return tmp_path / "repository"


def _config(path: Path) -> Any:
    return text_format.Parse(path.read_text(), triton_config.ModelConfig())


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_says_what_the_file_says(repository: Path, profile: str) -> None:
    folder = repository / "small_embedding"
    config = _config(folder / "configs" / f"{profile}.pbtxt")
    engine = OnnxEngine(folder / "1" / "model.onnx")
    for rows, specs in ((config.input, engine.inputs), (config.output, engine.outputs)):
        kinds = {"float32": triton_config.TYPE_FP32, "uint8": triton_config.TYPE_UINT8}
        said = {row.name: (row.data_type, list(row.dims)) for row in rows}
        assert said == {name: (kinds[spec.dtype.name], list(spec.shape[1:])) for name, spec in specs.items()}
    assert (config.name, config.max_batch_size) == ("small_embedding", 8)
    assert [row.batch_size for row in config.model_warmup] == ([1, 2] if profile == "tensorrt" else [1])
    assert all(row.inputs.keys() == engine.inputs.keys() for row in config.model_warmup)
    assert (config.platform == "tensorrt_plan") == (profile == "tensorrt")
    assert (config.backend == "python") == (profile != "tensorrt")


def test_the_default_config_is_the_profiles(exported: ExportedNetwork, tmp_path: Path) -> None:
    for profile in PROFILES:
        add_version(tmp_path, exported.model, [], profile)
        folder = tmp_path / "small_embedding"
        assert (folder / "config.pbtxt").read_text() == (folder / "configs" / f"{profile}.pbtxt").read_text()


def test_the_proof_and_the_origin_are_kept(repository: Path) -> None:
    version = repository / "small_embedding" / "1"
    rows = json.loads((version / "parity.json").read_text())
    assert [row["parity"]["tensor"] for row in rows] == ["EMBEDDING", "SUM"]
    assert all(row["parity"]["cosine"] > 0.99999 for row in rows)
    said = {entry.key: entry.value for entry in onnx.load(version / "model.onnx").metadata_props}
    assert json.loads(said["facewright"]) == {
        "name": "small_embedding",
        "precision": "fp32",
        "batch": [1, 2, 8],
        "weights": ["weights.pt 00ff"],
    }


def test_exporting_again_is_a_new_version_and_rolling_back_a_policy(
    repository: Path, exported: ExportedNetwork, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = repository / "small_embedding"
    first = (folder / "1" / "model.onnx").read_bytes()
    assert add_version(repository, exported.model, [], "tensorrt") == folder / "2"
    assert versions_in(folder) == [1, 2]
    assert (folder / "1" / "model.onnx").read_bytes() == first
    assert _config(folder / "config.pbtxt").version_policy.latest.num_versions == 2
    assert served_versions(folder) == [1, 2]
    assert main([str(repository), "small_embedding", "--serve", "1"]) == 0
    for path in (folder / "config.pbtxt", *(folder / "configs").iterdir()):
        assert list(_config(path).version_policy.specific.versions) == [1]
    assert "tensorrt_plan" in (folder / "config.pbtxt").read_text(), "the default profile stays"
    assert served_versions(folder) == [1]
    serve_versions(repository, "small_embedding", None)
    assert _config(folder / "config.pbtxt").version_policy.latest.num_versions == 2
    assert served_versions(folder) == [1, 2]
    assert main([str(repository), "small_embedding", "--serve", "7"]) == 1
    assert "has no version 7" in capsys.readouterr().err


def test_a_version_is_there_as_a_whole_or_not(exported: ExportedNetwork, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        add_version(tmp_path, exported.model, [{"unwritable": object()}], "cpu")
    assert versions_in(tmp_path / "small_embedding") == []
    assert not list((tmp_path / "small_embedding").glob(".unfinished*"))


def test_a_foreign_file_is_refused(exported: ExportedNetwork) -> None:
    foreign = onnx.ModelProto()
    foreign.CopyFrom(exported.model)
    del foreign.metadata_props[:]
    with pytest.raises(ExportError, match="does not say its batch range"):
        describe(foreign)


@pytest.fixture
def server(repository: Path, tmp_path: Path) -> Iterator[triton.InferenceServerClient]:
    """`facewright serve --networks` on two versions of one network, the second in fp16, past the door."""
    narrowed = export_network(SMALL, SMALL.seeded(), Precision.FP16)
    add_version(repository, narrowed.model, [], "cpu")
    settings = ServerSettings(grpc_port=0, http_port=0, networks=repository, log=tmp_path / "triton.log")
    with Server(settings) as running, triton.InferenceServerClient(triton_target(running.pid)) as client:
        yield client


def test_the_tensorrt_profile_wants_a_plan_of_every_version(
    repository: Path, exported: ExportedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_repository, "compute_capability", lambda: "9.0")
    monkeypatch.setenv("TRT_VERSION", "11.4.0.106")
    add_version(repository, exported.model, [], "tensorrt")
    require_servable(repository, "cpu")
    for version in (2, 1):
        with pytest.raises(FacewrightError, match=r"there is no plan .*/model_9\.0\.plan"):
            require_servable(repository, "tensorrt")
        folder = repository / "small_embedding" / str(version)
        sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        (folder / "model_9.0.plan").write_bytes(b"plan")
        identity = PlanIdentity("small_embedding", "11.4.0.106", "9.0", sha256, "fp32", (1, 2, 8))
        write_identity(folder / "model_9.0.plan", identity)
    require_servable(repository, "tensorrt")
    monkeypatch.setenv("TRT_VERSION", "11.5.0.1")
    with pytest.raises(FacewrightError, match=r"by TensorRT 11\.4\.0\.106, here is 11\.5\.0\.1"):
        require_servable(repository, "tensorrt")


def test_an_empty_repository_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(FacewrightError, match="holds no exported network"):
        exported_networks(tmp_path)


@pytest.mark.server
def test_triton_serves_both_versions_and_batches(server: triton.InferenceServerClient) -> None:
    examples = SMALL.examples(3)
    wanted = SMALL.reference(SMALL.seeded(), examples)
    inputs = []
    for name, array in examples.items():
        kind = {"uint8": "UINT8", "float32": "FP32"}[array.dtype.name]
        inputs.append(triton.InferInput(name, array.shape, kind))
        inputs[-1].set_data_from_numpy(array)
    got = {
        version: server.infer("small_embedding", inputs, model_version=version).as_numpy("EMBEDDING")
        for version in ("1", "2")
    }
    np.testing.assert_allclose(got["1"], wanted["EMBEDDING"], rtol=1e-4, atol=1e-5)
    difference = np.linalg.norm(got["2"] - wanted["EMBEDDING"]) / np.linalg.norm(wanted["EMBEDDING"])
    assert 1e-6 < difference < 5e-3, "version 2 is fp16"
    bad = triton.InferInput("CODE", (1, 4), "FP32")
    bad.set_data_from_numpy(np.zeros((1, 4), np.float32))
    with pytest.raises(triton.InferenceServerException, match=r"expected 2 inputs|missing"):
        server.infer("small_embedding", [bad])
