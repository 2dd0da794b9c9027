"""Texel maps: where a texel lies on the surface, and texels that meet across UV cuts."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import TexelMap, make_texel_map, seam_links


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


def test_links_join_points_that_are_neighbours_on_the_surface(ball):
    size = 128
    texels = make_texel_map(ball.uv, ball.uv_triangles, size)
    links = seam_links(ball.uv, ball.uv_triangles, ball.triangles, texels)
    point = texels.gather(ball.vertices[None], ball.triangles)[0].reshape(-1, 3)
    gap = np.linalg.norm(point[links[:, 0]] - point[links[:, 1]], axis=1)
    texel_length = 2 * np.pi * 0.12 / (0.9 * size)
    assert gap.max() < 2.5 * texel_length
    # The cut runs from pole to pole: both borders of the chart are linked along their whole length.
    rows = np.unique(links // size)
    assert len(rows) > 0.85 * 0.9 * size
    # (At the poles every triangle of the fan is cut from the next.)
    middle = links[((links // size > 0.2 * size) & (links // size < 0.8 * size)).all(1)] % size
    np.testing.assert_allclose(middle.min(1), 0.05 * size, atol=2)
    np.testing.assert_allclose(middle.max(1), 0.95 * size, atol=2)
    assert (texels.triangle_id.ravel()[links] >= 0).all()
    assert (links[:, 0] < links[:, 1]).all()
    assert len(np.unique(links, axis=0)) == len(links)


def test_a_layout_without_cuts_has_no_links():
    uv = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    triangles = np.array([[0, 2, 1], [1, 2, 3]], np.int32)
    texels = make_texel_map(uv, triangles, 16)
    assert seam_links(uv, triangles, triangles, texels).shape == (0, 2)


def test_boundary_says_what_is_wrong(ball):
    with pytest.raises(ValueError, match=r"uv must be float32 \[T, 2\]"):
        make_texel_map(ball.vertices, ball.uv_triangles, 16)
    with pytest.raises(ValueError, match="uv_triangles must hold indices"):
        seam_links(
            ball.uv[:3],
            ball.uv_triangles,
            ball.triangles,
            TexelMap(np.zeros((4, 4), np.int32), np.zeros((4, 4, 2), np.float32)),
        )
