"""Texel maps: where a texel lies on the surface."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import make_texel_map


def test_texel_centres_have_their_own_uv(device, ball):
    """Interpolating UV at a texel gives the UV of that texel's centre."""
    texels = make_texel_map(device.send(ball.uv), device.send(ball.uv_triangles), 64)
    assert texels.size == 64
    uv = device.fetch(texels.gather(device.send(ball.uv[None]), device.send(ball.uv_triangles)))[0]
    inside = device.fetch(texels.triangle_id) >= 0
    row, column = np.nonzero(inside)
    assert inside.mean() > 0.6
    np.testing.assert_allclose(uv[inside], np.stack([column + 0.5, row + 0.5], 1) / 64, atol=2e-4)


def test_gather_takes_a_batch(device, ball):
    texels = make_texel_map(device.send(ball.uv), device.send(ball.uv_triangles), 32)
    vertices = np.stack([ball.vertices, 2 * ball.vertices])
    got = device.fetch(texels.gather(device.send(vertices), device.send(ball.triangles)))
    assert got.shape == (2, 32, 32, 3)
    np.testing.assert_allclose(got[1], 2 * got[0], atol=1e-7)
    for k in range(2):
        alone = texels.gather(device.send(vertices[k : k + 1]), device.send(ball.triangles))
        np.testing.assert_array_equal(got[k], device.fetch(alone)[0])


def test_gather_of_no_images_is_empty(device, ball):
    texels = make_texel_map(device.send(ball.uv), device.send(ball.uv_triangles), 16)
    none = device.send(np.zeros((0, *ball.vertices.shape), np.float32))
    assert texels.gather(none, device.send(ball.triangles)).shape == (0, 16, 16, 3)


def test_boundary_says_what_is_wrong(ball):
    with pytest.raises(ValueError, match=r"uv must be float32 \[T, 2\]"):
        make_texel_map(ball.vertices, ball.uv_triangles, 16)
    with pytest.raises(ValueError, match=r"indices"):
        make_texel_map(ball.uv[:3], ball.uv_triangles, 16)
