"""The rasteriser against its float64 reference, its coverage rule, and broken meshes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import Delaunay

from facewright_kernels import Raster, rasterize, rasterize_vjp
from facewright_kernels._runtime.kernel_source import set_cpu_threads
from facewright_kernels.rasterize import (
    barycentric_depth_reference,
    rasterize_reference,
    rasterize_vjp_reference,
)


def _perspective(points: np.ndarray, near: float = 0.1, far: float = 5.0) -> np.ndarray:
    """Camera-space points to clip coordinates, 90° field of view."""
    z = points[:, 2]
    depth = (far + near) / (far - near) * z - 2 * far * near / (far - near)
    return np.stack([points[:, 0], points[:, 1], depth, z], 1).astype(np.float32)


def _soup(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Random triangles in front of, across and behind the camera."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform([-1, -1, -0.3], [1, 1, 3], (count, 1, 3))
    points = (centre + rng.normal(0, 0.4, (count, 3, 3))).reshape(-1, 3)
    return _perspective(points), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def _snapping_margin(clip: np.ndarray, triangle: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels from each pixel centre to the nearest edge line of a triangle (homogeneous, so also when
    clipped).
    """
    scale = np.array([width / 2, height / 2, 1.0])
    corner = clip[triangle].astype(np.float64)[:, [0, 1, 3]]
    corner[:, :2] += corner[:, 2:]
    corner *= scale
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    centre = np.stack([x, y, np.ones_like(x)], -1)
    nearest = np.full((height, width), np.inf)
    for k in range(3):
        line = np.cross(corner[k], corner[(k + 1) % 3])
        nearest = np.minimum(nearest, np.abs(centre @ line) / np.hypot(line[0], line[1]))
    return nearest


@pytest.mark.parametrize("seed", range(4))
def test_matches_reference(device, seed):
    clip, triangles = _soup(seed)
    height, width = 57, 90
    raster = rasterize(device.send(clip[None]), device.send(triangles), height, width)
    got = device.fetch(raster.triangle_id)[0]
    expected, barycentric, depth = rasterize_reference(clip.astype(np.float64), triangles, height, width)
    differing = np.argwhere(got != expected)
    assert len(differing) < 0.01 * got.size
    for row, column in differing:
        # Only where snapping to 1/256 pixel may decide, or depths are equal to rounding.
        involved = [t for t in (got[row, column], expected[row, column]) if t >= 0]
        edge = min(_snapping_margin(clip, triangles[t], height, width)[row, column] for t in involved)
        tie = abs(device.fetch(raster.depth)[0, row, column] - depth[row, column])
        assert edge < 1 / 64 or tie < 1e-5
    same = (got == expected) & (got >= 0)
    assert same.sum() > 500
    np.testing.assert_allclose(device.fetch(raster.barycentric)[0][same], barycentric[same], atol=2e-3)
    error = np.abs(device.fetch(raster.barycentric)[0][same] - barycentric[same])
    assert np.median(error) < 1e-6
    close = np.abs(device.fetch(raster.depth)[0] - depth)[same]
    assert np.median(close) < 5e-5  # the plane goes through the snapped corners


def test_shared_edges_are_covered_exactly_once(device):
    """A triangulated rectangle: every centre inside belongs to one triangle; drawn one by one they never
    overlap.
    """
    rng = np.random.default_rng(0)
    height = width = 48
    # Vertices on pixel centres and corners provoke ties.
    inner = rng.integers(0, 2 * 48, (120, 2)) / 2.0
    corners = np.array([[0, 0], [48, 0], [0, 48], [48, 48]])
    points = np.unique(np.concatenate([inner, corners]), axis=0)
    triangles = Delaunay(points).simplices.astype(np.int32)
    clip = np.zeros((1, len(points), 4), np.float32)
    clip[0, :, :2] = points / 24 - 1
    clip[0, :, 3] = 1
    whole = device.fetch(rasterize(device.send(clip), device.send(triangles), height, width).triangle_id)
    assert (whole >= 0).all()
    count = np.zeros((height, width), int)
    for triangle in triangles:
        alone = rasterize(device.send(clip), device.send(triangle[None]), height, width)
        count += device.fetch(alone.triangle_id)[0] >= 0
    assert (count == 1).all()


