"""Image-to-UV projection: against its reference, and a round trip through a rendered ball."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facewright_kernels import (
    PinholeCamera,
    ProjectionSurface,
    ProjectionWeighting,
    depth_map,
    interpolate,
    make_texel_map,
    pinhole_clip_positions,
    pinhole_points,
    rasterize,
    silhouette_weight,
    uv_projection,
    uv_projection_vjp,
)
from facewright_kernels._runtime.kernel_source import set_cpu_threads
from facewright_kernels.pinhole import pinhole_points_vjp_reference
from facewright_kernels.uv_projection import uv_projection_reference, uv_projection_vjp_reference

SIZE = 96


def _view(device, ball, size=256, batch=1):
    intrinsics = np.tile(
        np.float32([[1.6 * size, 0, size / 2], [0, 1.6 * size, size / 2], [0, 0, 1]]), (batch, 1, 1)
    )
    extrinsics = np.tile(np.float32([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.5]]), (batch, 1, 1))
    extrinsics[:, 0, 3] = 0.01 * np.arange(batch)
    camera = PinholeCamera(device.send(intrinsics), device.send(extrinsics), size, size)
    vertices = device.send(np.repeat(ball.vertices[None], batch, 0))
    normals = device.send(np.repeat(ball.vertices[None] / np.float32(0.12), batch, 0))
    texels = make_texel_map(device.send(ball.uv), device.send(ball.uv_triangles), SIZE)
    return camera, ProjectionSurface(texels, vertices, normals, device.send(ball.triangles))


@pytest.mark.parametrize("kind", ["bytes", "float"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_matches_reference(device, ball, kind, channels):
    rng = np.random.default_rng(0)
    camera, surface = _view(device, ball)
    image = rng.random((1, 256, 256, channels)).astype(np.float32)
    linear = image.astype(np.float64)
    if kind == "bytes":
        image = (image * 255).round().astype(np.uint8)
        code = image / 255
        linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 100, 130)
    weighting = ProjectionWeighting(cosine_zero=0.05, cosine_one=0.9, border=20)
    got = uv_projection(device.send(image), surface, camera, zbuffer, weighting=weighting, with_image_xy=True)
    points = pinhole_points(surface.vertices, surface.normals, camera)
    at = device.fetch(surface.texel_map.gather(points, surface.triangles))[0].astype(np.float64)
    inside = device.fetch(surface.texel_map.triangle_id) >= 0
    colour, weight = uv_projection_reference(
        linear[0], at[inside], device.fetch(zbuffer)[0].astype(np.float64), weighting
    )
    got_weight, got_colour = device.fetch(got.weight)[0], device.fetch(got.colour)[0]
    assert 0.15 < (weight > 0).mean() < 0.6
    # A texel may fall on the other side of a depth pixel's border by rounding; nearly none does.
    off = np.abs(got_weight[inside] - weight) > 1e-3
    assert off.mean() < 2e-3
    seen = (weight > 0) & (got_weight[inside] > 0)
    np.testing.assert_allclose(got_colour[inside][seen], colour[seen], atol=2e-3)
    assert (got_weight[~inside] == 0).all()
    assert (got_colour[got_weight == 0] == 0).all()
    xy = device.fetch(got.image_xy)[0]
    np.testing.assert_allclose(xy[inside], at[inside][:, :2] / at[inside][:, 2:3], atol=1e-3)
    assert np.isnan(xy[~inside]).all()


def test_round_trip_recovers_what_was_painted(device, ball):
    """Paint the ball by position, photograph it, project back: visible texels show their own position
    again.
    """
    camera, surface = _view(device, ball, size=512)
    clip = pinhole_clip_positions(surface.vertices, camera)
    raster = rasterize(clip, surface.triangles, 512, 512)
    paint = surface.vertices * 3 + 0.5
    image = interpolate(paint, surface.triangles, raster)
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 512, 512)
    silhouettes = silhouette_weight(zbuffer, radius=3)
    got = uv_projection(image, surface, camera, zbuffer, silhouettes=silhouettes)
    wanted = device.fetch(surface.texel_map.gather(paint, surface.triangles))[0]
    trusted = device.fetch(got.weight)[0] > 0.5
    assert trusted.mean() > 0.1
    np.testing.assert_allclose(device.fetch(got.colour)[0][trusted], wanted[trusted], atol=3e-3)
    # Nothing of the far side is seen.
    assert (wanted[device.fetch(got.weight)[0] > 0][:, 2] > 0.5).all()


@pytest.mark.parametrize("cosines", [(0.0, 0.2), (-0.2, 0.2), (-0.05, -0.04), (0.1, 0.6)])
def test_weights_of_grazing_normals_follow_the_cosine_through_zero(device, ball, cosines):
    """Normals from 17 degrees behind the surface's edge-on view to 17 degrees before it."""
    camera, surface = _view(device, ball)
    vertices, pose = device.fetch(surface.vertices)[0], device.fetch(camera.head_to_camera)[0]
    to_eye = -pose[:, :3].T @ pose[:, 3] - vertices
    to_eye /= np.linalg.norm(to_eye, axis=1, keepdims=True)
    across = np.cross(to_eye, [0.3, 1, 0.2])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    slope = np.linspace(-0.3, 0.3, len(vertices))[np.argsort(np.argsort(vertices[:, 1]))][:, None]
    cosine = (slope / np.hypot(1, slope)).astype(np.float32)
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 256, 256)
    image = device.send(np.ones((1, 256, 256, 1), np.float32))
    weighting = ProjectionWeighting(cosine_zero=cosines[0], cosine_one=cosines[1])

    def weights(normals: np.ndarray) -> np.ndarray:
        posed = replace(surface, normals=device.send(normals[None].astype(np.float32)))
        return device.fetch(uv_projection(image, posed, camera, zbuffer, weighting=weighting).weight)[0]

    facing, grazing = weights(to_eye), weights(across + slope * to_eye)
    at_texel = device.fetch(surface.texel_map.gather(device.send(cosine[None]), surface.triangles))[0, ..., 0]
    seen = facing > 0
    assert (at_texel[seen] < -0.1).any()
    assert (at_texel[seen] > 0.1).any()
    expected = facing * np.clip((at_texel - cosines[0]) / (cosines[1] - cosines[0]), 0, 1)
    np.testing.assert_allclose(grazing, expected, atol=1e-6 / (cosines[1] - cosines[0]))
    assert (grazing[at_texel < cosines[0] - 1e-6] == 0).all()


