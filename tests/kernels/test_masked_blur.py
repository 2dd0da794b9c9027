"""Normalised convolution against its reference."""

from __future__ import annotations

import numpy as np
import pytest
from facewright_kernels import masked_blur
from facewright_kernels.masked_blur import gaussian_taps, masked_blur_reference


@pytest.mark.parametrize("sigma", [0.4, 1.7, 20.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_matches_reference(device, sigma, channels):
    rng = np.random.default_rng(0)
    image = rng.random((2, 23, 37, channels)).astype(np.float32)
    mask = np.clip(rng.random((2, 23, 37)) * 3 - 1.5, 0, 1).astype(np.float32)
    image[mask == 0] = np.nan
    blurred, coverage = masked_blur(device.send(image), device.send(mask), sigma)
    for k in range(2):
        expected = masked_blur_reference(image[k].astype(np.float64), mask[k].astype(np.float64), sigma)
        np.testing.assert_allclose(device.fetch(blurred)[k], expected, atol=2e-6)
    assert device.fetch(coverage).max() <= 1 + 1e-5


def test_constant_stays_constant_whatever_the_mask(device):
    rng = np.random.default_rng(1)
    mask = (rng.random((1, 30, 30)) < 0.2).astype(np.float32)
    image = np.full((1, 30, 30, 2), 0.37, np.float32)
    blurred, coverage = masked_blur(device.send(image), device.send(mask), 3.0)
    reached = device.fetch(coverage) > 0
    np.testing.assert_allclose(device.fetch(blurred)[reached], 0.37, atol=1e-6)


def test_nothing_within_reach_gives_zero(device):
    mask = np.zeros((1, 20, 20), np.float32)
    mask[0, 0, 0] = 1
    blurred, coverage = masked_blur(device.send(np.ones((1, 20, 20, 1), np.float32)), device.send(mask), 1.0)
    assert device.fetch(coverage)[0, 10, 10] == 0
    assert device.fetch(blurred)[0, 10, 10, 0] == 0


def test_taps_have_unit_sum_and_the_stated_width():
    half = gaussian_taps(5.0)
    both = np.concatenate([half[:0:-1], half])
    distance = np.arange(len(both)) - len(half) + 1
    assert both.sum() == pytest.approx(1)
    assert np.sqrt((both * distance**2).sum()) == pytest.approx(5.0, rel=0.02)  # cut off at 3 sigma


def test_boundary_says_what_is_wrong():
    image, mask = np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"sigma must be 0.1 to 100, got 0"):
        masked_blur(image, mask, 0)
    with pytest.raises(ValueError, match="channels of image must be 1 to 3, got 4"):
        masked_blur(np.zeros((1, 4, 4, 4), np.float32), mask, 1)
