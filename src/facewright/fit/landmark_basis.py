"""The head model seen through its landmarks: linear maps from coefficients to points, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from facewright.fit.corrective_field import (
    CorrectiveField,
    CorrectivePrior,
    build_corrective_field,
)
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import MESH_COUNT
from facewright_kernels import vertex_normals

#: The network's iris points: centre and ring of the subject's right, then left eye.
IRIS_RIGHT, IRIS_LEFT = slice(468, 473), slice(473, 478)
#: Leading identity components that are fitted; fewer are faster, and leave fine shape to the corrective
#: field.
IDENTITY_USED = 160
#: Landmarks of the upper and lower lip that meet when the mouth is closed, and the shapes that part them.
#: What does so is expression, not a person's form.
INNER_LIPS = (
    (191, 95),
    (80, 88),
    (81, 178),
    (82, 87),
    (13, 14),
    (312, 317),
    (311, 402),
    (310, 318),
    (415, 324),
)
OPENING = ("jawOpen", "mouthClose", "mouthLowerDown", "mouthUpperUp")


@dataclass(frozen=True)
class PointBasis:
    """Points that move linearly: ``mean + basis @ [identity, expression, corrective]``.

    Args:
        mean: float32 [N, 3], metres.
        basis: float32 [N, 3, P].
        normal: float32 [N, 3], unit outward normals on the mean head.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    normal: NDArray[np.float32]


@dataclass(frozen=True)
class LandmarkBasis:
    """What the fit needs of a head model.

    Args:
        landmarks: the mesh landmarks (the irises are left out), N = 468.
        sigma: float64 [N], 1 sigma of their embedding, metres.
        contour: int64 [C], landmarks that may slide on the silhouette.
        candidates: the points each contour landmark may slide over, in order, N = C * K.
        field: the corrective field, the last block of the coefficients.
        identity_size, expression_size: sizes of the first two blocks; identity is a leading part of the
            head's.
        opening: float64 [F, E], orthonormal directions of the corrective coefficients that open the mouth.
        pupil_distance: metres, of the mean head.
        pupil_basis: float32 [P], its derivatives.
    """

    landmarks: PointBasis
    sigma: NDArray[np.float64]
    contour: NDArray[np.int64]
    candidates: PointBasis
    field: CorrectiveField
    identity_size: int
    expression_size: int
    opening: NDArray[np.float64]
    pupil_distance: float
    pupil_basis: NDArray[np.float32]


def build_landmark_basis(
    head: HeadModel, prior: CorrectivePrior, identity_size: int = IDENTITY_USED
) -> LandmarkBasis:
    """Samples the head's mean, bases and corrective field at its landmarks and contour candidates."""
    identity_basis = head.identity_basis[:identity_size]
    vertex_count = len(head.vertices_mean)
    triangles = head.landmark_triangles[:MESH_COUNT]
    corners = head.triangles[triangles]  # [N, 3]
    sampler = sparse.csr_array(
        (
            head.landmark_barycentrics[:MESH_COUNT].ravel(),
            (np.repeat(np.arange(MESH_COUNT), 3), corners.ravel()),
        ),
        shape=(MESH_COUNT, vertex_count),
    )
    candidates = head.contour_candidates.ravel()
    candidate_sampler = sparse.csr_array(
        (np.ones(len(candidates)), (np.arange(len(candidates)), candidates)),
        shape=(len(candidates), vertex_count),
    )
    field = build_corrective_field(head, sampler, prior)
    normals = vertex_normals(head.vertices_mean[None], head.triangles)[0]
    linear = np.concatenate([identity_basis, head.expression_basis])  # [P, V, 3]

    def sampled(weights: sparse.csr_array) -> PointBasis:
        parameters = len(linear)
        used = np.unique(weights.indices)
        dense = np.asarray(weights[:, used].toarray(), np.float32)
        points = np.einsum("nv,pvk->nkp", dense, linear[:, used], optimize=True)
        normal = weights @ normals
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
        basis = np.concatenate([points.reshape(len(dense), 3, parameters), field.sampled(weights)], axis=2)
        return PointBasis(
            np.asarray(weights @ head.vertices_mean, np.float32),
            np.ascontiguousarray(basis, np.float32),
            normal.astype(np.float32),
        )

    landmarks = sampled(sampler)
    return LandmarkBasis(
        landmarks=landmarks,
        sigma=np.asarray(head.landmark_sigma[:MESH_COUNT], np.float64),
        contour=np.asarray(head.contour_landmarks, np.int64),
        candidates=sampled(candidate_sampler),
        field=field,
        identity_size=len(identity_basis),
        expression_size=len(head.expression_basis),
        opening=_opening(landmarks.basis, len(identity_basis), list(head.expression_names)),
        pupil_distance=float(head.iris_centre[0, 0] - head.iris_centre[1, 0]),
        pupil_basis=_pupil_basis(head, identity_basis, field),
    )


def _opening(basis: NDArray[np.float32], first: int, names: list[str]) -> NDArray[np.float64]:
    """Where the corrective field could pass for an open mouth: orthonormal coefficient directions [F, E].

    Args:
        basis: [N, 3, P] of the landmarks.
        first: the expressions' place among the P coefficients; the corrective field follows them.
        names: of the expressions.
    """
    shapes = [first + index for index, name in enumerate(names) if str(name).startswith(OPENING)]
    expressions = basis[:, :, shapes].reshape(-1, len(shapes)).astype(np.float64)
    field = basis[:, :, first + len(names) :].reshape(len(expressions), -1).astype(np.float64)
    # Ridge: what the field can only reach at many sigma is dear already.
    noise = 0.001**2 * np.eye(field.shape[1])
    coefficients = np.linalg.solve(field.T @ field + noise, field.T @ expressions)
    upper, lower = np.array(INNER_LIPS).T
    gaps = (basis[upper, 1] - basis[lower, 1])[:, first + len(names) :].astype(np.float64)
    gaps *= np.linalg.norm(coefficients) / np.linalg.norm(gaps)
    directions, singular, _ = np.linalg.svd(
        np.concatenate([coefficients, gaps.T], axis=1), full_matrices=False
    )
    return np.asarray(directions[:, singular > 0.02 * singular[0]])


def _pupil_basis(
    head: HeadModel, identity_basis: NDArray[np.float32], field: CorrectiveField
) -> NDArray[np.float32]:
    """Derivatives [P] of the distance between the eyes' joints along x, the irises' at rest."""
    names = [str(name) for name in head.joint_names]
    weights = head.joint_regressor[names.index("eye_left")] - head.joint_regressor[names.index("eye_right")]
    on_field = np.zeros(field.scale.shape, np.float32)
    on_field[:, 0] = (weights @ field.modes) * field.scale[:, 0]
    return np.concatenate(
        [
            identity_basis[:, :, 0] @ weights,
            np.zeros(len(head.expression_basis), np.float32),
            on_field[field.scale > 0],
        ]
    )
