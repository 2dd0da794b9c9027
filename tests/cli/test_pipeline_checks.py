"""What is said of stages, weights and plans that are missing, damaged or another machine's."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from facewright.cli import pipeline_checks
from facewright.cli.finding import Finding
from facewright.core.assets import BUILD_COMMAND
from facewright.engines.tensorrt_plan import PlanIdentity, open_plan, plan_name, write_identity
from facewright.refine.network_files import refinement_folder
from tests.cli.conftest import Examine
from tests.support.gpu import no_gpu


def test_plans_of_another_tensorrt_are_named_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A machine with a GPU of 9.0 and TensorRT 11.4, and three plans in its repository."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(pipeline_checks, "compute_capability", lambda: "9.0")
    monkeypatch.setenv("TRT_VERSION", "11.4.0.106")
    for network, capability, tensorrt in (
        ("arcface", "9.0", "11.4.0.106"),
        ("mica", "9.0", "10.16.1.11"),
        ("camera_regressor", "8.6", "10.16.1.11"),
    ):
        folder = tmp_path / "model_repository" / network / "1"
        folder.mkdir(parents=True)
        (folder.parent / "config.pbtxt").touch()
        (folder / "model.onnx").write_bytes(b"network")
        plan = folder / plan_name(capability)
        plan.write_bytes(b"plan")
        sha256 = hashlib.sha256(b"network").hexdigest()
        write_identity(plan, PlanIdentity(network, tensorrt, capability, sha256, "fp16", (1, 4, 16)))
    finding = pipeline_checks._check_plans()
    assert "mica" in finding.problem
    assert "10.16.1.11, here is 11.4.0.106" in finding.problem
    assert "arcface" not in finding.problem
    assert "camera_regressor" not in finding.problem
    assert finding.mend.startswith("facewright build")
    (tmp_path / "model_repository/mica/1/model_9.0.plan").unlink()
    assert pipeline_checks._check_plans().problem == ""


def _write_open_plan(name: str, tensorrt: str, content: bytes) -> None:
    plan = open_plan(name, "9.0")
    plan.parent.mkdir(parents=True)
    plan.write_bytes(b"plan")
    sha256 = hashlib.sha256(content).hexdigest()
    write_identity(plan, PlanIdentity(name, tensorrt, "9.0", sha256, "fp32", (1, 4, 8)))


def test_plans_of_the_open_networks_are_looked_at_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the default pipeline, by another TensorRT; of refinement, of another file, and one that fits."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(pipeline_checks, "compute_capability", lambda: "9.0")
    monkeypatch.setenv("TRT_VERSION", "11.4.0.106")
    assert pipeline_checks._check_plans() == Finding("0 exported networks, no TensorRT plans")
    _write_open_plan("face_landmarks", "10.16.1.11", b"network")
    _write_open_plan("perceptual_targets", "11.4.0.106", b"another")
    generator = refinement_folder() / "generator_forward.onnx"
    _write_open_plan("generator_forward", "11.4.0.106", generator.read_bytes())
    finding = pipeline_checks._check_plans()
    first, second = finding.problem.split("; ")
    assert "face_landmarks" in first
    assert "10.16.1.11, here is 11.4.0.106" in first
    assert "perceptual_targets" in second
    assert "from a network with sha256" in second
    assert finding.mend == "facewright build"
    for name in ("face_landmarks", "perceptual_targets"):
        open_plan(name, "9.0").unlink()
    assert pipeline_checks._check_plans() == Finding("0 exported networks, 1 plans")


def test_plans_that_cannot_be_judged_are_not_called_another_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a GPU they are of no use here; with one, and no TensorRT known, nobody can tell."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.delenv("TRT_VERSION", raising=False)
    _write_open_plan("face_landmarks", "11.4.0.106", b"network")
    monkeypatch.setattr(pipeline_checks, "compute_capability", no_gpu)
    assert pipeline_checks._check_plans() == Finding("0 exported networks, 1 plans, which need a GPU")
    monkeypatch.setattr(pipeline_checks, "compute_capability", lambda: "9.0")
    finding = pipeline_checks._check_plans()
    assert "no TRT_VERSION" in finding.problem
    assert "TRT_VERSION" in finding.mend
    assert finding.warning


def test_a_refinement_folder_without_networks_is_a_failure(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", str(tmp_path))
    finding = pipeline_checks._check_plans()
    assert finding.subject == "networks of refinement"
    assert f"which is not in {tmp_path}" in finding.problem
    assert examine(finding) == 1


def test_assets_are_looked_into(copied_cache: Path) -> None:
    """All that is wrong is said at once, as one command mends it."""
    assert pipeline_checks._check_open_assets().problem == ""
    (copied_cache / "open" / "head.npz").unlink()
    with (copied_cache / "open" / "person_mask.onnx").open("r+b") as file:
        file.write(b"?")
    finding = pipeline_checks._check_open_assets()
    assert finding.problem == "head.npz is missing, person_mask.onnx is damaged"
    assert finding.mend == BUILD_COMMAND
    shutil.rmtree(copied_cache / "open")
    assert pipeline_checks._check_open_assets().problem.count("is missing") == 9


def test_an_asset_that_was_put_there_by_hand_is_taken(copied_cache: Path) -> None:
    (copied_cache / "open" / "manifest.json").write_text("{}")
    assert pipeline_checks._check_open_assets().problem == ""


def test_a_repository_of_stages_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACEWRIGHT_MODEL_REPOSITORY", str(tmp_path))
    finding = pipeline_checks._check_model_repository()
    assert f"{tmp_path} holds no " in finding.problem
    assert finding.mend == "unset FACEWRIGHT_MODEL_REPOSITORY"
