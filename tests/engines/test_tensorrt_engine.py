"""A plan says what it was built for, and runs nowhere else; without TensorRT or a GPU the error says what to
do."""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.engines import tensorrt_plan
from facewright.engines.tensorrt_engine import TensorRTEngine
from facewright.engines.tensorrt_plan import (
    PlanIdentity,
    compute_capability,
    open_plan,
    plan_name,
    read_identity,
    require_fit,
    write_identity,
)
from facewright.pipelines.registry import networks, pipelines
from facewright.refine import device as refinement_device
from facewright.refine.device import RefinementDevice
from facewright.refine.network_files import refinement_folder
from facewright.server import served_repository
from facewright.server.model_configs import Sizing
from facewright_client.contract import ErrorCode
from tests.support.gpu import IS_REAL

IDENTITY = PlanIdentity("camera_regressor", "11.4.0.106", "9.0", "ab" * 32, "fp16", (1, 4, 32))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / plan_name("9.0")
    path.write_bytes(b"plan")
    write_identity(path, IDENTITY)
    return path


def test_a_sidecar_is_read_as_it_was_written(plan: Path) -> None:
    assert read_identity(plan) == IDENTITY
    require_fit(plan, IDENTITY, "11.4.0.106", "9.0", "ab" * 32)


def test_the_build_number_does_not_matter(plan: Path) -> None:
    require_fit(plan, IDENTITY, "11.4.0", "9.0")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tensorrt": "10.16.1.11"}, r"by TensorRT 10\.16\.1\.11, here is 11\.4\.0\.106"),
        ({"compute_capability": "8.6"}, r"for compute capability 8\.6, this GPU has 9\.0"),
        (
            {"onnx_sha256": "cd" * 32},
            "from a network with sha256 cdcdcdcdcdcd, the file beside it has abababababab",
        ),
        ({"stripped": True}, "without weights"),
    ],
)
def test_a_plan_for_something_else_is_refused(plan: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(FacewrightError, match=words) as caught:
        require_fit(plan, replace(IDENTITY, **change), "11.4.0.106", "9.0", "ab" * 32)
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH
    assert "facewright build" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("network", "tensorrt", "compute_capability", "onnx_sha256", "precision")),
        {"stripped": None},
        {"stripped": "no"},
        {"tensorrt": 11},
        {"onnx_sha256": ["ab"]},
        {"batch": None},
        {"batch": [1, None, 8]},
        {"batch": "148"},
        {"batch": [1, 8]},
    ],
    ids=str,
)
def test_a_sidecar_of_other_types_is_named_and_refused(plan: Path, change: dict[str, object]) -> None:
    sidecar = plan.with_name(plan.name + ".json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), **change}))
    with pytest.raises(FacewrightError) as caught:
        require_fit(plan, read_identity(plan), "11.4.0.106", "9.0", "ab" * 32)
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH
    assert str(sidecar) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("content", ["null", "3", "[]", "{}", "[" * 100_000, "", "\x00"], ids=range(7))
def test_a_sidecar_that_is_no_record_is_named_and_refused(plan: Path, content: str) -> None:
    plan.with_name(plan.name + ".json").write_text(content)
    with pytest.raises(FacewrightError, match=r"model_9\.0\.plan\.json does not say") as caught:
        read_identity(plan)
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH


def test_every_difference_is_told_at_once(plan: Path) -> None:
    with pytest.raises(FacewrightError) as caught:
        require_fit(plan, IDENTITY, "11.5.0.1", "12.0")
    assert "11.5.0.1; for compute capability 9.0, this GPU has 12.0" in caught.value.message


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"network": "x"}', '{"batch": 3}'])
def test_a_plan_without_a_readable_sidecar_is_refused(plan: Path, content: str | None) -> None:
    sidecar = plan.with_name(plan.name + ".json")
    sidecar.unlink() if content is None else sidecar.write_text(content)
    with pytest.raises(
        FacewrightError, match=r"model_9\.0\.plan\.json does not say what .* was built for"
    ) as caught:
        TensorRTEngine(plan)
    assert "facewright build" in caught.value.hint


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(FacewrightError, match=r"there is no plan .*model_8\.6\.plan"):
        TensorRTEngine(tmp_path / plan_name("8.6"))


