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
)
from facewright_kernels.uv_projection import uv_projection_reference

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
