"""The composition kernel against its float64 reference, and its edges."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from facewright_kernels.texture_composite import (
    CompositeSurface,
    texture_composite,
    texture_composite_reference,
)


def _scene(size: int = 48, seed: int = 3) -> tuple[CompositeSurface, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    triangles = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    points = np.array([[2, 3, 1], [50, 5, 1], [4, 40, 1], [130, 90, 2]], np.float32)
    mirrored = points[[1, 0, 3, 2]].copy()
    texel = rng.integers(-1, 2, (size, size)).astype(np.int32)
    barycentric = rng.dirichlet([1, 1, 1], (size, size))[..., :2].astype(np.float32)
    photo = rng.integers(0, 256, (45, 70, 3)).astype(np.uint8)
    layers = rng.random((12, 12, 16)).astype(np.float32) * 0.4
    layers[..., 13] = rng.random((12, 12))
    layers[:4, :, :6] = 0.0  # a corner without photo
    detail = rng.integers(0, 256, (size, size, 2)).astype(np.uint8)
    return CompositeSurface(texel, barycentric, triangles, points, mirrored), photo, layers, detail


def _encode(linear: np.ndarray) -> Any:
    clamped = np.clip(linear, 0, 1)
    return 255 * np.where(clamped <= 0.0031308, clamped * 12.92, 1.055 * clamped ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("size", [12, 48, 100])
def test_matches_reference(size: int) -> None:
    surface, photo, layers, detail = _scene(size)
    texture = texture_composite(surface, photo, layers, detail)
    expected = _encode(texture_composite_reference(surface, photo, layers, detail))
    assert texture.shape == (size, size, 3)
    assert expected.std() > 10
    assert np.abs(texture - expected).max() <= 1.01  # rounding, and the table's half step near black


def test_photo_is_copied_exactly_where_the_gain_is_one() -> None:
    surface, photo, layers, detail = _scene()
    pixel = np.array([7.5, 3.5, 1], np.float32)
    surface = dataclasses.replace(surface, photo_points=np.tile(pixel, (4, 1)))
    layers[:] = 0
    layers[..., :3] = 1
    texture = texture_composite(surface, photo, layers, detail)
    assert (texture[surface.texel_triangle >= 0] == photo[3, 7]).all()
    assert (texture[surface.texel_triangle < 0] == 0).all()


def test_not_finite_and_behind_the_camera_stay_in_bounds() -> None:
    surface, photo, layers, detail = _scene()
    points = surface.photo_points.copy()
    points[0] = np.nan
    points[1] = [np.inf, -np.inf, 0]
    points[2, 2] = -5
    texture = texture_composite(
        dataclasses.replace(surface, photo_points=points), photo, layers * np.float32(50), detail
    )
    assert texture.dtype == np.uint8
    assert texture.max() == 255


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"triangles": np.array([[0, 1, 4]], np.int32)}, "indices 0 to 3"),
        ({"texel_triangle": np.full((48, 48), 2, np.int32)}, "there are 2 triangles"),
        ({"photo_points": np.zeros((4, 2), np.float32)}, "photo_points must be float32"),
        ({"mirror_points": np.zeros((3, 3), np.float32)}, "mirror_points must be"),
    ],
)
def test_says_what_is_wrong(change: dict[str, np.ndarray], words: str) -> None:
    surface, photo, layers, detail = _scene()
    broken: Any = dataclasses.replace(surface, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        texture_composite(broken, photo, layers, detail)
