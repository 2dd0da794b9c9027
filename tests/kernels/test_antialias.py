"""Antialiasing against its float64 reference, exact coverage, finite differences, and broken meshes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facewright_kernels import (
    Raster,
    antialias,
    antialias_vjp,
    interpolate,
    interpolate_vjp,
    make_edge_topology,
    rasterize,
    rasterize_vjp,
)
from facewright_kernels._runtime.kernel_source import set_cpu_threads
from facewright_kernels.antialias import (
    antialias_reference,
    antialias_vjp_reference,
    silhouette_crossings_reference,
)


def _turned_ball(ball, seed: int, batch: int = 1) -> np.ndarray:
    """Clip positions ``[B, V, 4]`` of the ball, bumpy and differently turned in each image."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(batch):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        points = ball.vertices.astype(np.float64) * 7 * rng.uniform(0.6, 1.1, (len(ball.vertices), 1)) @ turn
        z = points[:, 2] + 2.2
        images.append(np.stack([1.5 * points[:, 0], 1.5 * points[:, 1], 1.2 * z - 1, z], 1))
    return np.array(images, np.float32)


def _colours(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _fetched(device, raster: Raster, image: int) -> Raster:
    return Raster(
        *(
            device.fetch(getattr(raster, name))[image : image + 1]
            for name in ("triangle_id", "barycentric", "depth")
        )
    )


def _square(left: float, right: float, top: float, bottom: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles that cover a rectangle given in pixels."""
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]]) * 2 / size - 1
    clip = np.concatenate([corners, np.zeros((4, 1)), np.ones((4, 1))], 1)
    return clip[None].astype(np.float32), np.array([[0, 2, 1], [1, 2, 3]], np.int32)


def test_edges_know_their_triangles(device):
    triangles = np.array([[0, 1, 2], [2, 1, 3], [1, 2, 4], [5, 6, 7]], np.int32)
    topology = make_edge_topology(device.send(triangles))
    edge, offsets, half_edges = (
        device.fetch(array) for array in (topology.edge, topology.offsets, topology.half_edges)
    )
    assert len(offsets) == 11  # ten edges
    for row, corners in enumerate(triangles):
        for k in range(3):
            ends = {corners[k], corners[(k + 1) % 3]}
            expected = [number for number, other in enumerate(triangles.tolist()) if ends <= set(other)]
            e = edge[row, k]
            along = half_edges[offsets[e] : offsets[e + 1]]
            assert sorted(along // 3) == expected
            for half_edge in along:
                t, j = divmod(half_edge, 3)
                assert {triangles[t, j], triangles[t, (j + 1) % 3]} == ends


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("channels", "reach"), [(1, 1), (3, 32), (5, 3)])
def test_matches_reference(device, ball, seed, channels, reach):
    clip = _turned_ball(ball, seed, batch=2)
    height, width = 40, 53
    triangles = device.send(ball.triangles)
    raster = rasterize(device.send(clip), triangles, height, width)
    image, grad = (_colours(s, 2, height, width, channels) for s in (seed, seed + 10))
    sent = device.send(image), raster, device.send(clip), triangles
    topology = make_edge_topology(triangles, reach=reach)
    got = device.fetch(antialias(*sent, topology))
    gradients = antialias_vjp(*sent, device.send(grad), topology)
    for k in range(2):
        wanted = (
            image[k].astype(np.float64),
            _fetched(device, raster, k),
            clip[k].astype(np.float64),
            ball.triangles,
        )
        expected = antialias_reference(*wanted, reach)
        changed = np.abs(expected - image[k]).max(-1) > 0
        assert changed.sum() > 50
        np.testing.assert_allclose(got[k], expected, atol=1e-4)
        to_image, to_clip = antialias_vjp_reference(*wanted, grad[k].astype(np.float64), reach)
        np.testing.assert_allclose(device.fetch(gradients.image)[k], to_image, atol=1e-4)
        error = np.abs(device.fetch(gradients.clip_positions)[k] - to_clip)
        assert (error <= 1e-3 * np.abs(to_clip).max()).all()
        assert np.linalg.norm(error) < 1e-4 * np.linalg.norm(to_clip)


@pytest.mark.parametrize("seed", range(2))
def test_vjp_reference_against_finite_differences(ball, seed):
    clip = _turned_ball(ball, seed)
    raster = rasterize(clip, ball.triangles, 30, 37)
    clip64, image, grad = clip[0].astype(np.float64), *np.random.default_rng(3).normal(size=(2, 30, 37, 3))
    to_image, to_clip = antialias_vjp_reference(image, raster, clip64, ball.triangles, grad)
    move = np.random.default_rng(4).normal(size=image.shape)
    slope = (antialias_reference(image + move, raster, clip64, ball.triangles) * grad).sum() - (
        antialias_reference(image - move, raster, clip64, ball.triangles) * grad
    ).sum()
    assert slope / 2 == pytest.approx((to_image * move).sum(), rel=1e-9)  # linear in the image
    on_outline = np.argsort(-np.abs(to_clip).sum(1))[:8]
    assert (np.abs(to_clip[on_outline]).sum(1) > 0).all()
    step = 1e-7
    for vertex in on_outline:
        for axis in range(4):
            moved = np.zeros_like(clip64)
            moved[vertex, axis] = step
            slope = (
                (antialias_reference(image, raster, clip64 + moved, ball.triangles) * grad).sum()
                - (antialias_reference(image, raster, clip64 - moved, ball.triangles) * grad).sum()
            ) / (2 * step)
            scale = np.abs(to_clip[vertex]).max()
            assert slope == pytest.approx(to_clip[vertex, axis], rel=1e-5, abs=1e-5 * scale)


@pytest.mark.parametrize("shift", np.linspace(0.02, 0.98, 7))
def test_area_of_an_upright_square_is_exact(device, shift):
    """The sum of a row is the square's width, wherever its edges lie between pixel centres."""
    left, right = 4 + shift, 11.3 + 1.5 * shift
    clip, triangles = _square(left, right, 3.5, 12.5, 16)
    sent = device.send(clip), device.send(triangles)
    raster = rasterize(*sent, 16, 16)
    image = (device.fetch(raster.triangle_id) >= 0)[..., None].astype(np.float32)
    smooth = device.fetch(antialias(device.send(image), raster, *sent))
    np.testing.assert_allclose(smooth[0, 6, :, 0].sum(), right - left, atol=1e-4)
    assert np.abs(image[0, 6, :, 0].sum() - (right - left)) > 1e-3


def test_gradient_of_an_area_is_the_length_of_its_edges(device):
    """Growing a square to the right by a pixel adds a pixel to each of its rows."""
    size = 32
    clip, triangles = _square(5.3, 20.2, 6.5, 26.5, size)
    sent = device.send(clip), device.send(triangles)
    raster = rasterize(*sent, size, size)
    image = (device.fetch(raster.triangle_id) >= 0)[..., None].astype(np.float32)
    grad = device.send(np.ones_like(image))
    got = device.fetch(antialias_vjp(device.send(image), raster, *sent, grad).clip_positions)[0] * 2 / size
    # At a corner the pixel may see the triangle whose edges are not the outline there: one row or column.
    assert got[[1, 3], 0].sum() == pytest.approx(20, abs=1.01)  # right edge, 20 rows
    assert got[[0, 2], 0].sum() == pytest.approx(-20, abs=1.01)
    assert got[[2, 3], 1].sum() == pytest.approx(15, abs=1.01)  # bottom edge, 15 columns
    assert got[[0, 1], 1].sum() == pytest.approx(-15, abs=1.01)
    assert (got[:, 2] == 0).all()


def test_gradients_along_a_path_add_up_to_the_change_of_a_loss(device, ball):
    """The ball moves three pixels over a picture: its outline sweeps over pixel centres, its texture moves.
    What the gradients of all kernels say on the way is what the loss has changed in the end. Without the
    antialiasing's gradient less than half of it would be.
    """
    size = 48
    triangles = device.send(ball.triangles)
    topology = make_edge_topology(triangles, reach=32)
    colour = device.send(_colours(0, 1, len(ball.vertices), 3))
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    target = device.send(np.stack([np.sin(5 * x), np.cos(4 * y), x * y], -1)[None])

    def loss_and_slope(shift: float, *, smooth: bool) -> tuple[float, float]:
        points = ball.vertices.astype(np.float64) * 7
        w = points[:, 2] + 2.2
        per_pixel = 2 * w / size
        clip = np.stack([1.5 * points[:, 0] + shift * per_pixel, 1.5 * points[:, 1], 1.2 * w - 1, w], 1)
        mesh = device.send(clip[None].astype(np.float32)), triangles
        raster = rasterize(*mesh, size, size)
        plain = interpolate(colour, triangles, raster)
        image = antialias(plain, raster, *mesh, topology) if smooth else plain
        to_image = 2 * (image - target)
        slope = 0.0
        if smooth:
            gradients = antialias_vjp(plain, raster, *mesh, to_image, topology)
            to_image = gradients.image
            slope = float((device.fetch(gradients.clip_positions)[0, :, 0] * per_pixel).sum())
        to_barycentric = interpolate_vjp(colour, triangles, raster, to_image).barycentric
        to_clip = device.fetch(rasterize_vjp(*mesh, raster, to_barycentric))
        difference = device.fetch(image - target).astype(np.float64)
        return float((difference**2).sum()), slope + float((to_clip[0, :, 0] * per_pixel).sum())

    shifts = np.linspace(0, 3, 61)
    for smooth in (True, False):
        loss, slope = np.array([loss_and_slope(shift, smooth=smooth) for shift in shifts]).T
        told = ((slope[1:] + slope[:-1]) / 2 * np.diff(shifts)).sum()
        change = loss[-1] - loss[0]
        assert abs(change) > 50
        assert (abs(told - change) < 0.08 * abs(change)) == smooth


def test_interior_edges_are_left_alone(device):
    """Neighbouring triangles of one surface keep their colours; only its outline is blended."""
    clip, triangles = _square(2.4, 13.7, 2.4, 13.7, 16)
    sent = device.send(clip), device.send(triangles)
    raster = rasterize(*sent, 16, 16)
    ids = device.fetch(raster.triangle_id)
    image = (ids[..., None] * 10 + 20).astype(np.float32)
    smooth = device.fetch(antialias(device.send(image), raster, *sent))
    np.testing.assert_array_equal(smooth[0, 4:12, 4:12], image[0, 4:12, 4:12])
    assert len(np.unique(ids[0, 4:12, 4:12])) == 2
    assert (smooth != image).any()


def test_nearer_surface_is_blended_over_the_farther_one(device):
    """A square in front of a plane: its outline moves, the plane behind has no outline in the picture."""
    near, triangles = _square(4.25, 11.75, 4.25, 11.75, 16)
    far, _ = _square(-20, 40, -20, 40, 16)
    near[..., 2], far[..., 2] = -0.5, 0.5
    clip = np.concatenate([near, far], 1)
    sent = device.send(clip), device.send(np.concatenate([triangles, triangles + 4]))
    raster = rasterize(*sent, 16, 16)
    ids = device.fetch(raster.triangle_id)
    image = np.isin(ids, [0, 1])[..., None].astype(np.float32)
    smooth = antialias(device.send(image), raster, *sent)
    np.testing.assert_allclose(device.fetch(smooth)[0, 8].sum(), 7.5, atol=1e-4)
    grad = device.send(np.ones_like(image))
    to_clip = device.fetch(antialias_vjp(device.send(image), raster, *sent, grad).clip_positions)
    assert to_clip[0, :4].any()
    assert not to_clip[0, 4:].any()


def test_outline_of_a_floor_that_runs_behind_the_eye(device):
    """Its border is blended, though one end of the edge lies behind the camera."""
    floor = np.array([[-0.3, 0.5, -3], [-0.3, 0.5, 30], [9, 0.5, 30], [9, 0.5, -3]])
    z = floor[:, 2]
    clip = np.stack([floor[:, 0], floor[:, 1], (z - 0.02) / 1.001, z], 1)[None].astype(np.float32)
    sent = device.send(clip), device.send(np.array([[0, 2, 1], [0, 3, 2]], np.int32))
    raster = rasterize(*sent, 64, 64)
    ids = device.fetch(raster.triangle_id)
    image = (ids >= 0)[..., None].astype(np.float32)
    smooth = device.fetch(antialias(device.send(image), raster, *sent))[0, :, :, 0]
    # Along a row the left border is at x / w = -0.3 / z, where y / w = 0.5 / z.
    for row in range(36, 64):
        border = (-0.6 * ((row + 0.5) / 32 - 1) + 1) * 32
        assert smooth[row, :40].sum() == pytest.approx(40 - border, abs=1e-3)
    assert ((smooth > 0.01) & (smooth < 0.99)).sum() > 20
    grad = device.send(np.ones_like(image))
    to_clip = device.fetch(antialias_vjp(device.send(image), raster, *sent, grad).clip_positions)[0]
    assert to_clip[0].any()  # the end behind the camera, too
    assert np.isfinite(to_clip).all()


def test_more_reach_finds_outlines_behind_triangles_that_no_centre_sees(device, ball):
    clip = _turned_ball(ball, 8)
    sent = device.send(clip), device.send(ball.triangles)
    raster = rasterize(*sent, 40, 40)
    image = (device.fetch(raster.triangle_id) >= 0)[..., None].astype(np.float32)
    blended = []
    for reach in (1, 2, 64):
        topology = make_edge_topology(sent[1], reach=reach)
        smooth = device.fetch(antialias(device.send(image), raster, *sent, topology))
        blended.append(int((smooth != image).sum()))
    assert blended[0] < blended[1] < blended[2]
    assert blended[2] > 1.3 * blended[0]


def test_crossings_change_one_pixel_each_and_never_an_interior_one(ball):
    clip = _turned_ball(ball, 5)
    raster = rasterize(clip, ball.triangles, 48, 48)
    found = silhouette_crossings_reference(raster, clip[0].astype(np.float64), ball.triangles)
    image = _colours(1, 1, 48, 48, 1)
    changed = antialias(image, raster, clip, ball.triangles)[0, :, :, 0] != image[0, :, :, 0]
    either = np.zeros((48, 48), bool)
    either[tuple(found.near.T)] = True
    either[tuple(found.other.T)] = True
    assert changed.any()
    assert not (changed & ~either).any()


def test_batch_is_the_images_one_by_one(device, ball):
    clip = _turned_ball(ball, 6, batch=3)
    triangles = device.send(ball.triangles)
    image, grad = _colours(0, 3, 25, 40, 3), _colours(1, 3, 25, 40, 3)

    def run(images: slice) -> list[np.ndarray]:
        sent = device.send(clip[images])
        raster = rasterize(sent, triangles, 25, 40)
        call = device.send(image[images]), raster, sent, triangles
        gradients = antialias_vjp(*call, device.send(grad[images]))
        arrays = antialias(*call), gradients.image, gradients.clip_positions
        return [device.fetch(array) for array in arrays]

    batch = run(slice(None))
    for k in range(3):
        for whole, alone in zip(batch, run(slice(k, k + 1)), strict=True):
            np.testing.assert_array_equal(whole[k], alone[0])


def test_threads_do_not_change_a_bit(ball):
    clip = _turned_ball(ball, 7)
    raster = rasterize(clip, ball.triangles, 90, 80)
    call = _colours(0, 1, 90, 80, 3), raster, clip, ball.triangles

    def run() -> list[np.ndarray]:
        gradients = antialias_vjp(*call, _colours(1, 1, 90, 80, 3))
        return [antialias(*call), gradients.image, gradients.clip_positions]

    one = run()
    try:
        set_cpu_threads(3)
        three = run()
    finally:
        set_cpu_threads(1)
    for first, second in zip(one, three, strict=True):
        np.testing.assert_array_equal(first, second)


def test_broken_meshes_leave_the_image_alone(device):
    """NaN, off-screen, behind the camera, without area; and a raster with triangles that do not exist."""
    good, triangles = _square(3, 9, 3, 9, 12)
    raster = rasterize(device.send(good), device.send(triangles), 12, 12)
    clip = np.tile(good, (4, 1, 1))
    clip[0, :, 0] = np.nan
    clip[1, :, 0] += 9
    clip[2, :, 3] = -1
    clip[3, 1:] = clip[3, 0]
    image = device.send(_colours(0, 1, 12, 12, 2))
    for row in range(4):
        sent = device.send(clip[row : row + 1]), device.send(triangles)
        np.testing.assert_array_equal(
            device.fetch(antialias(image, raster, *sent)), device.fetch(image), err_msg=str(row)
        )
        assert not device.fetch(antialias_vjp(image, raster, *sent, image).clip_positions).any()
    unknown = Raster(raster.triangle_id + 70, raster.barycentric, raster.depth)
    sent = device.send(good), device.send(triangles)
    np.testing.assert_array_equal(device.fetch(antialias(image, unknown, *sent)), device.fetch(image))


def test_nan_colours_reach_only_their_neighbours_and_their_silhouettes(device):
    clip, triangles = _square(3.2, 9.2, 3.2, 9.2, 12)
    sent = device.send(clip), device.send(triangles)
    raster = rasterize(*sent, 12, 12)
    image = _colours(0, 1, 12, 12, 1)
    image[0, 5, 2] = np.nan  # left of the square
    got = device.fetch(antialias(device.send(image), raster, *sent))[0, :, :, 0]
    assert np.isnan(got[5, 2])
    assert np.isnan(got).sum() <= 2
    grad = device.send(np.ones_like(image))
    to_clip = device.fetch(antialias_vjp(device.send(image), raster, *sent, grad).clip_positions)[0]
    assert np.isnan(to_clip[[0, 2]]).all()  # the left edge
    assert np.isfinite(to_clip[[1, 3]]).all()


def test_empty_mesh_and_empty_batch(device):
    empty = device.send(np.zeros((0, 3), np.int32))
    for batch in (0, 2):
        clip = device.send(np.zeros((batch, 3, 4), np.float32))
        raster = rasterize(clip, empty, 4, 5)
        image = device.send(_colours(0, batch, 4, 5, 3))
        np.testing.assert_array_equal(
            device.fetch(antialias(image, raster, clip, empty)), device.fetch(image)
        )
        gradients = antialias_vjp(image, raster, clip, empty, image)
        np.testing.assert_array_equal(device.fetch(gradients.image), device.fetch(image))
        assert not device.fetch(gradients.clip_positions).any()


def test_boundary_says_what_is_wrong():
    clip, triangles = _square(3, 9, 3, 9, 12)
    raster = rasterize(clip, triangles, 12, 12)
    image = np.zeros((1, 12, 12, 3), np.float32)
    with pytest.raises(ValueError, match=r"antialias: image must be float32 \[B, H, W, C\], got float64"):
        antialias(image.astype(np.float64), raster, clip, triangles)
    with pytest.raises(ValueError, match=r"raster.triangle_id must be int32 \[B, H, W\] with B = 1, H = 11"):
        antialias(image[:, :11], raster, clip, triangles)
    with pytest.raises(ValueError, match="antialias: triangles must hold indices 0 to 3, holds 4"):
        antialias(image, raster, clip, triangles + 1)
    with pytest.raises(ValueError, match=r"antialias_vjp: grad must be float32 .*\[1, 12, 12, 1\]"):
        antialias_vjp(image, raster, clip, triangles, image[..., :1])
    other = make_edge_topology(np.array([[0, 1, 2]], np.int32))
    with pytest.raises(ValueError, match=r"topology.edge must be int32 \[F, 3\] with .*F = 2"):
        antialias(image, raster, clip, triangles, other)
    edges = make_edge_topology(triangles)
    for name, replaced, complaint in (
        ("offsets", edges.offsets[::-1].copy(), r"topology\.offsets must not fall"),
        ("offsets", edges.offsets + 1, r"topology\.offsets must hold indices 0 to 6, holds 7"),
        ("offsets", edges.offsets[:0], r"topology\.offsets must not be empty"),
        ("half_edges", edges.half_edges + 1, r"topology\.half_edges must hold indices 0 to 5, holds 6"),
        ("reach", 0, r"topology\.reach must be 1 to 64, got 0"),
    ):
        with pytest.raises(ValueError, match=complaint):
            antialias(image, raster, clip, triangles, dataclasses.replace(edges, **{name: replaced}))
    with pytest.raises(ValueError, match="make_edge_topology: reach must be 1 to 64, got 0"):
        make_edge_topology(triangles, reach=0)
    with pytest.raises(ValueError, match="make_edge_topology: triangles must hold indices"):
        make_edge_topology(triangles - 1)