def test_a_machine_without_a_gpu_says_so(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = tensorrt_plan.ctypes.CDLL

    def no_driver(name: str, mode: int = ctypes.DEFAULT_MODE) -> object:
        if name.startswith("libdl"):  # what CuPy's own search for libraries begins with
            return load(name, mode)
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(tensorrt_plan.ctypes, "CDLL", no_driver)
    with pytest.raises(FacewrightError, match="no NVIDIA driver") as caught:
        compute_capability()
    assert "GPU machine that serves" in caught.value.hint
    with pytest.raises(FacewrightError, match=r"TensorRT and CuPy|no NVIDIA driver"):
        TensorRTEngine(plan)


def test_refinement_on_a_gpu_without_cupy_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(FacewrightError, match="needs CuPy, and cupy cannot be imported") as caught:
        RefinementDevice.named("cuda")
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH
    assert "facewright doctor" in caught.value.hint


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with a GPU of 9.0 and TensorRT 11.4; returns where it looks for a plan."""
    monkeypatch.setattr(served_repository, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(tensorrt_plan, "cache_folder", lambda: tmp_path)
    monkeypatch.setenv("TRT_VERSION", "11.4.0.106")
    return open_plan("face_landmarks", "9.0")


def _build(plan: Path, tensorrt: str) -> None:
    """The landmark network's plan at ``plan``, and the other open networks' of the pipelines."""
    for name in networks(pipelines()):
        file = plan if name == "face_landmarks" else open_plan(name, "9.0")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"plan")
        network = hashlib.sha256(asset_path(f"{name}.onnx").read_bytes()).hexdigest()
        write_identity(file, replace(IDENTITY, network=name, tensorrt=tensorrt, onnx_sha256=network))


def test_the_tensorrt_profile_serves_a_plan_that_fits(gpu_machine: Path, tmp_path: Path) -> None:
    _build(gpu_machine, "11.4.0.106")
    repository = tmp_path / "repository"
    served_repository.assemble_repository(repository, pipelines(), "tensorrt", Sizing())
    assert (repository / "face_landmarks/1/model.plan").read_bytes() == b"plan"
    assert "tensorrt_plan" in (repository / "face_landmarks/config.pbtxt").read_text()
    assert (repository / "bake_texture/1/model.py").is_file()


@pytest.mark.parametrize(
    ("tensorrt", "words"), [(None, "there is no plan"), ("10.16.1.11", "here is 11.4.0.106")]
)
def test_the_tensorrt_profile_refuses_to_start_without(
    gpu_machine: Path, tmp_path: Path, tensorrt: str | None, words: str
) -> None:
    if tensorrt is not None:
        _build(gpu_machine, tensorrt)
    with pytest.raises(FacewrightError, match=words) as caught:
        served_repository.assemble_repository(tmp_path / "repository", pipelines(), "tensorrt", Sizing())
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH
    assert "facewright build" in caught.value.hint


def test_the_tensorrt_profile_refuses_a_refinement_plan_of_another_network(
    gpu_machine: Path, tmp_path: Path
) -> None:
    _build(gpu_machine, "11.4.0.106")
    plan = open_plan("perceptual_loss", "9.0")
    plan.parent.mkdir(parents=True)
    plan.write_bytes(b"plan")
    write_identity(plan, replace(IDENTITY, network="perceptual_loss"))
    with pytest.raises(FacewrightError, match=r"perceptual_loss.* from a network with sha256 abababababab"):
        served_repository.assemble_repository(tmp_path / "repository", pipelines(), "tensorrt", Sizing())


@pytest.mark.skipif(IS_REAL, reason="this machine has an NVIDIA GPU")
def test_refinement_opens_the_plans_that_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which engine was to be opened shows in what it lacks on this machine."""
    monkeypatch.setattr(refinement_device, "compute_capability", lambda: "9.0")
    monkeypatch.setattr(tensorrt_plan, "cache_folder", lambda: tmp_path)
    stream = SimpleNamespace(ptr=4096)
    device = RefinementDevice(np, stream, stream, plans=True)
    network = refinement_folder() / "generator_forward.onnx"
    with pytest.raises(FacewrightError, match="run on cuda, but ONNX Runtime"):
        device.open_engine(network)
    plan = open_plan("generator_forward", "9.0")
    plan.parent.mkdir(parents=True)
    plan.write_bytes(b"plan")
    with pytest.raises(FacewrightError, match=r"model_9\.0\.plan\.json does not say"):
        device.open_engine(network)
    write_identity(plan, IDENTITY)
    with pytest.raises(FacewrightError, match="TensorRT and CuPy"):
        device.open_engine(network)
    with pytest.raises(FacewrightError, match="run on cuda, but ONNX Runtime"):
        replace(device, plans=False).open_engine(network)
