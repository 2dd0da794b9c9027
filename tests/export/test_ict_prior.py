"""The shape prior: registration finds known truth, and what travels is what the open head needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from facewright.fit.camera import similarity
from facewright.head.head_model import HeadModel
from facewright_export.head_correspondence.registration import Matches, Template, register, turned_over
from facewright_export.head_correspondence.seen_curves import SeenFace, lid_lines
from facewright_export.head_correspondence.surface import Surface, triangle_normals
from facewright_export.open_head.expressions import EXPRESSION_NAMES
from facewright_export.open_head.ict_prior.face_kit import read_face_kit
from facewright_export.open_head.ict_prior.prior import PRIOR_FILE, ShapePrior
from facewright_kernels.rasterize import rasterize

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def prior() -> ShapePrior:
    return ShapePrior.load()


def _mask(side: int) -> tuple[FloatArray, IntArray, IntArray]:
    """A face-sized symmetric mask with a nose: vertices, triangles, mirror; ``side`` odd."""
    x, y = np.meshgrid(np.linspace(-0.07, 0.07, side), np.linspace(-0.09, 0.09, side))
    z = -5 * x**2 - 3 * y**2 + 0.025 * np.exp(-((x / 0.012) ** 2) - ((y + 0.01) / 0.02) ** 2)
    number = np.arange(side * side).reshape(side, side)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return np.stack([x, y, z], -1).reshape(-1, 3), triangles, number[:, ::-1].ravel()


def _deformed(points: FloatArray) -> FloatArray:
    """Another face, up to a centimetre away: wider, a longer nose, the chin forward."""
    x, y, z = points.T
    nose = np.exp(-((x / 0.02) ** 2) - ((y + 0.01) / 0.03) ** 2)
    return np.stack([1.06 * x, y - 0.004 * nose, z + 0.006 * nose + 0.004 * (y < 0) * (y / 0.09) ** 2], 1)


def test_registration_finds_a_known_deformation() -> None:
    side = 17
    vertices, triangles, mirror = _mask(side)
    fine, fine_triangles, _ = _mask(45)
    truth = _deformed(vertices)
    target = Surface(_deformed(fine), fine_triangles)
    template = Template(vertices, triangles, mirror, np.ones(len(vertices)))

    def matches(rows: IntArray) -> Matches:
        maps = sparse.csr_array(
            (np.ones(len(rows)), (np.arange(len(rows)), rows)), (len(rows), len(vertices))
        )
        return Matches(maps, truth[rows])

    line, landmarks = side * 4 + np.arange(3, 14), side * np.array([7, 12, 12]) + [8, 4, 12]
    placed = register(template, target, matches(line), matches(landmarks))
    error = np.linalg.norm(placed - truth, axis=1) * 1e3
    before = np.linalg.norm(vertices - truth, axis=1) * 1e3
    inner = (np.abs(vertices[:, 0]) < 0.05) & (np.abs(vertices[:, 1]) < 0.07)
    assert np.median(error[inner]) < 0.25 * np.median(before[inner])
    assert error[line].max() < 0.2
    _, distance, _ = target.closest(placed, np.tile([0.0, 0.0, 1.0], (len(placed), 1)), 0.0)
    assert np.percentile(distance[inner], 95) < 0.00015
    np.testing.assert_allclose(placed[mirror] * [-1, 1, 1], placed, atol=1e-9)
    assert not turned_over(template, placed).any()


def test_similarity_is_found_exactly() -> None:
    points = np.random.default_rng(0).standard_normal((9, 3))
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    scale, rotation, shift = similarity(points, 1.3 * points @ turn.T + [1, 2, 3])
    assert scale == pytest.approx(1.3)
    np.testing.assert_allclose(rotation, turn, atol=1e-12)
    np.testing.assert_allclose(shift, [1, 2, 3], atol=1e-12)


def test_what_travels_is_near_the_kit_and_small(prior: ShapePrior, open_head: HeadModel) -> None:
    assert PRIOR_FILE.stat().st_size < 6e6
    assert prior.metadata["licence"] == "MIT"
    median, p95, _ = prior.metadata["distance_mm"]["skin"]
    assert median < 0.05
    assert p95 < 0.2
    assert prior.mean.shape == open_head.vertices_mean.shape
    mirror = open_head.mirror_vertex
    np.testing.assert_allclose(prior.mean[mirror] * [-1, 1, 1], prior.mean, atol=1e-6)


def test_modes_of_the_kit_lead_the_identity_basis(prior: ShapePrior, open_head: HeadModel) -> None:
    """They differ by an infinitesimal rigid motion, which is pose."""
    mean = open_head.vertices_mean.astype(np.float64)
    axes = np.eye(3)
    motions = [np.broadcast_to(axis, mean.shape) for axis in axes] + [np.cross(axis, mean) for axis in axes]
    span = np.linalg.qr(np.stack(motions).reshape(6, -1).T)[0]
    apart = (prior.identity - open_head.identity_basis[:100]).reshape(100, -1)
    assert np.abs(apart - (apart @ span) @ span.T).max() < 1e-5
    further = np.linalg.norm(open_head.identity_basis[100:], axis=2)
    assert 0.0001 < further.max() < 0.0015


def test_jaw_and_teeth_move_rigidly(open_head: HeadModel) -> None:
    shape = open_head.expression_basis[EXPRESSION_NAMES.index("jawOpen")]
    for part, moves in (("teeth_lower", True), ("tongue", True), ("teeth_upper", False)):
        vertices = np.unique(open_head.triangles[open_head.part_triangles(part)])
        before = open_head.vertices_mean[vertices].astype(np.float64)
        after = before + shape[vertices]
        assert (np.abs(after - before).max() > 0.02) == moves, part
        lengths = [np.linalg.norm(p[1:] - p[0], axis=1) for p in (before, after)]
        np.testing.assert_allclose(lengths[0], lengths[1], atol=2e-5)


@pytest.mark.parametrize("side", [0, 1])
def test_a_blink_hides_the_eyeball(open_head: HeadModel, side: int) -> None:
    eye = open_head.triangles[open_head.part_triangles(("eye_left", "eye_right")[side])].astype(np.int64)
    skin = open_head.triangles[open_head.part_triangles("skin")].astype(np.int64)
    blink = open_head.expression_basis[EXPRESSION_NAMES.index(("eyeBlinkLeft", "eyeBlinkRight")[side])]

    def columns_seen(weight: float) -> int:
        vertices = (open_head.vertices_mean + np.float32(weight) * blink).astype(np.float64)
        return len(
            lid_lines(SeenFace(vertices, skin, (eye, eye), np.zeros((2, 3)), (skin[0], skin[0])), eye)[
                0
            ].corners
        )

    assert columns_seen(1.0) <= 2
    assert columns_seen(0.5) > 300


def test_no_expression_turns_skin_over_or_shows_what_lies_behind_it(open_head: HeadModel) -> None:
    """Seen from the front at full weight, alone: nostrils, corners of the mouth, linings of eye sockets."""
    triangles = open_head.triangles
    skin = open_head.part_triangles("skin")
    inside = open_head.region("mouth_inside")[triangles].max(axis=1) > 0
    regions = [i for i, name in enumerate(open_head.region_names) if name not in ("mouth_inside", "eyeballs")]
    lining = open_head.region_weights[regions][:, triangles].max(axis=(0, 2)) == 0
    for row, name in enumerate(EXPRESSION_NAMES):
        vertices = (open_head.vertices_mean + open_head.expression_basis[row]).astype(np.float64)
        x, y, z = (vertices - [0, -0.03, -0.02]).T
        clip = np.stack([x / 0.12, -y / 0.12, -z / 0.4, np.ones(len(x))], axis=1).astype(np.float32)
        seen = rasterize(clip[None], triangles, 350, 350).triangle_id.ravel()
        seen = seen[seen >= 0]
        seen = seen[np.isin(seen, skin) & ~inside[seen]]
        turned = triangle_normals(vertices, triangles)[seen, 2] < 0
        assert np.count_nonzero(turned | lining[seen]) <= 6, name


def test_a_folder_that_is_no_face_kit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"generic_neutral_mesh\.obj is missing; give the folder"):
        read_face_kit(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(ValueError, match="has 2 vertices, not the 26719 of ICT-FaceKit"):
        read_face_kit(tmp_path)
