"""The pinhole camera: clip coordinates, pixels, depth maps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from facewright_kernels import (
    PinholeCamera,
    depth_map,
    interpolate,
    pinhole_clip_positions,
    pinhole_clip_positions_vjp,
    pinhole_points,
    rasterize,
)
from facewright_kernels.pinhole import (
    pinhole_clip_positions_reference,
    pinhole_clip_positions_vjp_reference,
    pinhole_points_reference,
)


def make_camera(device, batch: int = 1, yaw: float = 0.2) -> PinholeCamera:
    intrinsics = np.tile(np.float32([[900, 2, 260], [0, 880, 250], [0, 0, 1]]), (batch, 1, 1))
    extrinsics = np.zeros((batch, 3, 4), np.float32)
    for k in range(batch):
        c, s = np.cos(yaw + k), np.sin(yaw + k)
        turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        tilt = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])  # else R would be its own transpose
        extrinsics[k, :, :3] = np.diag([1, -1, -1]) @ tilt @ turn
        extrinsics[k, :, 3] = [0.01, -0.02, 0.5 + 0.1 * k]
    return PinholeCamera(device.send(intrinsics), device.send(extrinsics), 512, 540)


def test_points_match_reference(device, ball):
    camera = make_camera(device, 2)
    vertices = np.stack([ball.vertices, ball.vertices * 0.5])
    normals = vertices * 3
    normals[0, 0] = 0
    got = device.fetch(pinhole_points(device.send(vertices), device.send(normals), camera))
    for k in range(2):
        expected = pinhole_points_reference(
            vertices[k].astype(np.float64),
            normals[k].astype(np.float64),
            device.fetch(camera.intrinsics)[k].astype(np.float64),
            device.fetch(camera.head_to_camera)[k].astype(np.float64),
        )
        np.testing.assert_allclose(got[k, :, :2], expected[:, :2], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(got[k, :, 2:], expected[:, 2:], atol=1e-5)
    assert got[0, 0, 3] == 0


def test_clip_positions_land_on_the_pixels_of_the_camera(device, ball):
    """Any resolution shows the same view, and NDC y = −1 is the top row."""
    camera = make_camera(device)
    points = device.send(ball.vertices[None])
    clip = device.fetch(pinhole_clip_positions(points, camera))[0]
    pixel = device.fetch(pinhole_points(points, points, camera))[0]
    np.testing.assert_allclose((clip[:, 0] / clip[:, 3] + 1) / 2 * 540, pixel[:, 0] / pixel[:, 2], atol=2e-3)
    np.testing.assert_allclose((clip[:, 1] / clip[:, 3] + 1) / 2 * 512, pixel[:, 1] / pixel[:, 2], atol=2e-3)
    np.testing.assert_allclose(clip[:, 3], pixel[:, 2], atol=1e-6)
    assert (np.abs(clip[:, 2]) < clip[:, 3]).all()


def test_depth_map_is_the_interpolated_depth_of_the_nearest_surface(device, ball):
    camera = make_camera(device)
    vertices, triangles = device.send(ball.vertices[None]), device.send(ball.triangles)
    got = device.fetch(depth_map(vertices, triangles, camera, 128, 135))[0]
    clip = pinhole_clip_positions(vertices, camera)
    raster = rasterize(clip, triangles, 128, 135)
    w = device.fetch(interpolate(clip, triangles, raster))[0, :, :, 3]
    seen = device.fetch(raster.triangle_id)[0] >= 0
    assert 0.05 < seen.mean() < 0.9
    assert np.isposinf(got[~seen]).all()
    # Vertices are snapped to 1/256 pixel, which moves depth where the ball is seen at a grazing angle.
    assert np.abs(got - w)[seen].max() < 1e-3
    assert np.median(np.abs(got - w)[seen]) < 5e-5


def test_front_of_the_ball_is_not_culled(device, ball):
    """Outward winding, the camera's frame and the rasteriser's idea of a front agree."""
    camera = make_camera(device)
    vertices, triangles = device.send(ball.vertices[None]), device.send(ball.triangles)
    clip = pinhole_clip_positions(vertices, camera)
    whole = rasterize(clip, triangles, 96, 96)
    culled = rasterize(clip, triangles, 96, 96, cull_back_faces=True)
    np.testing.assert_array_equal(device.fetch(whole.triangle_id), device.fetch(culled.triangle_id))


def test_one_mesh_seen_by_many_cameras(device, ball):
    camera = make_camera(device, 3)
    shared = device.fetch(pinhole_clip_positions(device.send(ball.vertices[None]), camera))
    repeated = device.fetch(pinhole_clip_positions(device.send(np.repeat(ball.vertices[None], 3, 0)), camera))
    np.testing.assert_array_equal(shared, repeated)


def test_boundary_says_what_is_wrong(ball):
    class Cpu:
        send = staticmethod(np.asarray)

    camera = make_camera(Cpu, 2)
    vertices = np.repeat(ball.vertices[None], 2, 0)
    with pytest.raises(ValueError, match=r"0 < near < far, got 1\.0 and 0\.5"):
        pinhole_clip_positions(vertices, replace(camera, near=1.0, far=0.5))
    with pytest.raises(ValueError, match="last row 0, 0, 1"):
        pinhole_clip_positions(vertices, replace(camera, intrinsics=camera.intrinsics * 2))
    with pytest.raises(ValueError, match="batch 1 or 2 like the camera, got 3"):
        pinhole_clip_positions(np.repeat(ball.vertices[None], 3, 0), camera)


def _camera_of(device, camera, k):
    return (
        device.fetch(camera.intrinsics)[k].astype(np.float64),
        device.fetch(camera.head_to_camera)[k].astype(np.float64),
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_clip_gradients_match_reference(device, ball, batch, shared):
    rng = np.random.default_rng(0)
    camera = make_camera(device, batch)
    vertices = np.repeat(ball.vertices[None], 1 if shared else batch, 0)
    vertices = vertices + rng.normal(0, 0.01, vertices.shape).astype(np.float32)
    grad = rng.normal(size=(batch, len(ball.vertices), 4)).astype(np.float32)
    got = pinhole_clip_positions_vjp(device.send(vertices), camera, device.send(grad))
    of_vertices = np.zeros(vertices.shape)
    for k in range(batch):
        at = 0 if shared else k
        wanted = pinhole_clip_positions_vjp_reference(
            vertices[at].astype(np.float64),
            camera,
            *_camera_of(device, camera, k),
            grad[k].astype(np.float64),
        )
        of_vertices[at] += wanted[0]
        np.testing.assert_allclose(device.fetch(got.intrinsics)[k], wanted[1], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(device.fetch(got.head_to_camera)[k], wanted[2], rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(device.fetch(got.vertices), of_vertices, rtol=1e-4, atol=1e-4)


def test_reference_gradients_are_finite_differences(ball):
    class Cpu:
        send = staticmethod(np.asarray)
        fetch = staticmethod(np.asarray)

    rng = np.random.default_rng(1)
    camera = make_camera(Cpu)
    given = [ball.vertices[:7].astype(np.float64), *_camera_of(Cpu, camera, 0)]
    grad = rng.normal(size=(7, 4))
    wanted = pinhole_clip_positions_vjp_reference(given[0], camera, given[1], given[2], grad)
    step = 1e-6
    for which, array in enumerate(given):
        for at in np.ndindex(array.shape):
            if which == 1 and at[0] == 2:
                continue  # the constant row
            values = []
            for sign in (1, -1):
                moved = [one.copy() for one in given]
                moved[which][at] += sign * step
                clip = pinhole_clip_positions_reference(moved[0], camera, moved[1], moved[2])
                values.append((clip * grad).sum())
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(
                wanted[which][at], rel=1e-6, abs=1e-6
            )
    clip = pinhole_clip_positions(ball.vertices[None], camera)[0]
    expected = pinhole_clip_positions_reference(ball.vertices.astype(np.float64), camera, given[1], given[2])
    np.testing.assert_allclose(clip, expected, atol=1e-5)


def test_gradients_of_nothing_and_nan(device):
    camera = make_camera(device, 2)
    nothing = pinhole_clip_positions_vjp(
        device.send(np.zeros((2, 0, 3), np.float32)), camera, device.send(np.zeros((2, 0, 4), np.float32))
    )
    assert nothing.vertices.shape == (2, 0, 3)
    assert (device.fetch(nothing.head_to_camera) == 0).all()
    grad = np.ones((2, 3, 4), np.float32)
    grad[1, 2] = np.nan
    vertices = device.send(np.ones((2, 3, 3), np.float32))
    got = pinhole_clip_positions_vjp(vertices, camera, device.send(grad))
    assert np.isnan(device.fetch(got.head_to_camera)).all((1, 2)).tolist() == [False, True]
    assert np.isnan(device.fetch(got.vertices)).all(2).tolist() == [[False] * 3, [False, False, True]]


def test_gradient_boundary_says_what_is_wrong(ball):
    class Cpu:
        send = staticmethod(np.asarray)

    camera = make_camera(Cpu, 2)
    vertices = np.repeat(ball.vertices[None], 2, 0)
    with pytest.raises(
        ValueError, match=r"pinhole_clip_positions_vjp: grad_clip must be float32 \[B, V, 4\]"
    ):
        pinhole_clip_positions_vjp(vertices, camera, vertices)
    with pytest.raises(ValueError, match="pinhole_clip_positions_vjp: vertices must have batch 1 or 2"):
        pinhole_clip_positions_vjp(np.repeat(ball.vertices[None], 3, 0), camera, vertices)
