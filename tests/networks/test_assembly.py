"""A model repository of exported networks: versions, configs that say what the file says, and a real
Triton."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from torch import nn

from facewright.engine import OnnxEngine
from facewright.server.model_configs import PROFILES
from facewright.server.triton_runtime import RuntimeMissingError, installed_runtime
from facewright_export.export_error import ExportError
from facewright_export.graph_surgery import PixelNormalisation
from facewright_export.network import Batch, Example, Input, Network
from facewright_export.network_export import ExportedNetwork, export_network
from facewright_export.parity import angle_degrees, plain_difference
from facewright_export.parity_gates import gate
from facewright_export.precision import Precision
from facewright_export.repository_assembly import (
    add_version,
    describe,
    main,
    parity_rows,
    serve_versions,
    versions_in,
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
    add_version(tmp_path, exported.model, parity_rows(exported.results), "cpu")
    return tmp_path


def _tensors(config: str, field: str) -> dict[str, tuple[str, list[int]]]:
    block = re.search(rf"^{field} \[(.*?)^\]", config, re.S | re.M)
    assert block is not None
    rows = re.findall(r'name: "(\w+)" data_type: TYPE_(\w+) dims: \[ ([-\d, ]+) \]', block[1])
    return {name: (kind, [int(n) for n in dims.split(",")]) for name, kind, dims in rows}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_says_what_the_file_says(repository: Path, profile: str) -> None:
    folder = repository / "small_embedding"
    config = (folder / "configs" / f"{profile}.pbtxt").read_text()
    engine = OnnxEngine(folder / "1" / "model.onnx")
    for field, specs in (("input", engine.inputs), ("output", engine.outputs)):
        declared = _tensors(config, field)
        assert list(declared) == list(specs)
        for name, spec in specs.items():
            assert declared[name] == (
                {"float32": "FP32", "uint8": "UINT8"}[spec.dtype.name],
                list(spec.shape[1:]),
            )
    assert 'name: "small_embedding"' in config
    assert "max_batch_size: 8" in config
    warm_ups = re.findall(r"batch_size: (\d+)\n((?:  inputs .*\n)+)", config)
    assert [batch for batch, _ in warm_ups if batch != "8"] == (
        ["1", "2"] if profile == "tensorrt" else ["1"]
    )
    assert all(f'key: "{name}"' in inputs for _, inputs in warm_ups for name in engine.inputs)
    assert ("tensorrt_plan" in config) == (profile == "tensorrt")


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
    assert "latest: { num_versions: 2 }" in (folder / "config.pbtxt").read_text()
    assert main([str(repository), "small_embedding", "--serve", "1"]) == 0
    for path in (folder / "config.pbtxt", *(folder / "configs").iterdir()):
        assert "specific: { versions: [ 1 ] }" in path.read_text()
    assert "tensorrt_plan" in (folder / "config.pbtxt").read_text(), "the default profile stays"
    serve_versions(repository, "small_embedding", None)
    assert "latest: { num_versions: 2 }" in (folder / "config.pbtxt").read_text()
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
def server(repository: Path, exported: ExportedNetwork) -> Iterator[triton.InferenceServerClient]:
    """A real Triton on a repository of two versions, the second of them in fp16."""
    try:
        runtime = installed_runtime()
    except RuntimeMissingError as error:
        pytest.skip(str(error))
    narrowed = export_network(SMALL, SMALL.seeded(), Precision.FP16)
    add_version(repository, narrowed.model, [], "cpu")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(runtime.binary), f"--model-repository={repository}", "--model-config-name=cpu"]
    command += [f"--backend-directory={runtime.backends}", f"--grpc-port={port}"]
    command += ["--allow-http=false", "--allow-metrics=false", "--grpc-address=127.0.0.1"]
    environment = runtime.environment() | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (repository / "triton.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
                _wait_until_ready(client, process, repository / "triton.log")
                yield client
        finally:
            process.terminate()
            process.wait(20)


def _wait_until_ready(
    client: triton.InferenceServerClient, process: subprocess.Popen[bytes], log: Path
) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.is_server_ready():
                return
        except triton.InferenceServerException:
            time.sleep(0.1)
    pytest.fail(f"Triton did not start:\n{log.read_text()[-4000:]}")


@pytest.mark.server
def test_triton_serves_both_versions_and_batches(
    server: triton.InferenceServerClient, exported: ExportedNetwork
) -> None:
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
