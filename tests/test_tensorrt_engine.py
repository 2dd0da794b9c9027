"""A plan says what it was built for, and runs nowhere else; without TensorRT or a GPU the error says what to
do."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import pytest

from facewright.errors import FacewrightError
from facewright.tensorrt_engine import TensorRTEngine
from facewright.tensorrt_plan import (
    PlanIdentity,
    compute_capability,
    plan_name,
    read_identity,
    require_fit,
    write_identity,
)
from facewright_client.contract import ErrorCode

IDENTITY = PlanIdentity("camera_regressor", "11.4.0.106", "9.0", "ab" * 32, "fp16", (1, 4, 32))


def _driver_is_here() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


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


@pytest.mark.skipif(_driver_is_here(), reason="this machine has an NVIDIA driver")
def test_a_machine_without_a_gpu_says_so(plan: Path) -> None:
    with pytest.raises(FacewrightError, match="no NVIDIA driver") as caught:
        compute_capability()
    assert "GPU machine that serves" in caught.value.hint
    with pytest.raises(FacewrightError, match=r"TensorRT and CuPy|no NVIDIA driver"):
        TensorRTEngine(plan)
