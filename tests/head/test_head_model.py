"""The head model: strict loading, shapes as linear sums, skinning as rigid motion, landmarks between
vertices.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel

Arrays = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def stored() -> Arrays:
    with np.load(asset_path("head.npz"), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _saved(arrays: Arrays, path: Path) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def _without(key: str) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.__delitem__(key)


def _with(key: str, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({key: change(arrays[key].copy())})


def _poisoned(value: float) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    def change(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("uv"), "key uv is missing"),
        (_without("format_version"), "format version none"),
        (_with("format_version", lambda a: a + 1), "format version 3"),
        (_with("vertices_mean", lambda a: a.astype(np.float64)), "vertices_mean has dtype float64"),
        (_with("vertices_canonical", lambda a: a[:-1]), r"vertices_canonical has shape \[\d+, 3\], expected"),
        (_with("identity_basis", lambda a: a[:80]), r"identity_basis has shape \[80"),
        (_with("identity_basis", _poisoned(np.nan)), "identity_basis holds numbers that are not finite"),
        (_with("uv", _poisoned(np.inf)), "uv holds numbers that are not finite"),
        (_with("triangles", _poisoned(10**6)), "triangles has an index outside"),
        (_with("uv_vertex", _poisoned(-1)), "uv_vertex has an index outside"),
        (_with("joint_parents", _poisoned(3)), "a parent must come before its children"),
        (_with("contour_landmarks", _poisoned(478)), "contour_landmarks has an index outside 0–477"),
        (_with("metadata", lambda _a: np.array("{")), "metadata is not JSON"),
    ],
)
def test_damaged_file_says_what_is_wrong(
    stored: Arrays, tmp_path: Path, damage: Callable[[Arrays], None], message: str
) -> None:
    arrays = dict(stored)
    damage(arrays)
    with pytest.raises(FacewrightError, match=message) as caught:
        HeadModel.load(_saved(arrays, tmp_path / "head.npz"))
    assert "head.npz" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"not a zip archive", b"PK\x03\x04truncated", b"\x93NUMPY\x01\x00 of no archive"]
)
def test_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "head.npz").write_bytes(content)
    with pytest.raises(FacewrightError, match="cannot be read"):
        HeadModel.load(tmp_path / "head.npz")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FacewrightError, match="cannot be read"):
        HeadModel.load(tmp_path / "head.npz")


def test_pickled_arrays_are_refused(stored: Arrays, tmp_path: Path) -> None:
    arrays = stored | {"part_names": np.array([object()], dtype=object)}
    with pytest.raises(FacewrightError, match="cannot be read"):
        HeadModel.load(_saved(arrays, tmp_path / "head.npz"))


def test_arrays_are_read_only_and_held_once(open_head: HeadModel) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_head.vertices_mean[0] = 0
    held = sum(value.nbytes for value in vars(open_head).values() if isinstance(value, np.ndarray))
    assert held < asset_path("head.npz").stat().st_size * 1.01


def test_shape_is_the_mean_plus_weighted_components(open_head: HeadModel) -> None:
    random = np.random.default_rng(0)
    identity, expression = random.standard_normal(160), random.uniform(0, 1, 52)
    expected = (
        open_head.vertices_mean.astype(np.float64)
        + np.tensordot(identity, open_head.identity_basis.astype(np.float64), 1)
        + np.tensordot(expression, open_head.expression_basis.astype(np.float64), 1)
    )
    shaped = open_head.shape(identity, expression)
    assert shaped.dtype == np.float32
    np.testing.assert_allclose(shaped, expected, atol=1e-6)
    np.testing.assert_allclose(
        open_head.neutral(identity), open_head.shape(identity, np.zeros(52)), atol=1e-7
    )


@pytest.mark.parametrize(("identity", "expression"), [(159, 52), (160, 51), (1, 52)])
def test_wrong_number_of_coefficients(open_head: HeadModel, identity: int, expression: int) -> None:
    with pytest.raises(ValueError, match="must have shape"):
        open_head.shape(np.zeros(identity), np.zeros(expression))


def _turn(degrees: float) -> npt.NDArray[np.float32]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)


def test_turning_the_root_turns_everything_rigidly(open_head: HeadModel) -> None:
    vertices = open_head.vertices_mean
    joints = open_head.joints(vertices)
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(joints), 1, 1))
    np.testing.assert_allclose(open_head.skin(vertices, joints, rotations), vertices, atol=1e-6)
    rotations[0] = _turn(35)
    expected = (vertices - joints[0]) @ _turn(35).T + joints[0]
    np.testing.assert_allclose(open_head.skin(vertices, joints, rotations), expected, atol=1e-6)


def test_turning_an_eye_moves_that_eye_about_its_centre_only(open_head: HeadModel) -> None:
    vertices = open_head.vertices_mean
    joints = open_head.joints(vertices)
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(joints), 1, 1))
    left = list(open_head.joint_names).index("eye_left")
    rotations[left] = _turn(20)
    posed = open_head.skin(vertices, joints, rotations)
    eye = np.unique(open_head.triangles[open_head.part_triangles("eye_left")])
    others = np.setdiff1d(np.arange(open_head.vertex_count), eye)
    np.testing.assert_allclose(posed[others], vertices[others], atol=1e-6)
    radius = np.linalg.norm(vertices[eye] - joints[left], axis=1)
    np.testing.assert_allclose(np.linalg.norm(posed[eye] - joints[left], axis=1), radius, atol=1e-6)
    assert np.ptp(radius) < 1e-5, "the eyeball is a sphere about its joint"
    # +20° about +Y looks to the subject's left
    assert (posed[eye[0]] - vertices[eye[0]])[0] > 0.004


def test_children_follow_their_parents(open_head: HeadModel) -> None:
    """Turning neck and head by opposite angles turns the skull back but moves it along with the neck."""
    vertices = open_head.vertices_mean
    joints = open_head.joints(vertices)
    names = list(open_head.joint_names)
    rotations = np.tile(np.eye(3, dtype=np.float32), (len(joints), 1, 1))
    rotations[names.index("neck")], rotations[names.index("head")] = _turn(30), _turn(-30)
    skull = np.flatnonzero(open_head.skin_weights[:, names.index("head")] > 0.9999)
    neck = joints[names.index("neck")]
    moved = _turn(30) @ (joints[names.index("head")] - neck) + neck - joints[names.index("head")]
    posed = open_head.skin(vertices, joints, rotations)
    assert np.linalg.norm(moved) > 0.01
    np.testing.assert_allclose(posed[skull] - vertices[skull], np.tile(moved, (len(skull), 1)), atol=1e-4)


def test_wrong_rotations(open_head: HeadModel) -> None:
    joints = open_head.joints(open_head.vertices_mean)
    with pytest.raises(ValueError, match="rotations"):
        open_head.skin(open_head.vertices_mean, joints, np.zeros((2, 3, 3), np.float32))


def test_skin_weights_blend_at_most_four_joints(open_head: HeadModel) -> None:
    np.testing.assert_allclose(open_head.skin_weights.sum(axis=1), 1, atol=1e-5)
    assert open_head.skin_weights.min() >= 0
    assert (open_head.skin_weights > 0).sum(axis=1).max() <= 4


def test_landmarks_follow_the_vertices(open_head: HeadModel) -> None:
    shift = np.array([0.01, -0.02, 0.03], np.float32)
    moved = open_head.landmarks(open_head.vertices_mean + shift) - open_head.landmarks(
        open_head.vertices_mean
    )
    np.testing.assert_allclose(moved, np.tile(shift, (478, 1)), atol=1e-6)
    with pytest.raises(ValueError, match="vertices must have shape"):
        open_head.landmarks(open_head.vertices_mean[:-1])


def test_regions_and_parts_by_name(open_head: HeadModel) -> None:
    for name in open_head.region_names:
        weights = open_head.region(str(name))
        assert weights.min() >= 0
        assert 0.9 < weights.max() <= 1
    assert sum(len(open_head.part_triangles(str(name))) for name in open_head.part_names) == len(
        open_head.triangles
    )
    with pytest.raises(ValueError, match="no region 'hat'; this head has face, "):
        open_head.region("hat")
    with pytest.raises(ValueError, match="no part 'hat'; this head has skin, "):
        open_head.part_triangles("hat")
