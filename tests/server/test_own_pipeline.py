"""Somebody's pipeline from one file outside ``src``: a real Triton, a GLB, a report that it signs, a command
line that knows its option.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper, numpy_helper

from facewright.adapter.served_files import owners_network
from facewright.core.errors import FacewrightError
from facewright.engines.exported_repository import require_servable
from facewright.pipelines.registry import VARIABLE, pipeline
from facewright.server import Server, ServerSettings
from facewright.server.model_configs import Sizing
from facewright.server.probe import main as probe
from facewright.server.served_repository import assemble_repository, served_pipelines
from facewright_client import BadOptionError, Client
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.onnx.network_metadata import NetworkMetadata, write_metadata
from facewright_export.repository_assembly import add_version, serve_versions
from tests.server.conftest import PHOTO

pytestmark = pytest.mark.server

FILE = Path(__file__).with_name("own_pipeline.py")
NAME = "avatar_shifted"
CODE_SIZE = 8


def _network(name: str, inputs: int, outputs: int, seed: int) -> onnx.ModelProto:
    """``tanh(input @ weights)``, the weights drawn from a seed."""
    weights = np.random.default_rng(seed).standard_normal((inputs, outputs)).astype(np.float32) / inputs**0.5
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "weights"], ["x"]),
            helper.make_node("Tanh", ["x"], ["output"]),
        ],
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", inputs])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    write_metadata(model, NetworkMetadata(name, "fp32", (1, 1, 4), ("seed",)))
    return model


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's networks, as ``facewright export`` writes them."""
    folder = tmp_path_factory.mktemp("networks")
    add_version(folder, _network("encode_identity", IDENTITY_SIZE, CODE_SIZE, 1), [], "cpu")
    add_version(folder, _network("decode_identity", CODE_SIZE, IDENTITY_SIZE, 2), [], "cpu")
    return folder


@pytest.fixture(scope="module", autouse=True)
def own_file() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(FILE))
        yield


@pytest.fixture(scope="module")
def shifted(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this pipeline and of ours, which share their first stages."""
    log = tmp_path_factory.mktemp("shifted") / "triton.log"
    settings = ServerSettings(
        grpc_port=0,
        http_port=0,
        pipelines=(NAME, "avatar_twin"),
        networks=repository,
        log=log,
    )
    with Server(settings) as running:
        yield running


def _command_line(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "facewright.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_knows_its_option() -> None:
    ours = " ".join(_command_line("create", "--help", "--pipeline", NAME).stdout.split())
    assert "--shift X how far the head moves, 0 to 1 (default: 0.5)" in ours
    assert "--shift" not in _command_line("create", "--help").stdout


def test_an_avatar_from_the_command_line(shifted: Server, repository: Path, tmp_path: Path) -> None:
    glb = tmp_path / "me.glb"
    arguments = ["create", str(PHOTO), "-o", str(glb), "--report", "--preview"]
    done = _command_line(*arguments, "--pipeline", NAME, "--shift", "0.25", "--server", shifted.url)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "me.report.json").read_text())
    assert report["pipeline"] == NAME
    assert report["options"]["shift"] == 0.25
    assert report["shift"]["largest_mm"] > 0.05
    assert "the head was shifted" in report["warnings"]
    assert "encode_identity+decode_identity.network_and_waiting" in report["milliseconds"]
    name = "encode_identity/1/model.onnx"
    assert report["models"][name] == hashlib.sha256((repository / name).read_bytes()).hexdigest()
    assert report["licences"][name] == "LicenseRef-owner"
    content = glb.read_bytes()
    assert content.startswith(b"glTF")
    extras = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])["asset"]["extras"]
    assert (extras["pipeline"], extras["models"]) == (NAME, report["models"])
    assert (tmp_path / "me.preview.png").read_bytes().startswith(b"\x89PNG")


def test_the_answer_is_that_of_the_same_stages_in_one_process(
    shifted: Server, repository: Path, tmp_path: Path
) -> None:
    """To the byte: with as many threads as the server's stages have."""
    program = (
        "import sys; from pathlib import Path; from facewright.adapter.in_process import run_in_process; "
        "from facewright_client.contract import GLB; photo, out = map(Path, sys.argv[1:]); "
        f"out.write_bytes(run_in_process('{NAME}', photo.read_bytes(), {{'shift': 1.0}}).content(GLB))"
    )
    environment = os.environ | {
        "FACEWRIGHT_NETWORKS": str(repository),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", program, str(PHOTO), str(tmp_path / "own.glb")]
    subprocess.run(command, env=environment, check=True)
    with Client(shifted.url) as client:
        served = client.create(PHOTO, NAME, shift=1.0)
        unshifted = client.create(PHOTO, NAME, shift=0.0)
    assert served.glb == (tmp_path / "own.glb").read_bytes()
    assert served.glb != unshifted.glb


def test_an_optional_tensor_reaches_its_stage(shifted: Server) -> None:
    photo = np.frombuffer(PHOTO.read_bytes(), np.uint8)

    def shift_mm(factor: float | None) -> float:
        tensors = [triton.InferInput("PHOTO", [1, len(photo)], "UINT8")]
        tensors[0].set_data_from_numpy(photo[None])
        if factor is not None:
            tensors.append(triton.InferInput("FACTOR", [1, 1], "FP32"))
            tensors[1].set_data_from_numpy(np.array([[factor]], np.float32))
        with triton.InferenceServerClient(shifted.url) as raw:
            result = raw.infer(NAME, tensors, outputs=[triton.InferRequestedOutput("REPORT")])
        report = json.loads(result.as_numpy("REPORT")[0].tobytes())
        return float(report["shift"]["largest_mm"])

    assert shift_mm(0.0) == 0.0
    assert shift_mm(2.0) == pytest.approx(2 * shift_mm(None), rel=0.01)


def test_pipelines_that_share_stages_are_told_apart(shifted: Server) -> None:
    """At the same time: each has its own options, and signs its own report."""

    def made(number: int) -> tuple[str, str, bool]:
        name = (NAME, "avatar_twin")[number % 2]
        with Client(shifted.url) as client:
            report = client.create(PHOTO, name, texture_size=512).report
        return name, report["pipeline"], "shift" in report["options"]

    with ThreadPoolExecutor(4) as pool:
        for name, signed, shift in pool.map(made, range(8)):
            assert (signed, shift) == (name, name == NAME)
    with Client(shifted.url) as client, pytest.raises(BadOptionError, match="unknown option 'shift'"):
        client.create(PHOTO, "avatar_twin", shift=0.5)


def test_the_probe_finds_what_is_served(shifted: Server) -> None:
    assert probe([shifted.url, "60"]) == 0
    assert probe(["--pipeline", NAME, shifted.url, "60"]) == 0


def test_its_options_are_checked_and_other_pipelines_are_not_served(shifted: Server) -> None:
    with Client(shifted.url) as client:
        with pytest.raises(BadOptionError, match=r"option shift is '2\.0'"):
            client.create(PHOTO, NAME, shift=2.0)
        assert client.ready(NAME)
        assert not client.ready("refine_latent")


def test_a_network_of_another_size_is_refused_before_triton_starts(tmp_path: Path) -> None:
    add_version(tmp_path, _network("encode_identity", 12, CODE_SIZE, 1), [], "cpu")
    add_version(tmp_path, _network("decode_identity", CODE_SIZE, IDENTITY_SIZE, 2), [], "cpu")
    settings = ServerSettings(grpc_port=0, http_port=0, pipelines=(NAME,), networks=tmp_path)
    message = r"encode_identity has no input input TYPE_FP32 \[160\]; it has input TYPE_FP32 \[12\]"
    with pytest.raises(FacewrightError, match=message), Server(settings):
        pass


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((IDENTITY_SIZE, 12), r"has no output output TYPE_FP32 \[8\]"),
        ((IDENTITY_SIZE, CODE_SIZE, "another"), "also needs another, which nobody gives"),
    ],
)
def test_a_network_that_does_not_fit_its_place(tmp_path: Path, sizes: tuple, message: str) -> None:
    model = _network("encode_identity", sizes[0], sizes[1], 1)
    for name in sizes[2:]:
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]))
    add_version(tmp_path, model, [], "cpu")
    add_version(tmp_path, _network("decode_identity", CODE_SIZE, IDENTITY_SIZE, 2), [], "cpu")
    with pytest.raises(FacewrightError, match=message):
        assemble_repository(tmp_path / "r", served_pipelines((NAME,)), "cpu", Sizing(), tmp_path)


