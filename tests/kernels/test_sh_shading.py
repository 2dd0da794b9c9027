"""Spherical-harmonics shading."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import sh_shading
from facewright_kernels.sh_shading import sh_basis, sh_shading_reference


def _normals(rng: np.random.Generator, shape) -> np.ndarray:
    n = rng.normal(size=(*shape, 3))
    return (n / np.linalg.norm(n, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("light", ["shared", "per image", "per sample"])
def test_matches_reference(device, light):
    rng = np.random.default_rng(0)
    normals = _normals(rng, (2, 7, 11))
    shape = {"shared": (1, 9, 3), "per image": (2, 9, 3), "per sample": (2, 7, 11, 9, 3)}[light]
    coefficients = rng.normal(size=shape).astype(np.float32)
    # Length does not matter: interpolated normals are shorter than 1.
    got = device.fetch(sh_shading(device.send(normals * np.float32(0.7)), device.send(coefficients)))
    for k in range(2):
        of_image = coefficients[0 if light == "shared" else k].astype(np.float64)
        expected = (
            np.einsum("hwk,hwkc->hwc", sh_basis(normals[k].astype(np.float64)), of_image)
            if light == "per sample"
            else sh_shading_reference(normals[k].astype(np.float64), of_image)
        )
        np.testing.assert_allclose(got[k], expected, atol=5e-6)


def test_basis_is_orthonormal_on_the_sphere():
    """Integrated over the sphere by Gauss–Legendre quadrature, which is exact for degree 4."""
    z, weight = np.polynomial.legendre.leggauss(8)
    phi = np.arange(16) * 2 * np.pi / 16
    r = np.sqrt(1 - z**2)[:, None]
    normals = np.stack([r * np.cos(phi), r * np.sin(phi), np.broadcast_to(z[:, None], (8, 16))], -1)
    basis = sh_basis(normals).reshape(-1, 9)
    gram = (basis * np.repeat(weight * 2 * np.pi / 16, 16)[:, None]).T @ basis
    np.testing.assert_allclose(gram, np.eye(9), atol=1e-12)


def test_zero_normal_has_ambient_light_only(device):
    coefficients = np.random.default_rng(1).normal(size=(1, 9, 3)).astype(np.float32)
    normals = np.array([[[0, 0, 0], [np.nan, 0, 0]]], np.float32)
    got = device.fetch(sh_shading(device.send(normals), device.send(coefficients)))[0]
    np.testing.assert_allclose(got[0], 0.282095 * coefficients[0, 0], rtol=1e-6)
    assert np.isnan(got[1]).all()


def test_boundary_says_what_is_wrong():
    with pytest.raises(ValueError, match="batch 1 or 2 like normals, got 3"):
        sh_shading(np.zeros((2, 5, 3), np.float32), np.zeros((3, 9, 3), np.float32))
    with pytest.raises(ValueError, match=r"coefficients must be float32 \[N, 9, 3\].*\[1, 9\]"):
        sh_shading(np.zeros((2, 5, 3), np.float32), np.zeros((1, 9), np.float32))
