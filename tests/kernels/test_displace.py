"""Displacement along normals, and the normals of a surface given per texel."""

from __future__ import annotations

import numpy as np
import pytest

from facewright_kernels import (
    TexelMap,
    detail_normals,
    displace,
    make_texel_map,
    uv_gather,
)
from facewright_kernels.displace import (
    detail_normals_reference,
    displace_reference,
)


def _bumpy(rng: np.random.Generator, batch: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A rough sheet facing +Z, the same displaced, and coarse unit normals near +Z."""
    row, column = np.mgrid[:size, :size] / size
    height = 0.1 * np.sin(7 * row + 3 * column) + 0.02 * rng.normal(size=(batch, size, size))
    sheet = np.broadcast_to(np.stack([column, -row], -1), (batch, size, size, 2))
    positions = np.concatenate([sheet, height[..., None]], -1)
    normals = rng.normal([0, 0, 1], 0.1, positions.shape)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    displaced = positions + 0.05 * rng.normal(size=(batch, size, size, 1)) * normals
    return displaced.astype(np.float32), positions.astype(np.float32), normals.astype(np.float32)


def _texels(device, inside: np.ndarray) -> TexelMap:
    triangle_id = np.where(inside, 0, -1).astype(np.int32)
    return TexelMap(device.send(triangle_id), device.send(np.zeros((*inside.shape, 2), np.float32)))


@pytest.mark.parametrize("shape", [(1, 5), (3, 8, 8)])
def test_displacement_matches_reference(device, shape):
    """Per vertex and per texel."""
    rng = np.random.default_rng(0)
    positions, normals = rng.normal(size=(2, *shape, 3)).astype(np.float32)
    amount = rng.normal(size=shape).astype(np.float32)
    got = device.fetch(displace(device.send(positions), device.send(normals), device.send(amount)))
    wide = (array.astype(np.float64) for array in (positions, normals, amount))
    np.testing.assert_allclose(got, displace_reference(*wide), atol=1e-6)


def test_a_constant_map_inflates_the_ball(device, ball):
    unit = device.send(ball.vertices[None] / np.float32(0.12))
    flat_map = device.send(np.full((1, 16, 16, 1), 0.03, np.float32))
    vertex_uv = device.send(np.random.default_rng(1).random((len(ball.vertices), 2)).astype(np.float32))
    amount = uv_gather(flat_map, vertex_uv)[..., 0]
    got = device.fetch(displace(device.send(ball.vertices[None]), unit, amount))
    np.testing.assert_allclose(np.linalg.norm(got, axis=2), 0.15, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2])
def test_detail_normals_match_reference(device, batch):
    rng = np.random.default_rng(2)
    given = _bumpy(rng, batch, 14)
    given[2][0, 3, 3] *= -1  # the normal goes to the coarse normal's side
    inside = rng.random((14, 14)) < 0.8
    sent = (*(device.send(array) for array in given), _texels(device, inside))
    got = device.fetch(detail_normals(*sent))
    for k in range(batch):
        wide = [array[k].astype(np.float64) for array in given]
        np.testing.assert_allclose(got[k], detail_normals_reference(*wide, inside), atol=2e-5)
    lengths = np.linalg.norm(got, axis=-1)
    np.testing.assert_allclose(lengths[:, inside], 1, atol=1e-5)
    assert (lengths[:, ~inside] == 0).all()


def test_without_displacement_the_normals_are_the_coarse_ones(device, ball):
    """Through a real UV layout, whose triangles are flat and whose rows run downwards."""
    texels = make_texel_map(device.send(ball.uv), device.send(ball.uv_triangles), 64)
    triangles = device.send(ball.triangles)
    positions = texels.gather(device.send(ball.vertices[None]), triangles)
    normals = device.fetch(texels.gather(device.send(ball.vertices[None]), triangles))
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    got = device.fetch(detail_normals(positions, positions, device.send(normals), texels))
    np.testing.assert_allclose(got, normals, atol=2e-4)
    assert (np.linalg.norm(got, axis=-1) > 0.9).mean() > 0.5


def test_a_slope_tilts_the_normal_by_its_angle(device):
    """On a plane, a displacement that rises by 3 in 4 along u turns the normal by atan(3/4) away from u."""
    row, column = np.mgrid[:8, :8].astype(np.float32)
    positions = np.stack([column, -row, 0 * row], -1)[None]
    normals = np.broadcast_to(np.float32([0, 0, 1]), positions.shape)
    amount = device.send((0.75 * column)[None])
    sheet, up = device.send(positions), device.send(normals)
    got = detail_normals(displace(sheet, up, amount), sheet, up, _texels(device, np.ones((8, 8), bool)))
    np.testing.assert_allclose(device.fetch(got), np.broadcast_to([-0.6, 0, 0.8], positions.shape), atol=1e-6)


def test_points_without_area_keep_the_coarse_normal(device):
    """A single texel, a line of texels, and a sheet collapsed into one point."""
    normals = np.zeros((1, 6, 6, 3), np.float32)
    normals[...] = [0, 0.6, 0.8]
    positions = np.random.default_rng(4).normal(size=normals.shape).astype(np.float32)
    inside = np.zeros((6, 6), bool)
    inside[0, 0] = inside[3, :] = True
    for place, given in ((inside, positions), (np.ones((6, 6), bool), np.zeros_like(positions))):
        sent = (device.send(given), device.send(given), device.send(normals), _texels(device, place))
        got = device.fetch(detail_normals(*sent))[0]
        np.testing.assert_array_equal(got[place], normals[0][place])
        assert (got[~place] == 0).all()


def test_nan_stays_near_its_texel(device):
    displaced, positions, normals = _bumpy(np.random.default_rng(5), 2, 8)
    displaced[1, 4, 4] = np.nan
    sent = (*map(device.send, (displaced, positions, normals)), _texels(device, np.ones((8, 8), bool)))
    got = np.isnan(device.fetch(detail_normals(*sent))).all(-1)
    assert not got[0].any()
    assert sorted(map(tuple, np.argwhere(got[1]))) == [(3, 4), (4, 3), (4, 5), (5, 4)]


def test_an_empty_batch_is_nothing_to_do(device):
    nothing = device.send(np.zeros((0, 4, 4, 3), np.float32))
    texels = _texels(device, np.ones((4, 4), bool))
    assert displace(nothing, nothing, nothing[..., 0]).shape == nothing.shape
    assert detail_normals(nothing, nothing, nothing, texels).shape == nothing.shape


def test_boundary_says_what_is_wrong():
    class Cpu:
        send = staticmethod(np.asarray)

    positions = np.zeros((1, 4, 4, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"displacement must be float32 \[1, 4, 4\].*got float32 \[1, 4, 4, 3\]"
    ):
        displace(positions, positions, positions)
    with pytest.raises(ValueError, match=r"normals must be float32 \[1, 4, 4, 3\]"):
        displace(positions, positions[:, :3], positions[..., 0])
    with pytest.raises(ValueError, match=r"texel_map.triangle_id must be int32 \[S, S\] with .*S = 4"):
        detail_normals(positions, positions, positions, _texels(Cpu, np.ones((5, 5), bool)))
