"""How well a fit knows each region of the head: the posterior's covariance, in millimetres."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg.lapack import strtrs

from facewright.fit.gauss_newton import POSE_SIZE, Solution, scaled_cholesky
from facewright.fit.landmark_basis import LandmarkBasis
from facewright.head.head_model import HeadModel

#: Vertices that stand for a region; the standard deviation varies slowly within one.
SAMPLES_PER_REGION: Final = 6


class FitConfidence:
    """Standard deviation of the neutral head per region, from ``(J^T W J + prior)^-1`` at the solution.

    Camera and expression are marginalised: what could as well be pose, lens or a smile is not known of the
    shape.
    """

    def __init__(self, head: HeadModel, basis: LandmarkBasis) -> None:
        self._regions: list[str] = []
        samples = []
        for name in head.region_names:
            inside = np.flatnonzero(head.region(str(name)) > 0.5)
            if len(inside) == 0:
                continue
            self._regions.append(str(name))
            samples.append(inside[np.linspace(0, len(inside) - 1, SAMPLES_PER_REGION).astype(int)])
        vertices = np.concatenate(samples) if samples else np.zeros(0, np.int64)
        size = POSE_SIZE + basis.identity_size + basis.expression_size + basis.field.size
        neutral = np.zeros((len(vertices), 3, size), np.float32)
        first = POSE_SIZE
        neutral[:, :, first : first + basis.identity_size] = head.identity_basis[
            : basis.identity_size, vertices
        ].transpose(1, 2, 0)
        picked = sparse.csr_array(
            (np.ones(len(vertices)), (np.arange(len(vertices)), vertices)),
            shape=(len(vertices), len(head.vertices_mean)),
        )
        neutral[:, :, size - basis.field.size :] = basis.field.sampled(picked)
        self._neutral = neutral.reshape(-1, size).T  # [7 + P, 3 * samples]
        self._unmodelled = np.repeat(basis.field.residual_variance[vertices], 3).astype(np.float64)

    def region_sigma_mm(self, solution: Solution) -> dict[str, float]:
        """Root mean square 3-D standard deviation of each region's neutral, millimetres."""
        assert solution.hessian is not None
        lower, scale = scaled_cholesky(solution.hessian)
        half, _ = strtrs(lower, self._neutral * scale[:, None], lower=1)
        variance = np.sum(half.astype(np.float64) ** 2, axis=0) + self._unmodelled
        per_region: NDArray[np.float64] = variance.reshape(len(self._regions), -1, 3).sum(axis=2).mean(axis=1)
        return {
            name: float(1e3 * np.sqrt(value)) for name, value in zip(self._regions, per_region, strict=True)
        }
