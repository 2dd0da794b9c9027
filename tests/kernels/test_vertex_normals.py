"""Vertex normals against their reference, and meshes without areas."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import VertexTriangles, make_vertex_triangles, vertex_normals, vertex_normals_vjp
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.vertex_normals import vertex_normals_reference, vertex_normals_vjp_reference


@pytest.mark.parametrize("prepared", [True, False])
def test_matches_reference(device, ball, prepared):
    rng = np.random.default_rng(0)
    vertices = ball.vertices[None] + rng.normal(0, 0.004, (2, *ball.vertices.shape)).astype(np.float32)
    triangles = device.send(ball.triangles)
    around = make_vertex_triangles(triangles, len(ball.vertices)) if prepared else None
    got = device.fetch(vertex_normals(device.send(vertices), triangles, around))
    for k in range(2):
        expected = vertex_normals_reference(vertices[k].astype(np.float64), ball.triangles)
        np.testing.assert_allclose(got[k], expected, atol=3e-5)


def test_normals_of_a_ball_point_outwards(device, ball):
    used = np.unique(ball.triangles)
    got = device.fetch(vertex_normals(device.send(ball.vertices[None]), device.send(ball.triangles)))[0]
    cosine = (got * ball.vertices).sum(1)[used] / 0.12
    assert cosine.min() > 0.99


def test_vertices_without_area_have_no_normal(device):
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0], [5, 5, 5]]], np.float32)
    got = device.fetch(vertex_normals(device.send(vertices), device.send(np.array([[0, 1, 2]], np.int32))))
    assert (got == 0).all()
    none = device.send(np.zeros((0, 3), np.int32))
    assert (device.fetch(vertex_normals(device.send(vertices), none)) == 0).all()


def test_boundary_says_what_is_wrong(ball):
    with pytest.raises(ValueError, match="triangles must hold indices 0 to 2"):
        vertex_normals(ball.vertices[None, :3], ball.triangles)
    with pytest.raises(ValueError, match=r"vertex_triangles.offsets must be int32"):
        vertex_normals(
            ball.vertices[None], ball.triangles, make_vertex_triangles(ball.triangles, len(ball.vertices) + 1)
        )


def test_a_topology_that_names_what_does_not_exist_is_refused(ball):
    around = make_vertex_triangles(ball.triangles, len(ball.vertices))
    vertices = ball.vertices[None]
    fallen = around.offsets.copy()
    fallen[5] = fallen[4] - 1
    with pytest.raises(ValueError, match=r"vertex_triangles\.offsets must not fall, goes from"):
        vertex_normals(vertices, ball.triangles, VertexTriangles(fallen, around.incident))
    beyond = around.offsets.copy()
    beyond[-1] += 1
    with pytest.raises(ValueError, match=r"vertex_triangles\.offsets must hold indices 0 to"):
        vertex_normals(vertices, ball.triangles, VertexTriangles(beyond, around.incident))
    with pytest.raises(ValueError, match=r"vertex_triangles\.incident must hold indices 0 to"):
        vertex_normals(vertices, ball.triangles, VertexTriangles(around.offsets, around.incident - 1))


@pytest.mark.parametrize("offset", [-(2**31), 2**31 - 1])
def test_kernels_read_no_triangle_beyond_the_list(device, ball, offset):
    """As on a GPU, where the host does not look at the topology's numbers."""
    around = make_vertex_triangles(ball.triangles, len(ball.vertices))
    offsets = around.offsets.copy()
    offsets[0 if offset < 0 else -1] = offset
    normals = device.send(np.empty((1, *ball.vertices.shape), np.float32))
    arrays = (ball.vertices[None], ball.triangles, offsets, around.incident)
    sizes = (1, len(ball.vertices), len(ball.triangles))
    source = KernelSource("vertex_normals")
    source.launch("vertex_normals", len(ball.vertices), *(device.send(a) for a in arrays), normals, *sizes)
    np.testing.assert_array_equal(
        device.fetch(normals),
        device.fetch(vertex_normals(device.send(ball.vertices[None]), device.send(ball.triangles))),
    )


@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_gradient_matches_reference(device, ball, batch, prepared):
    rng = np.random.default_rng(1)
    shape = (batch, *ball.vertices.shape)
    vertices = ball.vertices[None] + rng.normal(0, 0.004, shape).astype(np.float32)
    grad = rng.normal(size=shape).astype(np.float32)
    triangles = device.send(ball.triangles)
    around = make_vertex_triangles(triangles, len(ball.vertices)) if prepared else None
    got = device.fetch(vertex_normals_vjp(device.send(vertices), triangles, device.send(grad), around))
    for k in range(batch):
        expected = vertex_normals_vjp_reference(
            vertices[k].astype(np.float64), ball.triangles, grad[k].astype(np.float64)
        )
        np.testing.assert_allclose(got[k], expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())


def test_reference_gradient_is_finite_differences():
    rng = np.random.default_rng(2)
    vertices, grad = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    triangles = np.array([[0, 1, 2], [0, 2, 3], [3, 2, 4], [1, 0, 4], [2, 2, 3]], np.int32)  # 5 is unused
    got = vertex_normals_vjp_reference(vertices, triangles, grad)
    step = 1e-6
    for at in np.ndindex(vertices.shape):
        change = np.zeros_like(vertices)
        change[at] = step
        above, below = (
            (vertex_normals_reference(vertices + sign * change, triangles) * grad).sum() for sign in (1, -1)
        )
        assert (above - below) / (2 * step) == pytest.approx(got[at], abs=1e-7)


def test_gradient_of_degenerate_triangles_is_finite(device):
    """Collinear corners, a corner twice, all corners the same, an unused vertex, and no triangle at all."""
    vertices = np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [5, 5, 5]]], np.float32)
    grad = device.send(np.ones((1, 5, 3), np.float32))
    flat = device.send(np.array([[0, 1, 2], [1, 1, 3], [2, 2, 2]], np.int32))
    assert (device.fetch(vertex_normals_vjp(device.send(vertices), flat, grad)) == 0).all()
    mixed = np.array([[0, 1, 2], [0, 1, 3], [1, 1, 3], [3, 0, 3]], np.int32)
    got = device.fetch(vertex_normals_vjp(device.send(vertices), device.send(mixed), grad))[0]
    expected = vertex_normals_vjp_reference(vertices[0].astype(np.float64), mixed, np.ones((5, 3)))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert (got[4] == 0).all()
    none = device.send(np.zeros((0, 3), np.int32))
    assert (device.fetch(vertex_normals_vjp(device.send(vertices), none, grad)) == 0).all()


def test_nan_reaches_the_gradient_of_its_neighbours_only(device, ball):
    vertices = ball.vertices[None].copy()
    vertices[0, 100] = np.nan
    grad = device.send(np.ones_like(vertices))
    got = device.fetch(vertex_normals_vjp(device.send(vertices), device.send(ball.triangles), grad))[0]
    near = np.unique(ball.triangles[(ball.triangles == 100).any(1)])
    farther = np.unique(ball.triangles[np.isin(ball.triangles, near).any(1)])
    assert np.isnan(got[near]).all()
    assert np.isfinite(np.delete(got, farther, 0)).all()


def test_gradient_boundary_says_what_is_wrong(ball):
    with pytest.raises(ValueError, match=r"vertex_normals_vjp: grad_normals must be float32 \[B, V, 3\]"):
        vertex_normals_vjp(ball.vertices[None], ball.triangles, ball.vertices[None, :4])
