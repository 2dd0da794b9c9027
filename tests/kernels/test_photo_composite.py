"""A shaded face over its photo, and the gradient."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels.photo_composite import (
    photo_composite,
    photo_composite_reference,
    photo_composite_vjp,
    photo_composite_vjp_reference,
)


def _scene(batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Albedo and light with dark, negative and overexposed pixels; half of the picture without a face."""
    rng = np.random.default_rng(seed)
    shape = (batch, 9, 13)
    return {
        "albedo": rng.uniform(0, 0.9, (*shape, 3)).astype(np.float32),
        "shading": rng.uniform(-0.2, 2.5, (*shape, 3)).astype(np.float32) ** 3,
        "triangle_id": rng.integers(-3, 4, shape).astype(np.int32),
        "photo": rng.uniform(0, 1, (*shape, 3)).astype(np.float32),
        "face_mask": np.clip(rng.uniform(-0.3, 1.3, shape), 0, 1).astype(np.float32),
    }


def _float64(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: array if array.dtype == np.int32 else array.astype(np.float64) for name, array in arrays.items()
    }


@pytest.mark.parametrize("batch", [1, 3])
def test_matches_reference(device, batch):
    scene = _scene(batch)
    got = device.fetch(photo_composite(**{name: device.send(array) for name, array in scene.items()}))
    np.testing.assert_allclose(got, photo_composite_reference(**_float64(scene)), atol=2e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_match_reference(device, batch):
    scene = _scene(batch, seed=1)
    photo = scene.pop("photo")
    scene["grad_image"] = np.random.default_rng(2).normal(size=photo.shape).astype(np.float32)
    got = photo_composite_vjp(**{name: device.send(array) for name, array in scene.items()})
    albedo, shading = photo_composite_vjp_reference(**_float64(scene))
    np.testing.assert_allclose(device.fetch(got.albedo), albedo, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(device.fetch(got.shading), shading, atol=1e-5, rtol=1e-5)


def test_reference_gradients_match_finite_differences():
    scene = _float64(_scene())
    grad = np.random.default_rng(3).normal(size=scene["photo"].shape)
    inputs = {name: scene[name] for name in ("albedo", "shading", "triangle_id", "face_mask")}
    gradients = photo_composite_vjp_reference(**inputs, grad_image=grad)
    step = 1e-6
    for name, gradient in zip(("albedo", "shading"), gradients, strict=True):
        ends = [photo_composite_reference(**{**scene, name: scene[name] + sign * step}) for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step) * grad  # each output sees one element of each input
        kink = np.abs(scene["albedo"] * scene["shading"] - 0.0031308) < 1e-5
        assert kink.mean() < 0.02
        np.testing.assert_allclose(gradient[~kink], expected[~kink], rtol=1e-5, atol=1e-6)


def test_pixels_outside_the_face_are_the_photo_whatever_is_drawn_there(device):
    scene = _scene()
    outside = (scene["triangle_id"] < 0) | (scene["face_mask"] == 0)
    scene["albedo"][outside] = np.nan
    got = device.fetch(photo_composite(**{name: device.send(array) for name, array in scene.items()}))
    np.testing.assert_array_equal(got[outside], scene["photo"][outside])
    inside = ~outside & (scene["face_mask"] == 1)
    assert not np.isclose(got[inside], scene["photo"][inside]).all()


def test_an_overexposed_face_still_has_a_gradient(device):
    scene = _scene(1)
    scene["shading"][...], scene["albedo"][...] = 4.0, 0.9
    scene["triangle_id"][...], scene["face_mask"][...] = 0, 1.0
    ones = np.ones_like(scene.pop("photo"))
    got = photo_composite_vjp(**{n: device.send(a) for n, a in scene.items()}, grad_image=device.send(ones))
    assert (device.fetch(got.albedo) > 0.5).all()


def test_empty_batch():
    scene = {name: array[:0] for name, array in _scene().items()}
    assert photo_composite(**scene).shape == (0, 9, 13, 3)


def test_boundary_says_what_is_wrong():
    scene = _scene()
    with pytest.raises(ValueError, match=r"face_mask must be float32 \[B, H, W\] with B = 2.*got float64"):
        photo_composite(**{**scene, "face_mask": scene["face_mask"].astype(np.float64)})
    with pytest.raises(
        ValueError, match=r"photo must be float32 \[B, H, W, 3\].*got float32 \[1, 9, 13, 3\]"
    ):
        photo_composite(**{**scene, "photo": scene["photo"][:1]})
