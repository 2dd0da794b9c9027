"""Poisson blending: multigrid against a direct solve, cuts, charts, and convergence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from facewright_kernels import PoissonDomain, make_poisson_domain, poisson_blend
from facewright_kernels.poisson_blend import poisson_blend_reference


def _scene(size: int, seed: int = 0):
    """A disc cut in two along a row (one texel missing, linked), a small chart beside it, a partly known
    foreground.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    inside = (x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.15
    inside |= (x - 0.9) ** 2 + (y - 0.85) ** 2 < 0.008
    cut = int(0.3 * size)
    inside[cut] = False
    columns = np.arange(size)
    links = np.stack([(cut - 1) * size + columns, (cut + 1) * size + columns], 1)
    links = links[inside.ravel()[links].all(1)].astype(np.int32)
    foreground = np.stack([x, y, x * y], -1) + rng.normal(0, 0.01, (size, size, 3))
    background = np.stack([0 * x + 0.3, 0.2 + 0.1 * np.sin(9 * x), 0 * y], -1)
    weight = np.clip(
        ((x - 0.35) ** 2 + (y - 0.5) ** 2 < 0.04) * 1.0 + ((x - 0.4) ** 2 + (y - 0.45) ** 2 < 0.06) * 0.5,
        0,
        1,
    )
    return foreground, background, weight, inside, make_poisson_domain(inside, links)


def _run(device, foreground, background, weight, domain, cycles=1):
    arrays = (device.send(a[None].astype(np.float32)) for a in (foreground, background, weight))
    return device.fetch(poisson_blend(*arrays, domain.to_device(device.xp), cycles=cycles))[0]


def test_cycles_converge_to_the_direct_solution(device):
    foreground, background, weight, _, domain = _scene(128)
    expected = poisson_blend_reference(foreground, background, weight, domain)
    start = np.abs(expected - (weight[..., None] * foreground + (1 - weight[..., None]) * background)).max()
    assert start > 0.3
    errors = [
        np.abs(_run(device, foreground, background, weight, domain, cycles) - expected).max()
        for cycles in (1, 2, 4)
    ]
    assert errors[0] < 0.01 * start
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 5e-4 * start


@pytest.mark.parametrize("size", [64, 256])
def test_one_cycle_is_enough_at_any_size(device, size):
    foreground, background, weight, _, domain = _scene(size, 1)
    expected = poisson_blend_reference(foreground, background, weight, domain)
    got = _run(device, foreground, background, weight, domain)
    assert np.abs(got - expected).max() < 0.01
    assert np.sqrt(((got - expected) ** 2).mean()) < 1e-3


def test_known_is_kept_and_outside_is_background(device):
    foreground, background, weight, inside, domain = _scene(64)
    got = _run(device, foreground, background, weight, domain)
    certain = (weight == 1) & inside
    np.testing.assert_allclose(got[certain], foreground[certain], atol=1e-6)
    np.testing.assert_allclose(got[~inside], background[~inside], atol=1e-6)


def test_constant_offset_is_recovered_everywhere_it_connects(device):
    """Foreground = background + c where known: the membrane is c all over, and 0 in a chart nothing is
    known of.
    """
    _, background, weight, inside, domain = _scene(128)
    offset = np.array([0.2, -0.1, 0.05])
    got = _run(device, background + offset, background, weight, domain, cycles=3)
    small = inside & (np.mgrid[:128, :128][1] > 100)
    assert small.any()
    assert not weight[small].any()
    connected = inside & ~small
    np.testing.assert_allclose(
        got[connected] - background[connected], np.broadcast_to(offset, got[connected].shape), atol=2e-3
    )
    np.testing.assert_allclose(got[small], background[small], atol=1e-4)


def test_links_carry_colour_across_a_cut(device):
    """Left half known, right half reached only through links around the outer borders, as on the back of a
    head.
    """
    size = 64
    inside = np.ones((size, size), bool)
    inside[:, 31:33] = False
    row = np.arange(size) * size
    links = np.stack([row, row + size - 1], 1).astype(np.int32)
    weight = np.zeros((size, size))
    weight[:, :10] = 1
    foreground, background = np.ones((size, size, 1)), np.zeros((size, size, 1))
    linked = _run(device, foreground, background, weight, make_poisson_domain(inside, links), cycles=4)
    apart = _run(device, foreground, background, weight, make_poisson_domain(inside), cycles=4)
    assert np.abs(linked[:, 33:] - 1).max() < 0.01
    assert np.abs(apart[:, 33:]).max() < 1e-3


@pytest.mark.parametrize("corridor", [False, True])
def test_cycles_do_not_diverge_where_colour_comes_through_links_only(device, corridor):
    """A smooth unknown half of a texture that wraps around: what overshoots there grows with every cycle."""
    size = 256
    inside = np.ones((size, size), bool)
    if corridor:
        inside[:, size // 2 - 1 : size // 2 + 1] = False
    row = np.arange(size) * size
    domain = make_poisson_domain(inside, np.stack([row, row + size - 1], 1).astype(np.int32))
    y, x = np.mgrid[:size, :size] / size
    weight = (x < 0.2) * 1.0 if corridor else np.clip(4 - 16 * np.abs(x - 0.5), 0, 1)
    foreground, background = np.stack([x, y, x * y], -1), np.full((size, size, 3), 0.3)
    expected = poisson_blend_reference(foreground, background, weight, domain)
    one, eight = (
        np.abs(_run(device, foreground, background, weight, domain, cycles) - expected).max()
        for cycles in (1, 8)
    )
    assert one < 0.02
    assert eight < 0.2 * one  # 0.008, or 0.03 without fused multiply-adds; what overshoots is above 1


def test_nan_where_nothing_is_known_is_harmless(device):
    foreground, background, weight, _, domain = _scene(64)
    expected = _run(device, foreground, background, weight, domain)
    foreground[weight == 0] = np.nan
    np.testing.assert_array_equal(_run(device, foreground, background, weight, domain), expected)


def test_nothing_known_gives_the_background(device):
    foreground, background, weight, _, domain = _scene(64)
    got = _run(device, foreground, background, 0 * weight, domain)
    np.testing.assert_allclose(got, background, atol=1e-6)


def test_batch_is_the_images_one_by_one(device):
    scenes = [_scene(64, seed) for seed in range(2)]
    domain = scenes[0][4].to_device(device.xp)
    stacked = [device.send(np.stack([s[k] for s in scenes]).astype(np.float32)) for k in range(3)]
    both = device.fetch(poisson_blend(*stacked, domain))
    for k, scene in enumerate(scenes):
        np.testing.assert_array_equal(both[k], _run(device, *scene[:3], scene[4]))


def test_boundary_says_what_is_wrong():
    foreground, background, weight, inside, domain = _scene(64)
    arrays = [a[None].astype(np.float32) for a in (foreground, background, weight)]
    with pytest.raises(ValueError, match="domain is 64 x 64, images are 32 x 64"):
        poisson_blend(*(a[:, :32] for a in arrays), domain)
    with pytest.raises(ValueError, match="cycles must be 1 to 20, got 0"):
        poisson_blend(*arrays, domain, cycles=0)
    finest = domain.levels[0]
    for name, replaced, complaint in (
        ("partners", finest.partners + 64 * 66, r"levels\[0\]\.partners must hold indices 0 to 4223"),
        ("linked", finest.linked - 4224, r"levels\[0\]\.linked must hold indices"),
        ("offsets", finest.offsets[::-1].copy(), r"levels\[0\]\.offsets must not fall"),
        ("left", finest.left[1:], r"levels\[0\]\.left must be float32 \[66, 64\]"),
    ):
        changed = dataclasses.replace(finest, **{name: replaced})
        with pytest.raises(ValueError, match=complaint):
            poisson_blend(*arrays, PoissonDomain((changed, *domain.levels[1:])))
    with pytest.raises(ValueError, match=r"levels\[1\] must have half the sides"):
        poisson_blend(*arrays, PoissonDomain((finest, finest)))
    with pytest.raises(ValueError, match="must have at least one level"):
        poisson_blend(*arrays, PoissonDomain(()))
    with pytest.raises(ValueError, match="links must join texels inside"):
        make_poisson_domain(inside, np.array([[0, 1]], np.int32))
    with pytest.raises(ValueError, match="sides must be even, got 63 x 64"):
        make_poisson_domain(inside[1:])