def test_folders_that_are_no_networks_are_named(tmp_path: Path) -> None:
    add_version(tmp_path, _network("encode_identity", IDENTITY_SIZE, CODE_SIZE, 1), [], "cpu")
    (tmp_path / "notes").mkdir()
    with pytest.raises(FacewrightError, match="holds notes, which is no exported network"):
        require_servable(tmp_path, "cpu")
    (tmp_path / "notes").rmdir()
    (tmp_path / "encode_identity" / "1" / "model.onnx").unlink()
    with pytest.raises(FacewrightError, match=r"encode_identity/1 has no model\.onnx"):
        require_servable(tmp_path, "cpu")


def test_the_report_names_the_version_that_triton_runs(tmp_path: Path) -> None:
    """Triton prefers ``configs/<profile>.pbtxt``."""
    for seed in (1, 2):
        add_version(tmp_path, _network("encode_identity", IDENTITY_SIZE, CODE_SIZE, seed), [], "cpu")
    assert owners_network("encode_identity", tmp_path) == tmp_path / "encode_identity/2/model.onnx"
    serve_versions(tmp_path, "encode_identity", (1,))
    assert owners_network("encode_identity", tmp_path) == tmp_path / "encode_identity/1/model.onnx"
    (tmp_path / "encode_identity/config.pbtxt").write_text("version_policy { specific { versions: 2 } }")
    assert owners_network("encode_identity", tmp_path) == tmp_path / "encode_identity/1/model.onnx"
    (tmp_path / "encode_identity/configs/cpu.pbtxt").write_text("version_policy { specific { versions: 9 } }")
    with pytest.raises(FacewrightError, match=r"serves versions \[9\] and has \[1, 2\]"):
        owners_network("encode_identity", tmp_path)


def test_a_network_that_nobody_brought_names_the_command() -> None:
    settings = ServerSettings(grpc_port=0, http_port=0, pipelines=(NAME,))
    with (
        pytest.raises(FacewrightError, match="no repository of exported networks") as caught,
        Server(settings),
    ):
        pass
    assert "facewright export" in caught.value.hint


def test_it_is_one_of_the_pipelines() -> None:
    assert served_pipelines(()).keys() > {"avatar_twin", NAME}
    assert pipeline(NAME).summary == "The twin's head, moved by two networks."