def test_an_occluder_hides_what_is_behind_it(device, ball):
    camera, surface = _view(device, ball)
    wall = np.array([[[0, -1, 0.2], [1, -1, 0.2], [0, 1, 0.2], [1, 1, 0.2]]], np.float32)
    count = ball.vertices.shape[0]
    both = device.send(np.concatenate([ball.vertices[None], wall], 1))
    triangles = device.send(
        np.concatenate([ball.triangles, np.array([[0, 1, 2], [1, 3, 2]], np.int32) + count])
    )
    zbuffer = depth_map(both, triangles, camera, 256, 256)
    image = device.send(np.ones((1, 256, 256, 3), np.float32))
    open_view = depth_map(surface.vertices, surface.triangles, camera, 256, 256)
    free = device.fetch(uv_projection(image, surface, camera, open_view).weight)[0]
    hidden = device.fetch(uv_projection(image, surface, camera, zbuffer).weight)[0]
    x = device.fetch(surface.texel_map.gather(surface.vertices, surface.triangles))[0, :, :, 0]
    assert (free[x > 0.01] > 0).any()
    assert (hidden[x > 0.01] == 0).all()
    np.testing.assert_array_equal(hidden[x < -0.01], free[x < -0.01])


def test_batch_is_the_photos_one_by_one(device, ball):
    rng = np.random.default_rng(1)
    camera, surface = _view(device, ball, batch=2)
    image = device.send(rng.integers(0, 256, (2, 256, 256, 3)).astype(np.uint8))
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 64, 64)
    both = uv_projection(image, surface, camera, zbuffer)
    for k in range(2):
        one = slice(k, k + 1)
        alone = uv_projection(
            image[one],
            replace(surface, vertices=surface.vertices[one], normals=surface.normals[one]),
            replace(camera, intrinsics=camera.intrinsics[one], head_to_camera=camera.head_to_camera[one]),
            zbuffer[one],
        )
        np.testing.assert_array_equal(device.fetch(both.colour)[k], device.fetch(alone.colour)[0])
        np.testing.assert_array_equal(device.fetch(both.weight)[k], device.fetch(alone.weight)[0])


