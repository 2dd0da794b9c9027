"""Vertex normals against their reference, and meshes without areas."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import make_vertex_triangles, vertex_normals
from facewright_kernels.vertex_normals import vertex_normals_reference


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
