"""The light of a synthetic render is recovered; outliers do not bend it."""

from __future__ import annotations

import numpy as np
import pytest

from facewright.appearance.sh_light import ShLightPrior, estimate_sh_light
from facewright.core.spherical_harmonics import sh_basis

PRIOR = ShLightPrior()


def _face_normals(count: int = 3000) -> np.ndarray:
    """Unit normals of a front-facing ellipsoid cap: what a frontal photo shows of a head."""
    rng = np.random.default_rng(5)
    normals = rng.normal(size=(count * 3, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals[normals[:, 2] > 0.25][:count].astype(np.float32)


def _light(direction: tuple[float, float, float], strength: float) -> np.ndarray:
    """Ambient plus one directional light, as cosine-convolved harmonics: c_1 = strength × direction."""
    light = np.zeros((9, 3), np.float32)
    light[0] = 1.0 / 0.282095
    unit = np.asarray(direction) / np.linalg.norm(direction)
    light[1], light[2], light[3] = strength * unit[1], strength * unit[2], strength * unit[0]
    return light


TONE = np.array([0.45, 0.28, 0.2], np.float32)


def test_basis_is_orthonormal() -> None:
    # Gauss–Legendre in z times a uniform azimuth integrates degree 4 exactly.
    z, weight = np.polynomial.legendre.leggauss(6)
    azimuth = np.arange(12) * 2 * np.pi / 12
    zz, aa = np.meshgrid(z, azimuth, indexing="ij")
    r = np.sqrt(1 - zz**2)
    normals = np.stack([r * np.cos(aa), r * np.sin(aa), zz], -1).reshape(-1, 3).astype(np.float32)
    area = np.repeat(weight, 12) * 2 * np.pi / 12
    basis = sh_basis(normals).astype(np.float64)
    assert np.abs(basis.T @ (basis * area[:, None]) - np.eye(9)).max() < 1e-5


@pytest.mark.parametrize("direction", [(1, 0.3, 0.5), (-0.8, 0.8, 0.4), (0, 1, 0.6)])
def test_recovers_directional_light(direction: tuple[float, float, float]) -> None:
    normals = _face_normals()
    truth = _light(direction, 0.6)
    rng = np.random.default_rng(1)
    albedo = TONE * np.exp(rng.normal(0, 0.05, (len(normals), 1))).astype(np.float32)
    shade = sh_basis(normals) @ truth
    estimate = estimate_sh_light(normals, albedo * shade, np.ones(len(normals), np.float32), PRIOR)
    expected = shade / shade.mean()
    recovered = estimate.irradiance(normals)
    error = np.abs(recovered - expected) / expected
    assert error.mean() < 0.04, error.mean()
    assert np.quantile(error, 0.95) < 0.12
    assert np.abs(estimate.tone / (TONE * shade.mean(axis=0)) - 1).max() < 0.05


def test_occluder_does_not_bend_the_light() -> None:
    normals = _face_normals()
    shade = sh_basis(normals) @ _light((1, 0.3, 0.5), 0.5)
    radiance = TONE * shade
    clean = estimate_sh_light(normals, radiance, np.ones(len(normals), np.float32), PRIOR)
    covered = radiance.copy()
    covered[(normals[:, 0] > 0.3) & (normals[:, 1] < -0.3)] = 0.01  # a dark microphone
    robust = estimate_sh_light(normals, covered, np.ones(len(normals), np.float32), PRIOR)
    difference = np.abs(robust.irradiance(normals) / clean.irradiance(normals) - 1)
    assert difference.mean() < 0.06, difference.mean()


def test_coloured_light() -> None:
    normals = _face_normals()
    truth = _light((1, 0, 0.5), 0.5)
    truth[3, 2] = 0.0  # no blue from the side
    shade = sh_basis(normals) @ truth
    estimate = estimate_sh_light(normals, TONE * shade, np.ones(len(normals), np.float32), PRIOR)
    warm = estimate.coefficients[3, 0] - estimate.coefficients[3, 2]
    assert warm > 0.1, warm


def test_dark_photo_is_bounded_and_explained_by_the_light() -> None:
    normals = _face_normals()
    shade = sh_basis(normals) @ _light((0, 1, 1), 0.3)
    radiance = 0.02 * TONE * shade
    estimate = estimate_sh_light(normals, radiance, np.ones(len(normals), np.float32), PRIOR)
    assert estimate.tone @ np.array([0.2126, 0.7152, 0.0722]) >= PRIOR.skin_luminance[0] * 0.999
    predicted = sh_basis(normals) @ estimate.coefficients * estimate.tone
    assert np.abs(predicted / radiance - 1).mean() < 0.05


def test_nothing_seen_is_ambient() -> None:
    normals = _face_normals(200)
    estimate = estimate_sh_light(normals, np.zeros((200, 3), np.float32), np.zeros(200, np.float32), PRIOR)
    assert np.allclose(estimate.irradiance(normals), 1.0, atol=1e-5)
