"""Heads of other models on the open head: exact where they are known, whole where they are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.fit.camera import similarity
from facewright.fit.carried_head import HeadCarrier, HeadCarriers
from facewright.fit.corrective_field import part_vertices
from facewright.head.correspondence import HeadCorrespondence, file_sha256
from facewright.head.head_model import HeadModel
from facewright_client.contract import ErrorCode

_CAMERA = np.array([[1, 0, 0, 0.01], [0, -1, 0, 0.02], [0, 0, -1, 0.8]])
_NOD = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])


@pytest.fixture(scope="module")
def whole(open_head: HeadModel) -> HeadCarrier:
    return HeadCarrier(open_head, HeadCorrespondence.identity(open_head))


@pytest.fixture(scope="module")
def mask(open_head: HeadModel) -> HeadCarrier:
    """As the Basel face model: no ears, neck, skull, eyeballs or teeth."""
    behind = np.max([open_head.region(name) for name in ("ears", "scalp", "neck", "mouth_inside")], axis=0)
    face = np.zeros(open_head.vertex_count, np.float32)
    outer = np.unique(open_head.outer_triangles)
    face[outer[behind[outer] < 0.3]] = 1
    return HeadCarrier(open_head, replace(HeadCorrespondence.identity(open_head), confidence=face))


def _person(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    expression = np.zeros(52)
    expression[random.choice(52, 5, replace=False)] = random.uniform(0.3, 0.9, 5)
    return random.normal(0, 1, 160), expression


def _millimetres(carried: NDArray[np.float32], true: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(1e3 * np.linalg.norm(carried - true, axis=1))


def _onto(
    carried: NDArray[np.float32], true: NDArray[np.floating], rows: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """A head moved rigidly onto another by some rows: of a form the linear ones lack, the place is open."""
    _, rotation, shift = similarity(carried[rows].astype(np.float64), true[rows], scaled=False)
    return np.asarray(carried @ rotation.T + shift, np.float32)


def test_the_open_heads_own_vertices_are_kept(whole: HeadCarrier, open_head: HeadModel) -> None:
    identity, expression = _person(0)
    neutral, posed = open_head.neutral(identity), open_head.shape(identity, expression)
    found = whole.carry(posed, neutral, _CAMERA)
    skin = part_vertices(open_head, ["skin"])
    # up to the rigid motion that the form is told apart from
    assert _millimetres(found.neutral_vertices, neutral)[skin].max() < 0.3
    assert _millimetres(found.fitted_vertices, posed)[skin].max() < 0.3
    assert np.corrcoef(found.identity, identity)[0, 1] > 0.97
    np.testing.assert_allclose(found.expression, expression, atol=0.05)
    np.testing.assert_allclose(found.head_to_camera, _CAMERA, atol=1e-3)


def test_a_source_that_is_turned_has_its_turn_in_the_camera(whole: HeadCarrier, open_head: HeadModel) -> None:
    identity, expression = _person(1)
    neutral, posed = open_head.neutral(identity), open_head.shape(identity, expression)
    straight, nodding = (
        whole.carry(vertices, neutral, _CAMERA) for vertices in (posed, posed @ _NOD.T + 0.03)
    )
    assert _millimetres(nodding.fitted_vertices, straight.fitted_vertices).max() < 0.05
    seen = straight.fitted_vertices @ straight.head_to_camera[:, :3].T + straight.head_to_camera[:, 3]
    expected = (seen - _CAMERA[:, 3]) @ (_CAMERA[:, :3] @ _NOD @ _CAMERA[:, :3].T).T
    expected += _CAMERA[:, :3] @ np.full(3, 0.03) + _CAMERA[:, 3]
    turned = nodding.fitted_vertices @ nodding.head_to_camera[:, :3].T + nodding.head_to_camera[:, 3]
    np.testing.assert_allclose(turned, expected, atol=5e-4)


def test_what_a_mask_lacks_is_continued(mask: HeadCarrier, open_head: HeadModel) -> None:
    identity, expression = _person(2)
    # jowls across the mask's edge and a bulging eye, which no linear form has
    jowls, eye = (
        np.clip(2 - np.linalg.norm(open_head.vertices_mean - place, axis=1) / radius, 0, 1)[:, None]
        for place, radius in (([0.068, -0.05, -0.05], 0.025), ([0.031, 0.0, 0.0], 0.025))
    )
    neutral = open_head.neutral(identity) + 0.008 * jowls * [1, 0, 0] + 0.005 * eye * [0, 0, 1]
    posed = neutral + (open_head.shape(identity, expression) - open_head.neutral(identity))
    found = mask.carry(posed, neutral, _CAMERA)
    face = np.isin(np.arange(open_head.vertex_count), mask._known)
    nose = open_head.region("nose") > 0.5
    at_rest = _onto(found.neutral_vertices, neutral, nose)
    posed_head = _onto(found.fitted_vertices, posed, nose)
    assert np.median(_millimetres(at_rest, neutral)[open_head.region("face") > 0.9]) < 0.1
    triangles = open_head.outer_triangles
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    for carried, true in ((at_rest, neutral), (posed_head, posed)):
        # no step at the mask's edge: neighbours differ from the truth alike
        away = carried - true
        step = np.linalg.norm(away[edges[:, 0]] - away[edges[:, 1]], axis=1)
        length = np.linalg.norm(true[edges[:, 0]] - true[edges[:, 1]], axis=1)
        across = face[edges[:, 0]] != face[edges[:, 1]]
        assert (step / length)[across].max() < 0.4
        assert _millimetres(carried, true).max() < 15
    for part in ("eye_left", "eye_right", "teeth_upper", "teeth_lower"):
        rows = part_vertices(open_head, [part])
        assert _millimetres(at_rest, neutral)[rows].max() < 3, part
    np.testing.assert_allclose(found.expression, expression, atol=0.15)
    assert 0.3 < found.section.members["carried"]["known_share"] < 0.8


def test_eyeballs_and_teeth_go_with_the_skin_around_them(mask: HeadCarrier, open_head: HeadModel) -> None:
    mean = open_head.vertices_mean.astype(np.float64)
    moved = mask._completed(mean, mean + np.array([0, 0, 0.005])) - mean
    for part in ("eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue"):
        np.testing.assert_allclose(moved[part_vertices(open_head, [part]), 2], 0.005, atol=0.0005)


def test_what_is_no_head_is_refused(whole: HeadCarrier, open_head: HeadModel) -> None:
    mean = open_head.vertices_mean
    broken = mean.copy()
    broken[3] = np.nan
    for posed, neutral, camera, words in (
        (broken, mean, _CAMERA, "not finite"),
        (mean, broken, _CAMERA, "not finite"),
        (mean, mean, np.full((3, 4), np.nan), "SOURCE_TO_CAMERA holds"),
        (mean, 10 * mean, _CAMERA, "mm from any head"),
        (mean, np.random.default_rng(0).normal(0, 0.1, mean.shape), _CAMERA, "mm from any head"),
        (10 * mean, mean, _CAMERA, "posed vertices of open lie .* mm from any face"),
    ):
        with pytest.raises(FacewrightError, match=words) as failure:
            whole.carry(posed, neutral, camera)
        assert failure.value.code == ErrorCode.INTERNAL


def test_the_source_is_told_by_its_vertices(open_head: HeadModel, tmp_path: Path) -> None:
    head_file = asset_path("head.npz")
    own = HeadCorrespondence.identity(open_head)
    for name, count in (("flame", 6001), ("basel", 6002)):
        metadata = {"source": name, "source_vertices": count, "head_sha256": file_sha256(head_file)}
        np.savez(tmp_path / f"{name}_to_open.npz", **replace(own, metadata=metadata).arrays())
    carriers = HeadCarriers(head_file, tmp_path)
    assert [carriers.of(count).source_count for count in (6001, 6002, open_head.vertex_count)]
    with pytest.raises(FacewrightError, match="a head of 5 vertices, and no correspondence") as failure:
        carriers.of(5)
    assert failure.value.code == ErrorCode.ENGINE_MISMATCH
    assert "facewright export correspondence" in failure.value.hint
    np.savez(
        tmp_path / "other_to_open.npz", **replace(own, metadata={**metadata, "source": "other"}).arrays()
    )
    with pytest.raises(FacewrightError, match="basel and other both have 6002 vertices"):
        HeadCarriers(head_file, tmp_path)
