"""The environment that a server is started with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from facewright.server.triton_runtime import TritonRuntime


def test_folders_named_relative_to_the_caller_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEWRIGHT_CACHE", "cache")
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", "../networks")
    environment = TritonRuntime(tmp_path, Path(sys.executable)).environment()
    assert environment["FACEWRIGHT_CACHE"] == str(tmp_path / "cache")
    assert Path(environment["FACEWRIGHT_REFINEMENT_NETWORKS"]).resolve() == tmp_path.parent / "networks"
    monkeypatch.delenv("FACEWRIGHT_REFINEMENT_NETWORKS")
    assert "FACEWRIGHT_REFINEMENT_NETWORKS" not in TritonRuntime(tmp_path, Path(sys.executable)).environment()


def test_what_is_compiled_for_a_gpu_is_kept_beside_the_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in ~/.cupy and ~/.nv, which are the user's and may be read-only."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    monkeypatch.setenv("CUDA_CACHE_PATH", "chosen")
    monkeypatch.chdir(tmp_path)
    environment = TritonRuntime(tmp_path, Path(sys.executable)).environment()
    assert environment["CUPY_CACHE_DIR"] == str(tmp_path / "kernels" / "cupy")
    assert environment["CUDA_CACHE_PATH"] == str(tmp_path / "chosen")
