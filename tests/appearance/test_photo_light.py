"""The light of a known surface is recovered; outliers do not bend it; the head's own shadows are its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facewright.appearance.photo_light import LampSky, PhotoLight, PhotoLightPrior, estimate_photo_light
from facewright.core.spherical_harmonics import fit_sh, sh_basis
from facewright.head.ambient_occlusion import even_directions
from facewright.head.head_model import HeadModel
from facewright_kernels import vertex_normals

PRIOR = PhotoLightPrior()
TONE = np.array([0.45, 0.28, 0.2], np.float32)


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


def _estimate(normals: np.ndarray, radiance: np.ndarray) -> PhotoLight:
    """Of a surface that casts no shadow on itself, all of it seen."""
    directions = even_directions(64).astype(np.float32)
    alone = np.arange(len(normals), dtype=np.int32)
    open_sky = LampSky(directions, np.ones((len(normals), 64), np.float32), alone)
    return estimate_photo_light(open_sky, normals, radiance, np.ones(len(normals), np.float32), PRIOR)


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


def test_harmonics_are_fitted_where_they_are_weighted() -> None:
    normals = _face_normals()
    light = _light((1, 0.3, 0.5), 0.6)
    shade = sh_basis(normals) @ light
    shade[::3] = 9.0
    weights = np.ones(len(normals), np.float32)
    weights[::3] = 0.0
    fitted = sh_basis(normals) @ fit_sh(normals, shade, weights)
    assert np.abs(fitted[1::3] / shade[1::3] - 1).max() < 0.05


@pytest.mark.parametrize("direction", [(1, 0.3, 0.5), (-0.8, 0.8, 0.4), (0, 1, 0.6)])
def test_recovers_directional_light(direction: tuple[float, float, float]) -> None:
    normals = _face_normals()
    rng = np.random.default_rng(1)
    albedo = TONE * np.exp(rng.normal(0, 0.05, (len(normals), 1))).astype(np.float32)
    shade = sh_basis(normals) @ _light(direction, 0.6)
    estimate = _estimate(normals, albedo * shade)
    expected = shade / shade.mean()
    error = np.abs(estimate.shade - expected) / expected
    assert error.mean() < 0.04, error.mean()
    assert np.quantile(error, 0.95) < 0.12
    assert np.abs(estimate.tone / (TONE * shade.mean(axis=0)) - 1).max() < 0.05


def test_the_shadow_of_the_nose_on_a_cheek_is_light(open_head: HeadModel) -> None:
    sky = LampSky.around(open_head)
    normals = vertex_normals(open_head.vertices_mean[None], open_head.triangles)[0]
    lamp = np.argmax(sky.directions @ np.float32([0.8, 0.3, 0.5]))
    lamps = np.full(64, 0.3, np.float32)
    lamps[lamp] = 8.0
    shade = (sky.irradiance(normals) * sky.visibility) @ lamps
    face = open_head.region("cheeks") + open_head.region("nose") + open_head.region("forehead")
    face = (np.clip(face, 0, 1) * (normals[:, 2] > 0.2)).astype(np.float32)
    towards = normals @ sky.directions[lamp]
    shadow = (face > 0.2) & (sky.visibility[:, lamp] < 0.3) & (towards > 0.15)
    assert shadow.sum() > 10
    partner = open_head.mirror_vertex[shadow]
    expected = np.log(shade[shadow] / shade[partner])
    error = []
    for known in (sky, replace(sky, visibility=np.ones_like(sky.visibility))):
        found = estimate_photo_light(known, normals, TONE * shade[:, None], face, PRIOR).shade[:, 1]
        error.append(float(np.abs(np.log(found[shadow] / found[partner]) - expected).mean()))
    assert error[0] < 0.75 * error[1], error


def test_occluder_does_not_bend_the_light() -> None:
    normals = _face_normals()
    radiance = TONE * (sh_basis(normals) @ _light((1, 0.3, 0.5), 0.5))
    clean = _estimate(normals, radiance)
    covered = radiance.copy()
    covered[(normals[:, 0] > 0.3) & (normals[:, 1] < -0.3)] = 0.01  # a dark microphone
    difference = np.abs(_estimate(normals, covered).shade / clean.shade - 1)
    assert difference.mean() < 0.06, difference.mean()


def test_coloured_light() -> None:
    normals = _face_normals()
    light = _light((1, 0, 0.5), 0.5)
    light[3, 2] = 0.0  # no blue from the side
    shade = sh_basis(normals) @ light
    estimate = _estimate(normals, TONE * shade)
    red_over_blue = estimate.shade[:, 0] / estimate.shade[:, 2]
    lit, unlit = normals[:, 0] > 0.5, normals[:, 0] < -0.5
    assert red_over_blue[lit].mean() > 1.15 * red_over_blue[unlit].mean()


def test_dark_photo_is_bounded_and_explained_by_the_light() -> None:
    normals = _face_normals()
    radiance = 0.1 * TONE * (sh_basis(normals) @ _light((0, 1, 1), 0.1))
    estimate = _estimate(normals, radiance)
    assert estimate.tone @ np.array([0.2126, 0.7152, 0.0722]) >= PRIOR.skin_luminance[0] * 0.999
    assert np.abs(estimate.shade * estimate.tone / radiance - 1).mean() < 0.05


def test_nothing_seen_is_even_light() -> None:
    estimate = _estimate(_face_normals(200), np.full((200, 3), np.nan, np.float32))
    assert np.allclose(estimate.shade, 1.0, atol=1e-5)
