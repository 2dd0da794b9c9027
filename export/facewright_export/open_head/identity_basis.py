"""Principal components of head shape, scaled so that coefficients are N(0, 1).

A head is a linear map of target weights, so its mean and covariance follow exactly from those of the weights;
the eigenproblem has the size of the number of targets instead of the number of drawn people times vertices.
Rigid motion is taken out of every target first (the origin stays between the eyeballs, the infinitesimal
rotation of the face is projected out), because pose is estimated separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_export.open_head.identity_parameters import TargetWeights
from facewright_export.open_head.makehuman_data import Target
from facewright_export.open_head.neck_cut import HeadTopology

FloatArray = npt.NDArray[np.float64]

IDENTITY_SIZE: Final = 160


@dataclass(frozen=True)
class IdentityBasis:
    """``mean`` float64 [V, 3], ``basis`` float64 [160, V, 3], metres.

    ``explained`` float64 [160]: cumulative share of the weighted variance.
    """

    mean: FloatArray
    basis: FloatArray
    explained: FloatArray


def target_matrix(targets: list[Target], topology: HeadTopology) -> FloatArray:
    """Displacement of the head's vertices by each target at weight 1; float64 [K, V, 3]."""
    vertex_count, body_count = topology.from_body.shape
    matrix = np.zeros((len(targets), vertex_count, 3))
    body = np.zeros((body_count, 3))
    for row, target in enumerate(targets):
        body[target.vertices] = target.offsets
        matrix[row] = topology.carry(body)
        body[target.vertices] = 0.0
    return matrix


def fit_identity_basis(
    population: TargetWeights,
    displacements: FloatArray,
    base: FloatArray,
    metric: FloatArray,
    origin: FloatArray,
) -> IdentityBasis:
    """Mean and principal components of ``base + w @ displacements``.

    ``displacements`` [K, V, 3], ``base`` [V, 3], ``metric`` [V] vertex weights of the norm in which
    components are ranked (they also say which vertices define the face's rotation), ``origin`` [V] weights
    whose sum of vertices is the origin of head space.
    """
    count = len(displacements)
    moved = displacements - np.einsum("v,kvc->kc", origin, displacements)[:, None]
    mean_weights = population.weights.mean(axis=0)
    mean = base + np.einsum("k,kvc->vc", mean_weights, moved)
    mean = mean - origin @ mean

    moved = _without_rotation(moved, mean, metric)
    root_metric = np.sqrt(metric / metric.sum())
    flat = (moved * root_metric[:, None]).reshape(count, -1)
    gram = flat @ flat.T
    covariance = np.cov(population.weights, rowvar=False)
    # principal axes of w @ D under cov(w): eigenvectors of the symmetric C½ G C½
    values, vectors = np.linalg.eigh(covariance)
    half = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    variance, axes = np.linalg.eigh(half @ gram @ half)
    order = np.argsort(variance)[::-1]
    variance = np.maximum(variance[order], 0.0)
    # one σ along component i moves the weights by C½ a_i, hence the vertices by (C½ a_i) @ D
    directions = half @ axes[:, order[:IDENTITY_SIZE]]
    basis = np.einsum("ki,kvc->ivc", directions, moved, optimize=True)
    # eigenvectors have no sign of their own: the largest coordinate is made positive
    flat_basis = basis.reshape(IDENTITY_SIZE, -1)
    largest = np.abs(np.round(flat_basis, 7)).argmax(axis=1)
    flat_basis *= np.sign(flat_basis[np.arange(IDENTITY_SIZE), largest])[:, None]
    return IdentityBasis(mean, basis, np.cumsum(variance)[:IDENTITY_SIZE] / variance.sum())


def _without_rotation(moved: FloatArray, mean: FloatArray, metric: FloatArray) -> FloatArray:
    """Subtract from every displacement field the rotation about the origin that explains it best."""
    # the field of a small rotation r is r × x: three fields, orthogonalised in the metric
    rotations = np.stack([np.cross(axis, mean) for axis in np.eye(3)])
    products = np.einsum("v,avc,bvc->ab", metric, rotations, rotations)
    coefficients = np.linalg.solve(
        products, np.einsum("v,avc,kvc->ak", metric, rotations, moved, optimize=True)
    )
    without: FloatArray = moved - np.einsum("ak,avc->kvc", coefficients, rotations, optimize=True)
    return without
