"""The nine spherical harmonics that light is written in; their order is CONVENTIONS.md's."""

from __future__ import annotations

import numpy as np

from facewright.core.arrays import Floats


def sh_basis(normals: Floats) -> Floats:
    """The nine basis functions at unit normals ``[..., 3]``, head space → f32 ``[..., 9]``.

    Real orthonormal spherical harmonics (Ramamoorthi and Hanrahan 2001, "An efficient representation for
    irradiance environment maps", eq. 3).
    """
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3.0 * z * z - 1.0),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=-1,
    ).astype(np.float32)


def fit_sh(normals: Floats, irradiance: Floats, weights: Floats) -> Floats:
    """The nine bands f32 ``[9, 3]`` nearest to ``irradiance`` ``[N, 3]`` on unit ``normals`` ``[N, 3]``, by
    least squares with ``weights`` ``[N]``."""
    basis = sh_basis(normals).astype(np.float64)
    weighted = basis.T * weights
    ridge = 1e-4 * float(weights.sum()) * np.eye(9)
    coefficients: Floats = np.linalg.solve(weighted @ basis + ridge, weighted @ irradiance).astype(np.float32)
    return coefficients
