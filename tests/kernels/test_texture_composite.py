"""The composition kernel against its float64 reference, and its edges."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from facewright_kernels import CompositeSurface, texture_composite
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels._runtime.transfer_tables import CODE_COUNT, byte_decoding, srgb_encoding
from facewright_kernels.texture_composite import texture_composite_reference


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


def _composed(device, surface: CompositeSurface, photo, layers, detail) -> np.ndarray:
    """One photo through the batched kernel: u8 ``[S, S, 3]``."""
    on_device = CompositeSurface(
        *(device.send(a) for a in (surface.texel_triangle, surface.texel_barycentric, surface.triangles)),
        *(device.send(a[None]) for a in (surface.photo_points, surface.mirror_points)),
    )
    images = (device.send(a[None]) for a in (photo, layers))
    return device.fetch(texture_composite(on_device, *images, device.send(detail)))[0]


def _encode(linear: np.ndarray) -> Any:
    clamped = np.clip(linear, 0, 1)
    return 255 * np.where(clamped <= 0.0031308, clamped * 12.92, 1.055 * clamped ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("size", [12, 48, 100])
def test_matches_reference(device, size: int) -> None:
    surface, photo, layers, detail = _scene(size)
    texture = _composed(device, surface, photo, layers, detail)
    expected = _encode(texture_composite_reference(surface, photo, layers, detail))
    assert texture.shape == (size, size, 3)
    assert expected.std() > 10
    assert np.abs(texture - expected).max() <= 1.01  # rounding, and the table's half step near black


def test_photo_is_copied_exactly_where_the_gain_is_one(device) -> None:
    surface, photo, layers, detail = _scene()
    pixel = np.array([7.5, 3.5, 1], np.float32)
    surface = dataclasses.replace(surface, photo_points=np.tile(pixel, (4, 1)))
    layers[:] = 0
    layers[..., :3] = 1
    texture = _composed(device, surface, photo, layers, detail)
    assert (texture[surface.texel_triangle >= 0] == photo[3, 7]).all()
    assert (texture[surface.texel_triangle < 0] == 0).all()


def test_not_finite_and_behind_the_camera_stay_in_bounds(device) -> None:
    surface, photo, layers, detail = _scene()
    points = surface.photo_points.copy()
    points[0] = np.nan
    points[1] = [np.inf, -np.inf, 0]
    points[2, 2] = -5
    surface = dataclasses.replace(surface, photo_points=points)
    texture = _composed(device, surface, photo, layers * np.float32(50), detail)
    assert texture.dtype == np.uint8
    assert texture.max() == 255


def test_every_photo_of_a_batch_has_its_own_points_and_layers(device):
    first, photo, layers, detail = _scene()
    second, other_photo, other_layers, _ = _scene(seed=4)
    second = dataclasses.replace(
        first, photo_points=second.photo_points + np.float32(3), mirror_points=second.mirror_points
    )
    both = dataclasses.replace(
        first,
        photo_points=np.stack([first.photo_points, second.photo_points]),
        mirror_points=np.stack([first.mirror_points, second.mirror_points]),
    )
    on_device = CompositeSurface(**{k: device.send(v) for k, v in vars(both).items()})
    images = (np.stack([photo, other_photo]), np.stack([layers, other_layers]))
    texture = texture_composite(on_device, *(device.send(a) for a in images), device.send(detail))
    alone = (
        _composed(device, first, photo, layers, detail),
        _composed(device, second, *(other_photo, other_layers, detail)),
    )
    np.testing.assert_array_equal(device.fetch(texture), np.stack(alone))
    assert (alone[0] != alone[1]).any()


@pytest.mark.parametrize("change", [{"triangles": [[0, 1, 2], [2, 1, 4]]}, {"texel_triangle": 2}])
def test_the_kernel_shows_no_photo_where_a_number_is_wrong(device, change):
    """As on a GPU, where the host does not look at numbers: such texels are as if they had no triangle."""
    surface, photo, layers, detail = _scene()
    texel = surface.texel_triangle
    if "triangles" in change:
        wrong = dataclasses.replace(surface, triangles=np.array(change["triangles"], np.int32))
    else:
        wrong = dataclasses.replace(surface, texel_triangle=np.where(texel == 1, 2, texel).astype(np.int32))
    without = np.where(texel == 1, -1, texel).astype(np.int32)
    expected = _composed(device, dataclasses.replace(surface, texel_triangle=without), photo, layers, detail)
    texture = device.send(np.zeros((48, 48, 3), np.uint8))
    arrays = (
        wrong.texel_triangle,
        wrong.texel_barycentric,
        wrong.triangles,
        wrong.photo_points,
        wrong.mirror_points,
        photo,
        byte_decoding(True),
        srgb_encoding(),
        layers,
        detail,
    )
    sizes = (1, 48, 4, 2, *photo.shape[:2], 12, CODE_COUNT)
    source = KernelSource("texture_composite")
    source.launch("texture_composite", 48 * 48, *(device.send(a) for a in arrays), texture, *sizes)
    np.testing.assert_array_equal(device.fetch(texture), expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"triangles": np.array([[0, 1, 4]], np.int32)}, "indices 0 to 3"),
        ({"texel_triangle": np.full((48, 48), 2, np.int32)}, "there are 2 triangles"),
        ({"photo_points": np.zeros((1, 4, 2), np.float32)}, "photo_points must be float32"),
        ({"mirror_points": np.zeros((1, 3, 3), np.float32)}, "mirror_points must be"),
    ],
)
def test_says_what_is_wrong(change: dict[str, np.ndarray], words: str) -> None:
    surface, photo, layers, detail = _scene()
    batched = dataclasses.replace(
        surface, photo_points=surface.photo_points[None], mirror_points=surface.mirror_points[None]
    )
    broken: Any = dataclasses.replace(batched, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        texture_composite(broken, photo[None], layers[None], detail)
