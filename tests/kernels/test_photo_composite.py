"""A shaded face over its photo, and the gradients."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels.photo_composite import (
    face_layer,
    face_layer_reference,
    face_layer_vjp,
    face_layer_vjp_reference,
    photo_composite,
    photo_composite_reference,
    photo_composite_vjp,
    photo_composite_vjp_reference,
)

SIZE = (9, 13)


def _face(batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Albedo and light with dark, negative and overexposed pixels; half of the picture without a face."""
    rng = np.random.default_rng(seed)
    return {
        "albedo": rng.uniform(0, 0.9, (batch, *SIZE, 3)).astype(np.float32),
        "shading": rng.uniform(-0.2, 2.5, (batch, *SIZE, 3)).astype(np.float32) ** 3,
        "triangle_id": rng.integers(-3, 4, (batch, *SIZE)).astype(np.int32),
    }


def _photo(batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "photo": rng.uniform(0, 1, (batch, 3, *SIZE)).astype(np.float32),
        "face_mask": np.clip(rng.uniform(-0.3, 1.3, (batch, *SIZE)), 0, 1).astype(np.float32),
    }


def _normal(shape: tuple[int, ...], seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _float64(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: array if array.dtype == np.int32 else array.astype(np.float64) for name, array in arrays.items()
    }


def _sent(device, arrays: dict[str, np.ndarray]) -> dict[str, object]:
    return {name: device.send(array) for name, array in arrays.items()}


@pytest.mark.parametrize("batch", [1, 3])
def test_layer_matches_reference(device, batch):
    face = _face(batch)
    got = device.fetch(face_layer(**_sent(device, face)))
    np.testing.assert_allclose(got, face_layer_reference(**_float64(face)), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_layer_gradients_match_reference(device, batch):
    face = _face(batch) | {"grad_layer": _normal((batch, *SIZE, 4))}
    face["grad_layer"][:, :2] = 0
    got = face_layer_vjp(**_sent(device, face))
    albedo, shading = face_layer_vjp_reference(**_float64(face))
    np.testing.assert_allclose(device.fetch(got.albedo), albedo, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(device.fetch(got.shading), shading, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 3])
def test_composite_matches_reference(device, batch):
    scene = _photo(batch) | {"layer": _normal((batch, *SIZE, 4))}
    got = device.fetch(photo_composite(**_sent(device, scene)))
    np.testing.assert_allclose(got, photo_composite_reference(**_float64(scene)), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 3])
def test_composite_gradient_matches_reference(device, batch):
    scene = _photo(batch) | {"grad_image": _normal((batch, 3, *SIZE))}
    got = device.fetch(photo_composite_vjp(**_sent(device, scene)))
    np.testing.assert_allclose(got, photo_composite_vjp_reference(**_float64(scene)), atol=1e-6)


@pytest.mark.parametrize("name", ["albedo", "shading"])
def test_reference_layer_gradients_match_finite_differences(name):
    face = _float64(_face())
    grad = _normal((2, *SIZE, 4)).astype(np.float64)
    gradients = dict(
        zip(("albedo", "shading"), face_layer_vjp_reference(**face, grad_layer=grad), strict=True)
    )
    step = 1e-6
    up, down = (face_layer_reference(**{**face, name: face[name] + sign * step}) for sign in (1, -1))
    expected = ((up - down) / (2 * step) * grad)[..., :3]  # each output sees one element of each input
    kink = np.abs(face["albedo"] * face["shading"] - 0.0031308) < 1e-5
    assert kink.mean() < 0.02
    np.testing.assert_allclose(gradients[name][~kink], expected[~kink], rtol=1e-5, atol=1e-6)


def test_reference_composite_gradient_matches_finite_differences():
    scene = _float64(_photo())
    layer, grad = _normal((2, *SIZE, 4)).astype(np.float64), _normal((2, 3, *SIZE), 6).astype(np.float64)
    gradient = photo_composite_vjp_reference(**scene, grad_image=grad)
    direction = _normal(layer.shape, 7).astype(np.float64)
    up, down = (photo_composite_reference(layer + sign * 1e-3 * direction, **scene) for sign in (1, -1))
    assert (gradient * direction).sum() == pytest.approx(((up - down) / 2e-3 * grad).sum(), rel=1e-9)


def test_a_face_over_its_photo(device):
    """The two together are ``photo + m (sRGB(albedo · shading) − photo)`` where a triangle is seen."""
    face, scene = _face(), _photo()
    layer = face_layer(**_sent(device, face))
    got = device.fetch(photo_composite(layer, **_sent(device, scene)))
    photo, mask = scene["photo"], scene["face_mask"]
    outside = (face["triangle_id"] < 0) | (mask == 0)
    np.testing.assert_array_equal(np.moveaxis(got, 1, -1)[outside], np.moveaxis(photo, 1, -1)[outside])
    inside = ~outside & (mask == 1)
    radiance = (face["albedo"] * face["shading"])[inside].astype(np.float64)
    bright = radiance > 0.0031308
    np.testing.assert_allclose(
        np.moveaxis(got, 1, -1)[inside][bright], 1.055 * radiance[bright] ** (1 / 2.4) - 0.055, atol=1e-5
    )


def test_outside_the_mask_nan_of_the_face_does_not_reach_the_photo(device):
    scene = _photo()
    layer = np.full((2, *SIZE, 4), np.nan, np.float32)
    got = device.fetch(photo_composite(device.send(layer), **_sent(device, scene)))
    outside = np.broadcast_to((scene["face_mask"] == 0)[:, None], got.shape)
    np.testing.assert_array_equal(got[outside], scene["photo"][outside])
    assert np.isnan(got[~outside]).all()


def test_an_overexposed_face_still_has_a_gradient(device):
    face = _face(1)
    face["shading"][...], face["albedo"][...], face["triangle_id"][...] = 4.0, 0.9, 0
    got = face_layer_vjp(**_sent(device, face), grad_layer=device.send(np.ones((1, *SIZE, 4), np.float32)))
    assert (device.fetch(got.albedo) > 0.5).all()


def test_empty_batch():
    assert face_layer(**{name: array[:0] for name, array in _face().items()}).shape == (0, *SIZE, 4)
    scene = {name: array[:0] for name, array in _photo().items()}
    assert photo_composite(np.zeros((0, *SIZE, 4), np.float32), **scene).shape == (0, 3, *SIZE)


def test_boundary_says_what_is_wrong():
    layer, scene = np.zeros((2, *SIZE, 4), np.float32), _photo()
    with pytest.raises(ValueError, match=r"face_mask must be float32 \[B, H, W\] with B = 2.*got float64"):
        photo_composite(layer, scene["photo"], scene["face_mask"].astype(np.float64))
    with pytest.raises(
        ValueError, match=r"photo must be float32 \[B, 3, H, W\].*got float32 \[1, 3, 9, 13\]"
    ):
        photo_composite(layer, scene["photo"][:1], scene["face_mask"])