def test_behind_the_camera_and_nan_are_unseen(device, ball):
    camera, surface = _view(device, ball)
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 64, 64)
    image = device.send(np.ones((1, 256, 256, 3), np.float32))
    for shift in (5.0, np.nan):
        moved = device.fetch(surface.vertices) + np.float32(shift)
        got = uv_projection(image, replace(surface, vertices=device.send(moved)), camera, zbuffer)
        assert (device.fetch(got.weight) == 0).all()
        assert (device.fetch(got.colour) == 0).all()


def test_boundary_says_what_is_wrong(ball):
    class Cpu:
        send = staticmethod(np.asarray)

    camera, surface = _view(Cpu, ball)
    zbuffer = np.ones((1, 8, 8), np.float32)
    with pytest.raises(ValueError, match="camera is of a 256 x 256 image, image is 4 x 4"):
        uv_projection(np.ones((1, 4, 4, 3), np.float32), surface, camera, zbuffer)
    image = np.ones((1, 256, 256, 3), np.float32)
    with pytest.raises(ValueError, match="1, 3 or 4 channels, got 2"):
        uv_projection(image[..., :2], surface, camera, zbuffer)
    with pytest.raises(ValueError, match="cosine_one must be"):
        uv_projection(
            image, surface, camera, zbuffer, weighting=ProjectionWeighting(cosine_zero=0.5, cosine_one=0.5)
        )


def _projected(device, ball, batch=2, channels=3, size=256):
    """A random image and what its projection returned, with gradients that span seven decades."""
    rng = np.random.default_rng(2)
    camera, surface = _view(device, ball, size=size, batch=batch)
    image = device.send(rng.random((batch, size, size, channels)).astype(np.float32))
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 64, 64)
    weight = uv_projection(image, surface, camera, zbuffer).weight
    grad = rng.normal(size=(*weight.shape, channels)) * 10.0 ** rng.integers(-4, 3, (*weight.shape, 1))
    return image, surface, camera, weight, device.send(grad.astype(np.float32))


@pytest.mark.parametrize(("batch", "channels"), [(1, 1), (2, 3), (1, 4)])
def test_gradients_match_reference(device, ball, batch, channels):
    _hold_to_reference(device, ball, *_projected(device, ball, batch, channels))


def test_gradients_at_the_border_of_the_image(device, ball):
    """An image of 5 × 5 pixels: many texels lie within half a pixel of its border, where slopes end."""
    image, surface, camera, _, grad = _projected(device, ball, 1, 3, size=5)
    close = device.fetch(camera.intrinsics).copy()
    close[:, :2, :2] *= 2
    camera = replace(camera, intrinsics=device.send(close))
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 64, 64)
    weighting = ProjectionWeighting(border=0.01)
    weight = uv_projection(image, surface, camera, zbuffer, weighting=weighting).weight
    _hold_to_reference(device, ball, image, surface, camera, weight, grad)