def test_near_plane_keeps_what_is_in_front(device):
    """A floor that runs from behind the camera to the horizon: every pixel below the horizon up to far is
    covered.
    """
    floor = np.array([[-90, 0.5, -9], [90, 0.5, -9], [0, 0.5, 400]])
    clip = _perspective(floor, near=0.01, far=500.0)[None]
    raster = rasterize(device.send(clip), device.send(np.array([[0, 1, 2]], np.int32)), 64, 64)
    seen = device.fetch(raster.triangle_id)[0] == 0
    row = np.arange(64) + 0.5
    depth_of_row = 0.5 / np.maximum(row * 2 / 64 - 1, 1e-9)  # y / z = 0.5 / z
    assert seen[depth_of_row < 60][:, 24:40].all()
    assert not seen[:32].any()
    barycentric = device.fetch(raster.barycentric)[0]
    z = -9 * (barycentric.sum(-1)) + 400 * (1 - barycentric.sum(-1))
    rows = np.nonzero(depth_of_row < 20)[0]
    np.testing.assert_allclose(z[rows, 32], depth_of_row[rows], rtol=2e-3)


def test_beyond_the_guard_band_nothing_overflows(device):
    clip = np.array([[[-1e8, -1e8, 0, 1], [1e8, -1e8, 0, 1], [0, 1e8, 0, 1]]], np.float32)
    raster = rasterize(device.send(clip), device.send(np.array([[0, 1, 2]], np.int32)), 40, 30)
    assert (device.fetch(raster.triangle_id) == 0).all()
    assert np.isfinite(device.fetch(raster.barycentric)).all()


