"""The identity basis: the modes of the shape prior and what MakeHuman adds; coefficients are N(0, 1).

The first 100 components are ICT-FaceKit's modes. The other 60 are the largest principal components of
MakeHuman's people that are left when the prior's modes are projected out. Their directions are MakeHuman's,
their size is not: of ICT-FaceKit's modes from the 71st on, 30 % of the variance lies in such a space of 60
left by the first 70 (38 % with 50, 47 % with 30), spread evenly over them, 0.035 mm (root mean square over
the head) in each, where MakeHuman's people vary by 1.2 mm along the first. Hence all get the same
`RESIDUAL_SIGMA`, a little more than that because not everybody is like the kit's people.

Rigid motion is taken out of all of them (the origin stays between the eyeballs, the infinitesimal rotation of
the face is projected out), because pose is estimated separately.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from facewright_client.contract import IDENTITY_SIZE
from facewright_export.open_head.identity_parameters import TargetWeights
from facewright_export.open_head.makehuman_data import Target
from facewright_export.open_head.neck_cut import HeadTopology

FloatArray = npt.NDArray[np.float64]

#: 1 sigma of a component from MakeHuman, metres, root mean square over the head.
RESIDUAL_SIGMA: Final = 0.00005


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


def identity_basis(
    mean: FloatArray,
    modes: FloatArray,
    residuals: FloatArray,
    metric: FloatArray,
    origin: FloatArray,
) -> FloatArray:
    """Components float64 [160, V, 3] around ``mean`` [V, 3], metres.

    ``modes`` [M, V, 3], 1 sigma each; ``residuals`` [K, V, 3], fields whose principal components fill up the
    basis; ``metric`` [V] vertex weights of the norm in which these are ranked (they also say which vertices
    define the face's rotation); ``origin`` [V] weights whose sum of vertices is the origin of head space.
    """
    root_metric = np.sqrt(metric / metric.sum())[:, None]

    def without_pose(fields: FloatArray) -> FloatArray:
        shifted = fields - np.einsum("v,kvc->kc", origin, fields)[:, None]
        return _without_rotation(shifted, mean, metric)

    modes, residuals = without_pose(modes), without_pose(residuals)
    spanned = np.linalg.qr((modes * root_metric).reshape(len(modes), -1).T)[0]
    flat = (residuals * root_metric).reshape(len(residuals), -1)
    left = flat - (flat @ spanned) @ spanned.T
    variance, axes = np.linalg.eigh(left @ left.T)
    count = IDENTITY_SIZE - len(modes)
    axes = axes[:, ::-1][:, :count] / np.sqrt(variance[::-1][:count])
    # the combination of residuals and, where the metric says nothing (cavities), of modes: fields on all
    # vertices
    share = np.linalg.lstsq((modes * root_metric).reshape(len(modes), -1).T, (axes.T @ flat).T, rcond=None)[0]
    further = np.einsum("ki,kvc->ivc", axes, residuals, optimize=True)
    further -= np.einsum("mi,mvc->ivc", share, modes, optimize=True)
    further *= RESIDUAL_SIGMA
    # eigenvectors have no sign of their own: the largest coordinate is made positive
    rows = further.reshape(count, -1)
    largest = np.abs(np.round(rows, 7)).argmax(axis=1)
    further *= np.sign(rows[np.arange(count), largest])[:, None, None]
    return np.concatenate([modes, further])


def population_axes(population: TargetWeights, displacements: FloatArray) -> FloatArray:
    """Fields float64 [K, V, 3] with independent N(0, 1) weights that vary as ``w @ displacements`` [K, V,
    3]."""
    values, vectors = np.linalg.eigh(np.cov(population.weights, rowvar=False))
    half = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    axes: FloatArray = np.tensordot(half, displacements, axes=1)
    return axes


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