def _hold_to_reference(device, ball, image, surface, camera, weight, grad):
    """Texels and camera by their references; between them the transpose of the barycentric weights."""
    got = uv_projection_vjp(image, surface, camera, weight, grad)
    batch = len(weight)
    points = pinhole_points(surface.vertices, surface.normals, camera)
    triangle_id = device.fetch(surface.texel_map.triangle_id)
    barycentric = device.fetch(surface.texel_map.barycentric).astype(np.float64)
    for k in range(batch):
        seen = device.fetch(weight)[k] > 0
        assert seen.mean() > 0.05
        b0, b1 = barycentric[seen].T
        corners, shares = ball.triangles[triangle_id[seen]], np.stack([b0, b1, 1 - b0 - b1], 1)
        at_corners = device.fetch(points)[k].astype(np.float64)[corners]
        at = np.einsum("nk,nkc->nc", shares, at_corners)
        of_image, of_points = uv_projection_vjp_reference(
            device.fetch(image)[k].astype(np.float64), at, device.fetch(grad)[k][seen].astype(np.float64)
        )
        scale = np.abs(of_image).max()
        np.testing.assert_allclose(device.fetch(got.image)[k], of_image, rtol=1e-3, atol=1e-4 * scale)
        of_vertex_points = np.zeros((len(ball.vertices), 3))
        np.add.at(of_vertex_points, corners, shares[:, :, None] * of_points[:, None])
        intrinsics = device.fetch(camera.intrinsics)[k].astype(np.float64)
        extrinsics = device.fetch(camera.head_to_camera)[k].astype(np.float64)
        wanted = pinhole_points_vjp_reference(
            ball.vertices.astype(np.float64), intrinsics, extrinsics, of_vertex_points
        )
        for name, expected in zip(("vertices", "intrinsics", "head_to_camera"), wanted, strict=True):
            one = device.fetch(getattr(got, name))[k].astype(np.float64)
            # A texel within rounding of a pixel's border may take its slope from the other side: compare as
            # gradients are used, by direction and size.
            error = np.linalg.norm(one - expected) / np.linalg.norm(expected)
            assert error < 2e-3, (name, error)


def test_reference_gradients_are_finite_differences():
    rng = np.random.default_rng(3)
    image, grad = rng.random((5, 6, 2)), rng.normal(size=(9, 2))
    pixel = rng.uniform([0.1, 0.1], [5.9, 4.9], (9, 2))
    pixel[0] = [0.2, 2.7]  # clamped along x
    points = np.column_stack([pixel, np.ones(9)]) * rng.uniform(0.3, 1.5, (9, 1))
    of_image, of_points = uv_projection_vjp_reference(image, points, grad)
    assert of_points[0, 0] == 0

    def value(image, points):
        with_cosine = np.column_stack([points, np.ones(9)])
        colour, _ = uv_projection_reference(image, with_cosine, np.ones((2, 2)), ProjectionWeighting())
        return (colour * grad).sum()

    step = 1e-7
    for which, wanted in ((0, of_image), (1, of_points)):
        for at in np.ndindex(wanted.shape):
            values = []
            for sign in (1, -1):
                moved = [image.copy(), points.copy()]
                moved[which][at] += sign * step
                values.append(value(*moved))
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(wanted[at], rel=1e-5, abs=1e-6)


def test_gradient_says_which_way_the_ball_moved(device, ball):
    """A smooth picture, projected on the ball and then on the shifted ball: the gradient of the squared
    difference of the texels' colours points along the shift."""
    camera, surface = _view(device, ball, size=256)
    x = (np.arange(256) + 0.5) / 256
    image = device.send(
        np.stack(np.broadcast_arrays(x[None, :], x[:, None], 0.5), -1)[None].astype(np.float32)
    )
    zbuffer = depth_map(surface.vertices, surface.triangles, camera, 256, 256)
    before = uv_projection(image, surface, camera, zbuffer)
    shift = np.float32([0.004, -0.006, 0])
    moved = replace(surface, vertices=surface.vertices + device.send(shift))
    after = uv_projection(image, moved, camera, zbuffer)
    seen = ((before.weight > 0) & (after.weight > 0))[..., None]
    grad = 2 * (after.colour - before.colour) * seen
    got = uv_projection_vjp(image, moved, camera, after.weight, grad.astype(np.float32))
    of_shift = device.fetch(got.vertices)[0].sum(0)[:2]
    assert of_shift @ shift[:2] / np.linalg.norm(of_shift) / np.linalg.norm(shift) > 0.99


