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