def test_nearest_wins_and_equal_depths_go_to_the_lower_number(device):
    quad = [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    clip = np.array([[[x, y, z, 1] for z in (0.5, -0.5, -0.5) for x, y in quad]], np.float32)
    triangles = np.array(
        [[q * 4 + k for k in half] for q in range(3) for half in ((0, 1, 2), (1, 3, 2))], np.int32
    )
    for order in (np.arange(6), np.arange(6)[::-1]):
        raster = rasterize(device.send(clip), device.send(np.ascontiguousarray(triangles[order])), 16, 16)
        won = order[device.fetch(raster.triangle_id)[0]]
        wanted = {2, 3} if order[0] == 0 else {4, 5}
        assert set(np.unique(won)) == wanted
        np.testing.assert_allclose(device.fetch(raster.depth), -0.5, atol=1e-6)


def test_culling_follows_the_winding(device):
    # Counter-clockwise for a viewer whose image has y down: right, then up.
    clip = np.array([[[-1, 1, 0, 1], [1, 1, 0, 1], [-1, -1, 0, 1]]], np.float32)
    front = np.array([[0, 1, 2]], np.int32)
    for triangles, kept in ((front, True), (front[:, ::-1].copy(), False)):
        raster = rasterize(device.send(clip), device.send(triangles), 8, 8, cull_back_faces=True)
        assert (device.fetch(raster.triangle_id) == 0).any() == kept


def test_broken_triangles_are_not_drawn(device):
    clip = np.tile(np.float32([[[-1, -1, 0, 1], [1, -1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]]]), (5, 1, 1))
    clip[0, 0, 0] = np.nan
    clip[1, 1, 3] = np.inf
    clip[2, 2] = clip[2, 1]  # no area
    clip[3, :, 3] = -1  # behind the camera
    clip[4, :, 0] += 5  # off the screen
    raster = rasterize(device.send(clip), device.send(np.array([[0, 1, 2]], np.int32)), 16, 16)
    assert (device.fetch(raster.triangle_id) == -1).all()
    assert (device.fetch(raster.depth) == 1).all()
    assert (device.fetch(raster.barycentric) == 0).all()


def test_empty_mesh_and_empty_batch(device):
    empty = np.zeros((0, 3), np.int32)
    raster = rasterize(device.send(np.zeros((2, 3, 4), np.float32)), device.send(empty), 4, 5)
    assert (device.fetch(raster.triangle_id) == -1).all()
    assert device.fetch(raster.triangle_id).shape == (2, 4, 5)
    raster = rasterize(device.send(np.zeros((0, 3, 4), np.float32)), device.send(empty), 4, 5)
    assert device.fetch(raster.depth).shape == (0, 4, 5)


def test_batch_is_the_images_one_by_one(device):
    soups = [_soup(seed) for seed in range(3)]
    clip, triangles = np.stack([soup[0] for soup in soups]), soups[0][1]
    batch = rasterize(device.send(clip), device.send(triangles), 33, 47)
    for k in range(3):
        alone = rasterize(device.send(clip[k : k + 1]), device.send(triangles), 33, 47)
        for name in ("triangle_id", "barycentric", "depth"):
            np.testing.assert_array_equal(
                device.fetch(getattr(batch, name))[k], device.fetch(getattr(alone, name))[0]
            )


def test_threads_do_not_change_a_bit():
    clip, triangles = _soup(7, count=400)
    one = rasterize(clip[None], triangles, 200, 150)
    try:
        set_cpu_threads(3)
        three = rasterize(clip[None], triangles, 200, 150)
    finally:
        set_cpu_threads(1)
    for name in ("triangle_id", "barycentric", "depth"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_boundary_says_what_is_wrong():
    clip, triangles = np.zeros((1, 3, 4), np.float32), np.array([[0, 1, 2]], np.int32)
    with pytest.raises(ValueError, match=r"clip_positions must be float32 \[B, V, 4\].*got float64"):
        rasterize(clip.astype(np.float64), triangles, 4, 4)
    with pytest.raises(ValueError, match=r"clip_positions must be float32 \[B, V, 4\].*\[3, 4\]"):
        rasterize(clip[0], triangles, 4, 4)
    with pytest.raises(ValueError, match="triangles must hold indices 0 to 2, holds 3"):
        rasterize(clip, triangles + 1, 4, 4)
    with pytest.raises(ValueError, match="holds -1"):
        rasterize(clip, triangles - 1, 4, 4)
    with pytest.raises(ValueError, match="height must be 1 to 16384, got 0"):
        rasterize(clip, triangles, 0, 4)
    with pytest.raises(ValueError, match="got list"):
        rasterize([[0]], triangles, 4, 4)


def _gradients_at_pixels(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*shape, 2)).astype(np.float32), rng.normal(size=shape).astype(np.float32)


def _well_shaped(seed: int, batch: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Clip positions ``[B, 60, 4]`` of large triangles, some across the near plane, none a sliver."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, (batch, 20, 1)) + np.arange(3) * 2 * np.pi / 3
    disc = np.stack([np.cos(angle), np.sin(angle), rng.uniform(-0.9, 0.9, angle.shape)], -1)
    centre = rng.uniform([-1, -1, 0.3], [1, 1, 2], (batch, 20, 1, 3))
    points = (centre + 0.6 * disc).reshape(batch, -1, 3)
    return np.stack([_perspective(p) for p in points]), np.arange(60, dtype=np.int32).reshape(-1, 3)


@pytest.mark.parametrize("with_depth", [True, False])
def test_vjp_matches_reference(device, with_depth):
    clip, triangles = _well_shaped(0, batch=2)
    assert (clip[..., 3] < 0.1).any()  # some cross the near plane
    height, width = 45, 70
    raster = rasterize(device.send(clip), device.send(triangles), height, width)
    grad_barycentric, grad_depth = _gradients_at_pixels(1, (2, height, width))
    got = device.fetch(
        rasterize_vjp(
            device.send(clip),
            device.send(triangles),
            raster,
            device.send(grad_barycentric),
            device.send(grad_depth) if with_depth else None,
        )
    )
    for k in range(2):
        expected = rasterize_vjp_reference(
            clip[k].astype(np.float64),
            triangles,
            device.fetch(raster.triangle_id)[k],
            grad_barycentric[k].astype(np.float64),
            grad_depth[k].astype(np.float64) * with_depth,
        )
        scale = np.abs(expected).max(1, keepdims=True)
        assert (scale > 0).sum() > 30
        assert (np.abs(got[k] - expected) <= 1e-3 * scale + 1e-6).all()
        assert np.linalg.norm(got[k] - expected) < 1e-4 * np.linalg.norm(expected)


def test_vjp_reference_against_finite_differences():
    clip, triangles = _well_shaped(2)
    raster = rasterize(clip, triangles, 24, 31)
    ids, clip64 = raster.triangle_id[0], clip[0].astype(np.float64)
    grad_barycentric, grad_depth = (g[0].astype(np.float64) for g in _gradients_at_pixels(3, (1, 24, 31)))
    got = rasterize_vjp_reference(clip64, triangles, ids, grad_barycentric, grad_depth)

    def loss(positions: np.ndarray) -> float:
        barycentric, depth = barycentric_depth_reference(positions, triangles, ids)
        return float((barycentric * grad_barycentric).sum() + (depth * grad_depth).sum())

    step = 1e-6
    seen = np.unique(triangles[np.unique(ids[ids >= 0])])
    assert len(seen) > 20
    for vertex in seen:
        for axis in range(4):
            move = np.zeros_like(clip64)
            move[vertex, axis] = step
            slope = (loss(clip64 + move) - loss(clip64 - move)) / (2 * step)
            assert slope == pytest.approx(got[vertex, axis], rel=1e-4, abs=1e-4 * np.abs(got[vertex]).max())


def test_what_the_vjp_differentiates_is_what_the_rasteriser_gives(device):
    clip, triangles = _well_shaped(4)
    raster = rasterize(device.send(clip), device.send(triangles), 40, 40)
    ids = device.fetch(raster.triangle_id)[0]
    barycentric, depth = barycentric_depth_reference(clip[0].astype(np.float64), triangles, ids)
    # Snapping holds barycentrics within 0 to 1 and moves depths by less than 1/256 pixel of slope.
    error = np.abs(device.fetch(raster.barycentric)[0] - np.clip(barycentric, 0, 1))
    assert np.quantile(error, 0.99) < 1e-5
    assert np.abs(device.fetch(raster.depth)[0] - depth).max() < 0.02


def test_vjp_of_a_batch_is_the_images_one_by_one(device):
    clip, triangles = _well_shaped(5, batch=3)
    grads = _gradients_at_pixels(6, (3, 20, 41))

    def gradients(images: slice) -> np.ndarray:
        sent = device.send(clip[images])
        raster = rasterize(sent, device.send(triangles), 20, 41)
        at_pixels = (device.send(grad[images]) for grad in grads)
        return device.fetch(rasterize_vjp(sent, device.send(triangles), raster, *at_pixels))

    batch = gradients(slice(None))
    for k in range(3):
        np.testing.assert_array_equal(batch[k], gradients(slice(k, k + 1))[0])


def test_vjp_threads_do_not_change_a_bit():
    clip, triangles = _soup(7, count=400)
    raster = rasterize(clip[None], triangles, 200, 150)
    grads = _gradients_at_pixels(8, (1, 200, 150))
    one = rasterize_vjp(clip[None], triangles, raster, *grads)
    try:
        set_cpu_threads(3)
        three = rasterize_vjp(clip[None], triangles, raster, *grads)
    finally:
        set_cpu_threads(1)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, three)


def test_vjp_of_broken_triangles_is_zero_and_nan_stays_where_it_is(device):
    """A triangle without area that a raster names all the same, one that is missing, and a NaN gradient."""
    clip = np.float32(
        [[[-1, -1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1], [-1, 1, 0, 1], [1, -1, 0, 1], [0, 0, 0, 1]]]
    )
    triangles = np.array([[0, 1, 2], [3, 4, 1], [3, 5, 4]], np.int32)
    barycentric = np.full((1, 1, 4, 2), 1 / 3, np.float32)
    raster = Raster(
        device.send(np.array([[[0, 9, -1, -5]]], np.int32)),
        device.send(barycentric),
        device.send(np.zeros((1, 1, 4), np.float32)),
    )
    sent = device.send(clip), device.send(triangles)
    assert not device.fetch(rasterize_vjp(*sent, raster, device.send(np.ones_like(barycentric)))).any()
    large = np.float32([[[-1, -1, 0, 1], [1, -1, 0, 1], [0, 1, 0, 1], [5, 5, 0, 1]]])
    sent = device.send(large), device.send(np.array([[0, 1, 2]], np.int32))
    raster = rasterize(*sent, 8, 8)
    grad = np.ones((1, 8, 8, 2), np.float32)
    grad[0, 4, 4, 0] = np.nan
    got = device.fetch(rasterize_vjp(*sent, raster, device.send(grad)))
    assert np.isnan(got[0, :3]).all()
    assert (got[0, 3] == 0).all()


def test_vjp_of_an_empty_mesh_and_of_nothing_is_zero(device):
    empty = device.send(np.zeros((0, 3), np.int32))
    for batch in (0, 2):
        clip = device.send(np.zeros((batch, 3, 4), np.float32))
        raster = rasterize(clip, empty, 4, 5)
        grad = device.send(np.ones((batch, 4, 5, 2), np.float32))
        got = device.fetch(rasterize_vjp(clip, empty, raster, grad))
        assert got.shape == (batch, 3, 4)
        assert not got.any()


def test_vjp_boundary_says_what_is_wrong():
    clip, triangles = np.zeros((1, 3, 4), np.float32), np.array([[0, 1, 2]], np.int32)
    raster = rasterize(clip, triangles, 4, 5)
    grad = np.zeros((1, 4, 5, 2), np.float32)
    with pytest.raises(ValueError, match=r"grad_barycentric must be float32 \[B, H, W, 2\].*\[1, 4, 4, 2\]"):
        rasterize_vjp(clip, triangles, raster, grad[:, :, :4])
    with pytest.raises(ValueError, match=r"grad_depth must be float32 \[B, H, W\]"):
        rasterize_vjp(clip, triangles, raster, grad, grad)
    with pytest.raises(ValueError, match="rasterize_vjp: triangles must hold indices 0 to 2"):
        rasterize_vjp(clip, triangles + 1, raster, grad)
