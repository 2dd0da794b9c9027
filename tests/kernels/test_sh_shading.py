"""Spherical-harmonics shading."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import sh_shading, sh_shading_vjp
from facewright_kernels._runtime.kernel_source import set_cpu_threads
from facewright_kernels.sh_shading import sh_basis, sh_shading_reference, sh_shading_vjp_reference


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
        np.testing.assert_allclose(got[k], expected, atol=1e-5)  # rounding leaves 2.4e-6


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


@pytest.mark.parametrize("light", ["shared", "per image", "per sample"])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_match_reference(device, light, batch):
    """300 samples an image: several parts, the last of them short."""
    rng = np.random.default_rng(3)
    lengths = rng.uniform(0.2, 3, (batch, 15, 20, 1)).astype(np.float32)
    normals = _normals(rng, (batch, 15, 20)) * lengths
    lights = {"shared": (1, 9, 3), "per image": (batch, 9, 3), "per sample": (batch, 15, 20, 9, 3)}
    coefficients = rng.normal(size=lights[light]).astype(np.float32)
    grad = rng.normal(size=normals.shape).astype(np.float32)
    got = sh_shading_vjp(device.send(normals), device.send(coefficients), device.send(grad))
    got_normals, got_coefficients = device.fetch(got.normals), device.fetch(got.coefficients)
    assert got_coefficients.shape == coefficients.shape
    wanted_coefficients = np.zeros(coefficients.shape)
    flat = [array.astype(np.float64).reshape(batch, -1, 3) for array in (normals, grad)]
    for k in range(batch):
        if light == "per sample":
            own = coefficients[k].reshape(-1, 9, 3).astype(np.float64)
            pairs = [
                sh_shading_vjp_reference(flat[0][k, j : j + 1], own[j], flat[1][k, j : j + 1])
                for j in range(300)
            ]
            wanted = np.concatenate([pair[0] for pair in pairs])
            wanted_coefficients[k] = np.stack([pair[1] for pair in pairs]).reshape(15, 20, 9, 3)
        else:
            at = 0 if light == "shared" else k
            wanted, of_light = sh_shading_vjp_reference(
                flat[0][k], coefficients[at].astype(np.float64), flat[1][k]
            )
            wanted_coefficients[at] += of_light
        np.testing.assert_allclose(got_normals[k].reshape(-1, 3), wanted, rtol=2e-5, atol=5e-5)
    np.testing.assert_allclose(got_coefficients, wanted_coefficients, rtol=1e-5, atol=3e-5)


def test_reference_gradients_are_finite_differences():
    rng = np.random.default_rng(4)
    normals, light, grad = rng.normal(size=(7, 3)), rng.normal(size=(9, 3)), rng.normal(size=(7, 3))

    def value(normals, light):
        unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
        return (sh_shading_reference(unit, light) * grad).sum()

    of_normals, of_light = sh_shading_vjp_reference(normals, light, grad)
    step = 1e-6
    for at in np.ndindex(normals.shape):
        change = np.zeros_like(normals)
        change[at] = step
        slope = (value(normals + change, light) - value(normals - change, light)) / (2 * step)
        assert slope == pytest.approx(of_normals[at], abs=1e-7)
    for at in np.ndindex(light.shape):
        change = np.zeros_like(light)
        change[at] = step
        slope = (value(normals, light + change) - value(normals, light - change)) / (2 * step)
        assert slope == pytest.approx(of_light[at], abs=1e-7)


def test_gradients_do_not_depend_on_threads_or_on_the_rest_of_the_batch(device):
    rng = np.random.default_rng(5)
    normals, grad = rng.normal(size=(2, 3, 777, 3)).astype(np.float32)
    light = rng.normal(size=(3, 9, 3)).astype(np.float32)
    once = sh_shading_vjp(device.send(normals), device.send(light), device.send(grad))
    set_cpu_threads(3)
    try:
        again = sh_shading_vjp(device.send(normals), device.send(light), device.send(grad))
    finally:
        set_cpu_threads(1)
    np.testing.assert_array_equal(device.fetch(once.coefficients), device.fetch(again.coefficients))
    np.testing.assert_array_equal(device.fetch(once.normals), device.fetch(again.normals))
    alone = sh_shading_vjp(device.send(normals[1:2]), device.send(light[1:2]), device.send(grad[1:2]))
    np.testing.assert_array_equal(device.fetch(once.coefficients)[1], device.fetch(alone.coefficients)[0])


def test_gradients_of_zero_normals_nan_and_nothing(device):
    light = device.send(np.random.default_rng(6).normal(size=(2, 9, 3)).astype(np.float32))
    normals = np.zeros((2, 4, 3), np.float32)
    normals[1, 2] = [np.nan, 0, 1]
    grad = device.send(np.ones((2, 4, 3), np.float32))
    got = sh_shading_vjp(device.send(normals), light, grad)
    got_normals, got_light = device.fetch(got.normals), device.fetch(got.coefficients)
    assert np.isnan(got_normals[1, 2]).all()
    got_normals[1, 2] = 0
    assert (got_normals == 0).all()
    np.testing.assert_allclose(got_light[0, 0], 4 * 0.282095, rtol=1e-6)
    assert (got_light[0, 1:] == 0).all()
    assert np.isnan(got_light[1]).any(0).all()
    empty = device.send(np.zeros((2, 0, 3), np.float32))
    assert (device.fetch(sh_shading_vjp(empty, light, empty).coefficients) == 0).all()


def test_gradient_boundary_says_what_is_wrong():
    normals, light = np.zeros((2, 5, 3), np.float32), np.zeros((1, 9, 3), np.float32)
    with pytest.raises(ValueError, match=r"sh_shading_vjp: grad_shading must be float32 \[2, 5, 3\]"):
        sh_shading_vjp(normals, light, normals[:, :4])
    with pytest.raises(ValueError, match="sh_shading_vjp: coefficients must have batch 1 or 2"):
        sh_shading_vjp(normals, np.zeros((3, 9, 3), np.float32), normals)
