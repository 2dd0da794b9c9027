"""The corrective field's statistics, symmetry and effect."""

import numpy as np
import pytest
from scipy import sparse

from facewright.fit.corrective_field import (
    NEUTRAL_FADE,
    CorrectivePrior,
    OwnShare,
    bilaplacian_energy,
    build_corrective_field,
    neutral_share,
    part_vertices,
    rigid_followers,
)
from facewright.head.head_model import HeadModel
from tests.support.synthetic_head import save_synthetic_head


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


def _sampler(head: HeadModel) -> sparse.csr_array:
    corners = head.triangles[head.landmark_triangles[:468]]
    rows = np.repeat(np.arange(468), 3)
    return sparse.csr_array(
        (head.landmark_barycentrics[:468].ravel(), (rows, corners.ravel())),
        shape=(468, len(head.vertices_mean)),
    )


def test_energy_is_the_inverse_of_a_unit_variance_covariance_on_a_plane() -> None:
    count, spacing, length = 45, 0.003, 0.012
    x, y = np.meshgrid(np.arange(count) * spacing, np.arange(count) * spacing)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(count**2)], axis=1)
    index = np.arange(count**2).reshape(count, count)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    covariance = np.linalg.inv(bilaplacian_energy(vertices, triangles, length).toarray())
    middle = index[count // 2, count // 2]
    assert covariance[middle, middle] == pytest.approx(1.0, rel=0.15)
    correlation = covariance[middle] / covariance[middle, middle]
    assert correlation[index[count // 2, count // 2 + 4]] > 0.5  # one length away
    assert abs(correlation[index[count // 2, count // 2 + 20]]) < 0.1  # five lengths away


def test_field_has_the_stated_sigma_and_no_spikes(head: HeadModel) -> None:
    prior = CorrectivePrior(sigma=0.002, asymmetric_sigma=0.001, modes=60)
    field = build_corrective_field(head, _sampler(head), prior)
    rng = np.random.default_rng(0)
    samples = np.stack([field.displacement(rng.standard_normal(field.size)) for _ in range(200)])
    landmarks = np.einsum("nv,svk->snk", _sampler(head).toarray(), samples)
    expected = np.sqrt((0.002**2 + 0.001**2) / 2)
    assert np.sqrt(np.mean(landmarks**2)) == pytest.approx(expected, rel=0.25)
    edges = head.triangles[head.triangle_part == 0][:, :2]
    jump = np.linalg.norm(samples[:, edges[:, 0]] - samples[:, edges[:, 1]], axis=2)
    edge_length = np.linalg.norm(np.diff(head.vertices_mean[edges], axis=1)[:, 0], axis=1)
    assert np.percentile(jump / np.maximum(edge_length, 0.004), 99) < 0.6  # triangles do not fold


def test_symmetric_prior_gives_symmetric_fields(head: HeadModel) -> None:
    prior = CorrectivePrior(asymmetric_sigma=1e-9, modes=20)
    field = build_corrective_field(head, _sampler(head), prior)
    moved = field.displacement(np.random.default_rng(1).standard_normal(field.size))
    mirrored = moved[head.mirror_vertex] * [-1, 1, 1]
    assert np.abs(moved).max() > 1e-3
    np.testing.assert_allclose(mirrored, moved, atol=2e-5)


def test_sampled_basis_agrees_with_displacement(head: HeadModel) -> None:
    field = build_corrective_field(head, _sampler(head), CorrectivePrior(modes=12))
    coefficients = np.random.default_rng(2).standard_normal(field.size)
    at_landmarks = field.sampled(_sampler(head)) @ coefficients
    np.testing.assert_allclose(at_landmarks, _sampler(head) @ field.displacement(coefficients), atol=1e-8)


def test_how_much_is_own_depends_on_the_direction(head: HeadModel) -> None:
    field = build_corrective_field(head, _sampler(head), CorrectivePrior(modes=12))
    mode, axis = np.nonzero(field.scale)
    share = OwnShare(across=0.4, upright=0.8, in_depth=0.1, asymmetric=0.3)
    lopsided = field.asymmetric[mode, axis]
    expected = np.where(lopsided, 0.3, np.array([0.4, 0.8, 0.1])[axis])
    np.testing.assert_allclose(share.of(field), expected, rtol=1e-6)


def test_eyes_move_rigidly(head: HeadModel) -> None:
    field = build_corrective_field(head, _sampler(head), CorrectivePrior(modes=12))
    moved = field.displacement(np.random.default_rng(3).standard_normal(field.size))
    for eye in ("eye_left", "eye_right"):
        vertices = part_vertices(head, [eye])
        assert np.ptp(moved[vertices], axis=0).max() < 1e-7
    assert {tuple(v) for v, _, _ in rigid_followers(head)} == {
        tuple(part_vertices(head, [eye])) for eye in ("eye_left", "eye_right")
    }


def test_neutral_share_fades_where_the_expression_is_strong() -> None:
    displacement = np.array([[0, 0, 0], [0.002, 0, 0], [0, 0.005, 0], [0, 0, 0.1]])
    expected = [1, 1, 1 - NEUTRAL_FADE / 2, 1 - NEUTRAL_FADE]
    np.testing.assert_allclose(neutral_share(displacement), expected, atol=1e-6)