def test_gradients_depend_on_neither_threads_nor_the_rest_of_the_batch(device, ball):
    image, surface, camera, weight, grad = _projected(device, ball)
    once = uv_projection_vjp(image, surface, camera, weight, grad)
    set_cpu_threads(3)
    try:
        again = uv_projection_vjp(image, surface, camera, weight, grad)
    finally:
        set_cpu_threads(1)
    one = slice(1, 2)
    alone = uv_projection_vjp(
        image[one],
        replace(surface, vertices=surface.vertices[one], normals=surface.normals[one]),
        replace(camera, intrinsics=camera.intrinsics[one], head_to_camera=camera.head_to_camera[one]),
        weight[one],
        grad[one],
    )
    for name in ("image", "vertices", "intrinsics", "head_to_camera"):
        wanted = device.fetch(getattr(once, name))
        np.testing.assert_array_equal(device.fetch(getattr(again, name)), wanted)
        np.testing.assert_array_equal(device.fetch(getattr(alone, name))[0], wanted[1])


def test_hidden_texels_pass_nothing_on_and_nan_shows_in_its_own_photo(device, ball):
    image, surface, camera, weight, grad = _projected(device, ball)
    hidden = uv_projection_vjp(image, surface, camera, weight * 0, grad * np.float32(np.nan))
    assert (device.fetch(hidden.image) == 0).all()
    assert (device.fetch(hidden.vertices) == 0).all()
    bad = device.fetch(grad).copy()
    row, column = np.argwhere(device.fetch(weight)[1] > 0)[100]
    bad[1, row, column] = np.nan
    got = uv_projection_vjp(image, surface, camera, weight, device.send(bad))
    assert np.isfinite(device.fetch(got.image)[0]).all()
    assert np.isfinite(device.fetch(got.vertices)[0]).all()
    assert np.isnan(device.fetch(got.image)[1]).all()
    assert np.isnan(device.fetch(got.vertices)[1]).any(1).sum() == 3
    assert np.isnan(device.fetch(got.head_to_camera)[1]).any()


def test_weights_of_another_view_pass_nothing_on_behind_the_camera(device, ball):
    image, surface, camera, weight, grad = _projected(device, ball)
    for shift in (5.0, np.nan):
        behind = replace(surface, vertices=surface.vertices + np.float32(shift))
        got = uv_projection_vjp(image, behind, camera, weight, grad)
        assert (device.fetch(got.image) == 0).all()


def test_gradient_boundary_says_what_is_wrong(ball):
    class Cpu:
        send = staticmethod(np.asarray)

    image, surface, camera, weight, grad = _projected(Cpu, ball)
    with pytest.raises(ValueError, match=r"image must be float32 \[B, H, W, C\], got uint8"):
        uv_projection_vjp(image.astype(np.uint8), surface, camera, weight, grad)
    with pytest.raises(ValueError, match=r"weight must be float32 \[B, S, S\]"):
        uv_projection_vjp(image, surface, camera, weight[:, 1:], grad)
    with pytest.raises(ValueError, match=r"grad_colour must be float32 \[B, S, S, C\]"):
        uv_projection_vjp(image, surface, camera, weight, grad[..., :2])
    with pytest.raises(ValueError, match="uv_projection_vjp: camera is of a 8 x 256 image"):
        uv_projection_vjp(image, surface, replace(camera, image_height=8), weight, grad)
