"""The correspondence file: what it says is what is used, and what it should not say is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.correspondence import HeadCorrespondence, file_sha256, triangle_frames
from facewright.head.head_model import HeadModel
from facewright_client.contract import ErrorCode

Change = Callable[[dict[str, np.ndarray[Any, Any]]], Mapping[str, Any]]


@pytest.fixture
def correspondence(open_head: HeadModel) -> HeadCorrespondence:
    own = HeadCorrespondence.identity(open_head)
    sha256 = file_sha256(asset_path("head.npz"))
    return replace(own, metadata={**own.metadata, "source": "model", "head_sha256": sha256})


def _load(path: Path, arrays: Mapping[str, Any]) -> HeadCorrespondence:
    np.savez(path, **arrays)
    return HeadCorrespondence.load(path, asset_path("head.npz"))


def test_a_vertex_keeps_its_place_in_a_triangle_that_turns() -> None:
    random = np.random.default_rng(0)
    corners = random.normal(size=(5, 3, 3))
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    frames, turned = triangle_frames(corners), triangle_frames(corners @ turn.T)
    np.testing.assert_allclose(turned, frames @ turn.T, atol=1e-5)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-5)


def test_vertices_are_weighted_corners_and_an_offset(
    open_head: HeadModel, correspondence: HeadCorrespondence
) -> None:
    corners = open_head.triangles[:1].astype(np.int32)
    own = replace(
        correspondence,
        corners=np.repeat(corners, open_head.vertex_count, axis=0),
        barycentrics=np.tile(np.array([0.2, 0.3, 0.5], np.float32), (open_head.vertex_count, 1)),
        offset=np.tile(np.array([0, 0, 0.002], np.float32), (open_head.vertex_count, 1)),
    )
    a, b, c = open_head.vertices_mean[corners[0]].astype(np.float64)
    normal = np.cross(b - a, c - a)
    expected = 0.2 * a + 0.3 * b + 0.5 * c + 0.002 * normal / np.linalg.norm(normal)
    np.testing.assert_allclose(own.carried(open_head.vertices_mean)[7], expected, atol=1e-7)


def test_a_file_for_another_head_is_refused(correspondence: HeadCorrespondence, tmp_path: Path) -> None:
    other = replace(correspondence, metadata={**correspondence.metadata, "head_sha256": "f" * 64})
    with pytest.raises(FacewrightError, match="was built for another open head") as failure:
        _load(tmp_path / "model_to_open.npz", other.arrays())
    assert failure.value.code == ErrorCode.ENGINE_MISMATCH
    assert "facewright export correspondence" in failure.value.hint


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: {"corners": arrays["corners"] + 1}, "corners outside"),
        (lambda arrays: {"corners": arrays["corners"].astype("i8")}, "corners int64"),
        (lambda arrays: {"offset": arrays["offset"] * np.nan}, "offset that is not finite"),
        (lambda arrays: {"offset": arrays["offset"][1:]}, "offset float32"),
        (lambda arrays: {"confidence": arrays["confidence"] * 2}, "confidence outside"),
        (lambda arrays: {"confidence": arrays["confidence"][:, None]}, "confidence float32"),
        (lambda _: {"metadata": np.array("no JSON")}, "metadata"),
        (lambda _: {"metadata": np.array("[]")}, "metadata"),
        (lambda _: {"format_version": np.array(2)}, "version 2"),
    ],
)
def test_what_no_such_file_holds_is_named(
    correspondence: HeadCorrespondence, tmp_path: Path, change: Change, words: str
) -> None:
    arrays = correspondence.arrays()
    with pytest.raises(FacewrightError, match=words) as failure:
        _load(tmp_path / "model_to_open.npz", {**arrays, **change(arrays)})
    assert failure.value.code == ErrorCode.INTERNAL


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model_to_open.npz"
    for content in (b"", b"PK\x03\x04", b"words"):
        path.write_bytes(content)
        with pytest.raises(FacewrightError, match="cannot be read"):
            HeadCorrespondence.load(path, asset_path("head.npz"))


def test_other_vertices_are_refused(open_head: HeadModel, correspondence: HeadCorrespondence) -> None:
    with pytest.raises(
        FacewrightError, match=rf"\[7, 3\]; .* of model is of \[{open_head.vertex_count}"
    ) as failure:
        correspondence.carried(np.zeros((7, 3), np.float32))
    assert failure.value.code == ErrorCode.ENGINE_MISMATCH
    for wrong in (np.nan, np.inf):
        vertices = open_head.vertices_mean.copy()
        vertices[12, 1] = wrong
        with pytest.raises(FacewrightError, match="of model hold numbers that are not finite"):
            correspondence.carried(vertices)
