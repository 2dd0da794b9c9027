"""Spherical-harmonics shading: light that reaches a surface of a given normal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels._runtime.partial_sums import part_count, sum_parts

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
    normals, coefficients, per_sample = _check_inputs(check, normals, coefficients)
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


@dataclass(frozen=True)
class ShShadingGradients:
    """Result of :func:`sh_shading_vjp`.

    Attributes:
        normals: f32, of the normals' shape; tangential to them, 0 for a zero normal.
        coefficients: f32, of the coefficients' shape.
    """

    normals: FloatArray
    coefficients: FloatArray


def sh_shading_vjp(
    normals: FloatArray, coefficients: FloatArray, grad_shading: FloatArray
) -> ShShadingGradients:
    """Vector-Jacobian product of :func:`sh_shading`, through the normalisation of the normals:
    ``(I − n nᵀ) / |normal| · Σ_k (c_k · g) ∇Y_k(n)``, and ``Y_k(n) g`` summed over the samples that share
    a light.

    Args:
        normals, coefficients: as given to :func:`sh_shading`, in any of its three light layouts.
        grad_shading: f32 ``[B, ..., 3]``, gradient of a scalar with respect to the shading.

    Returns:
        The gradients. A NaN shows in its own normal's gradient and in that of its light.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("sh_shading_vjp")
    normals, coefficients, per_sample = _check_inputs(check, normals, coefficients)
    grad_shading = check.array(
        "grad_shading", grad_shading, "float32", " ".join(str(n) for n in normals.shape)
    )
    xp = array_module(normals)
    grad_normals: FloatArray = xp.empty(normals.shape, np.float32)
    if per_sample:
        grad_coefficients: FloatArray = xp.empty(coefficients.shape, np.float32)
        samples = normals.size // 3
        _SOURCE.launch(
            "sh_shading_vjp_per_sample",
            samples,
            normals,
            coefficients,
            grad_shading,
            grad_normals,
            grad_coefficients,
            samples,
        )
        return ShShadingGradients(grad_normals, grad_coefficients)
    batch = check.size("B")
    samples_per_image = normals.size // 3 // max(batch, 1)
    parts = part_count(samples_per_image, normals)
    part_sums = xp.empty((batch, parts, 9, 3), np.float32)
    shared = check.size("N") == 1
    _SOURCE.launch(
        "sh_shading_vjp",
        batch * parts,
        normals,
        coefficients,
        grad_shading,
        grad_normals,
        part_sums,
        batch,
        samples_per_image,
        0 if shared else 27,
        parts,
    )
    summed = sum_parts(part_sums, (0, 1) if shared else 1)
    return ShShadingGradients(grad_normals, summed.reshape(coefficients.shape))


def _check_inputs(
    check: Boundary, normals: FloatArray, coefficients: FloatArray
) -> tuple[FloatArray, FloatArray, bool]:
    """The checked arrays, and whether every sample has a light of its own."""
    normals = check.array("normals", normals, "float32", "B ... 3")
    per_sample = coefficients.ndim == normals.ndim + 1 and normals.ndim > 2
    pattern = " ".join(str(n) for n in (*normals.shape[:-1], 9, 3)) if per_sample else "N 9 3"
    coefficients = check.array("coefficients", coefficients, "float32", pattern)
    if not per_sample and check.size("N") not in (1, check.size("B")):
        raise ValueError(
            f"{check.function}: coefficients must have batch 1 or {check.size('B')} like normals, "
            f"got {check.size('N')}"
        )
    return normals, coefficients, per_sample


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


def sh_shading_vjp_reference(
    normals: Float64Array, coefficients: Float64Array, grad_shading: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Gradients of normals ``[N, 3]`` (of any length but 0) and of their light ``[9, 3]``, in float64: the
    chain rule through ``n = normal / |normal|`` and :func:`sh_basis`.
    """
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    unit = normals / length
    x, y, z = unit.T
    zero = np.zeros_like(x)
    first, mixed = np.sqrt(3 / (4 * np.pi)) * np.ones_like(x), np.sqrt(15 / (4 * np.pi))
    square_z, square_xy = np.sqrt(5 / (16 * np.pi)), np.sqrt(15 / (16 * np.pi))
    gradients = [  # of each band, with respect to the unit normal
        (zero, zero, zero),
        (zero, first, zero),
        (zero, zero, first),
        (first, zero, zero),
        (mixed * y, mixed * x, zero),
        (zero, mixed * z, mixed * y),
        (zero, zero, 6 * square_z * z),
        (mixed * z, zero, mixed * x),
        (2 * square_xy * x, -2 * square_xy * y, zero),
    ]
    basis_gradient = np.stack([np.stack(band, -1) for band in gradients], 1)
    of_unit = np.einsum("nkd,kc,nc->nd", basis_gradient, coefficients, grad_shading)
    tangential = of_unit - unit * (unit * of_unit).sum(1, keepdims=True)
    return tangential / length, np.einsum("nk,nc->kc", sh_basis(unit), grad_shading)
