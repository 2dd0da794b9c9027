"""Spherical-harmonics shading: light that reaches a surface of a given normal."""

from __future__ import annotations

import numpy as np

from facewright_kernels.boundary import Boundary, Float64Array, FloatArray, array_module
from facewright_kernels.kernel_source import KernelSource

_SOURCE = KernelSource("sh_shading")


def sh_shading(normals: FloatArray, coefficients: FloatArray) -> FloatArray:
    """``Σ_k c_k Y_k(n)`` for nine bands (CONVENTIONS.md); radiance is albedo times that.

    Args:
        normals: f32 ``[B, ..., 3]``, head space; any length, a zero normal gets the ambient band only.
        coefficients: f32 ``[B, 9, 3]``, or ``[1, 9, 3]`` for all images, or ``[B, ..., 9, 3]``, a light of
            each sample's own. Already convolved with the cosine lobe.

    Returns:
        f32 ``[B, ..., 3]``, linear RGB; may be negative where the expansion rings; NaN for NaN normals.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("sh_shading")
    normals = check.array("normals", normals, "float32", "B ... 3")
    per_sample = coefficients.ndim == normals.ndim + 1 and normals.ndim > 2
    pattern = " ".join(str(n) for n in (*normals.shape[:-1], 9, 3)) if per_sample else "N 9 3"
    coefficients = check.array("coefficients", coefficients, "float32", pattern)
    if not per_sample and check.size("N") not in (1, check.size("B")):
        raise ValueError(
            f"sh_shading: coefficients must have batch 1 or {check.size('B')} like normals, "
            f"got {check.size('N')}"
        )
    shading: FloatArray = array_module(normals).empty(normals.shape, np.float32)
    samples = normals.size // 3
    per_image = 27 if not per_sample and check.size("N") > 1 else 0
    _SOURCE.launch(
        "sh_shading",
        samples,
        normals,
        coefficients,
        shading,
        samples,
        max(samples // max(check.size("B"), 1), 1),
        per_image,
        27 if per_sample else 0,
    )
    return shading


def sh_basis(normals: Float64Array) -> Float64Array:
    """The nine basis functions of unit normals ``[..., 3]`` in float64, ``[..., 9]``.

    Real orthonormal spherical harmonics (Ramamoorthi and Hanrahan 2001, "An efficient representation for
    irradiance environment maps", eq. 3), in the order of CONVENTIONS.md.
    """
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack(
        [
            np.full_like(x, np.sqrt(1 / (4 * np.pi))),
            np.sqrt(3 / (4 * np.pi)) * y,
            np.sqrt(3 / (4 * np.pi)) * z,
            np.sqrt(3 / (4 * np.pi)) * x,
            np.sqrt(15 / (4 * np.pi)) * x * y,
            np.sqrt(15 / (4 * np.pi)) * y * z,
            np.sqrt(5 / (16 * np.pi)) * (3 * z * z - 1),
            np.sqrt(15 / (4 * np.pi)) * x * z,
            np.sqrt(15 / (16 * np.pi)) * (x * x - y * y),
        ],
        axis=-1,
    )


def sh_shading_reference(normals: Float64Array, coefficients: Float64Array) -> Float64Array:
    """Unit normals ``[..., 3]`` under one light ``[9, 3]``, in float64."""
    return np.asarray(sh_basis(normals) @ coefficients, np.float64)
