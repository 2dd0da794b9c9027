"""The refinement stages of the cuda profile: tensors that lie on the GPU in, answers as on the CPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.head.head_model import HeadModel
from facewright.pipelines.refinement import REFINE_LATENT_PROGRESS
from facewright.render.light import STUDIO
from facewright.render.render_head import HeadRenderer, View
from facewright_client.contract import REFINEMENT_INPUTS, REFINEMENT_OUTPUTS
from tests.support.gpu import GPU, cupy_with_onnxruntime
from tests.support.small_refinement_networks import LATENT_SHAPE, small_networks
from tests.support.triton_stub import Request, triton_python_backend_utils

REPOSITORY = Path(__file__).parents[2] / "model_repository"
INPUTS = {tensor.name for tensor in REFINEMENT_INPUTS}
PROFILES = {"cpu": {}, "cuda": {"network_device": {"string_value": "cuda"}}}


@pytest.fixture(params=[GPU])
def xp(monkeypatch: pytest.MonkeyPatch) -> Any:
    return cupy_with_onnxruntime(monkeypatch)


@pytest.fixture(scope="module")
def networks(open_head: HeadModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    small_networks(open_head, folder)
    return folder


@pytest.fixture
def open_model(monkeypatch: pytest.MonkeyPatch, networks: Path) -> Callable[[str, str], Any]:
    """A stage's ``TritonPythonModel`` as a profile configures it, with small networks."""
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(networks))
    for name in [name for name in sys.modules if name.startswith("facewright.adapter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton_python_backend_utils())

    def open_stage(stage: str, profile: str) -> Any:
        path = REPOSITORY / stage / "1" / "model.py"
        spec = importlib.util.spec_from_file_location(f"model_of_{stage}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        model.initialize({"model_config": json.dumps({"parameters": PROFILES[profile], "output": []})})
        return model

    return open_stage


@pytest.fixture(scope="module")
def start(open_head: HeadModel) -> dict[str, np.ndarray]:
    """The tensors of a picture of the mean head."""
    view = View.turned(8, 4, size=1024, span=0.26)
    texture = np.full((8, 8, 3), (0.4, 0.3, 0.25), np.float32)
    tensors = {
        "FACE_CROP": HeadRenderer(open_head, texture).render(open_head.vertices_mean, view).over(),
        "FACE_MASK": np.full((256, 256), 255, np.uint8),
        "INTRINSICS": view.intrinsics.astype(np.float32),
        "HEAD_TO_CAMERA": view.head_to_camera.astype(np.float32),
        "SH_LIGHT": STUDIO.coefficients.astype(np.float32),
        "W_PLUS": np.random.default_rng(0).normal(size=LATENT_SHAPE).astype(np.float32),
    }
    assert tensors.keys() == INPUTS
    return tensors


OPTIONS = {"iterations": 3, "learning_rate": 0.002, "optimize_camera": True, "optimize_light": True}
RESULTS = [tensor.name for tensor in REFINEMENT_OUTPUTS]


def _same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    np.testing.assert_allclose(got["REFINEMENT_LOSSES"], expected["REFINEMENT_LOSSES"], rtol=1e-3)
    for name in ("REFINED_HEAD_TO_CAMERA", "REFINED_SH_LIGHT"):
        np.testing.assert_allclose(got[name], expected[name], atol=2e-4)
    # Adam's first step only sees the sign of a gradient, which rounding decides for a few.
    apart = np.abs(got["REFINED_W_PLUS"] - expected["REFINED_W_PLUS"])
    assert np.quantile(apart, 0.95) < 1e-4
    ended = [json.loads(answer["REFINEMENT_INFO"].tobytes()) for answer in (got, expected)]
    assert [info["iterations"] for info in ended] == [3, 3]


def test_tensors_on_a_gpu_are_refined_as_on_the_cpu(
    xp: Any, open_model: Callable[[str, str], Any], start: dict[str, np.ndarray]
) -> None:
    """Some lie on the GPU, as the networks before this stage leave them; some on the host."""
    requests = [
        Request(start, RESULTS, OPTIONS),
        Request({name: xp.asarray(array) for name, array in start.items()}, RESULTS, OPTIONS),
        Request(start | {"W_PLUS": xp.asarray(start["W_PLUS"])}, RESULTS, OPTIONS),
    ]
    xp.cuda.Device().synchronize()  # Triton hands tensors over when they are there
    (expected,) = open_model("refine_latent", "cpu").execute(requests[:1])
    for response in open_model("refine_latent", "cuda").execute(requests):
        _same(response.arrays(), expected.arrays())


def test_progress_of_tensors_on_a_gpu(
    xp: Any, open_model: Callable[[str, str], Any], start: dict[str, np.ndarray]
) -> None:
    outputs = [tensor.name for tensor in REFINE_LATENT_PROGRESS.gives]
    options = OPTIONS | {"preview_every": 2}
    on_gpu = Request({name: xp.asarray(array) for name, array in start.items()}, outputs, options)
    on_cpu = Request(start, outputs, options)
    xp.cuda.Device().synchronize()
    for request, profile in ((on_cpu, "cpu"), (on_gpu, "cuda")):
        open_model("refine_latent_progress", profile).execute([request])
    assert len(on_gpu.sent) == len(on_cpu.sent) == 4
    for got, expected in zip(on_gpu.sent[:-1], on_cpu.sent[:-1], strict=True):
        assert got.arrays().keys() == expected.arrays().keys()
        losses = [
            json.loads(sent.arrays()["REFINEMENT_PROGRESS"].tobytes())["losses"] for sent in (got, expected)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert "REFINEMENT_PREVIEW" in on_gpu.sent[1].arrays()
    _same(on_gpu.sent[-1].arrays(), on_cpu.sent[-1].arrays())


def test_a_wrong_tensor_on_a_gpu_is_refused_alone(
    xp: Any, open_model: Callable[[str, str], Any], start: dict[str, np.ndarray]
) -> None:
    on_gpu = {name: xp.asarray(array) for name, array in start.items()}
    requests = [
        Request(on_gpu | {"W_PLUS": xp.full(LATENT_SHAPE, xp.nan, xp.float32)}, RESULTS, OPTIONS),
        Request(on_gpu, RESULTS, OPTIONS),
    ]
    xp.cuda.Device().synchronize()
    refused, answered = open_model("refine_latent", "cuda").execute(requests)
    assert refused.error.code == "INVALID_ARG"
    count = np.prod(LATENT_SHAPE)
    assert f"w_plus holds {count} of {count} values that are not finite" in str(refused.error)
    assert answered.arrays()["REFINED_W_PLUS"].shape == LATENT_SHAPE
