"""Sums that do not depend on the order of threads."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from facewright_kernels import Raster, antialias_vjp, interpolate_vjp, rasterize, rasterize_vjp
from facewright_kernels._runtime.kernel_source import set_cpu_threads
from facewright_kernels.vertex_sums import (
    GPU_SEGMENT,
    make_vertex_sums,
    read_vertex_sums,
    run_pieces,
    vertex_sums_reference,
)

_ONE_TRIANGLE = np.array([[0, 1, 2]], np.int32)


def _sums_of(device, values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sum of pixel values through the public VJP: all weight on corner 0 of one triangle."""
    barycentric = np.zeros((1, height, width, 2), np.float32)
    barycentric[..., 0] = 1
    raster = Raster(
        device.send(np.zeros((1, height, width), np.int32)),
        device.send(barycentric),
        device.send(np.zeros((1, height, width), np.float32)),
    )
    attributes = device.send(np.zeros((1, 3, 1), np.float32))
    grad = device.send(values.reshape(1, height, width, 1).astype(np.float32))
    gradients = interpolate_vjp(attributes, device.send(_ONE_TRIANGLE), raster, grad)
    return device.fetch(gradients.attributes)[0, :, 0]


@pytest.mark.parametrize("magnitude", [1e-41, 1e-30, 1.0, 1e30])
def test_sums_are_right_at_every_magnitude(device, magnitude):
    values = np.random.default_rng(0).normal(size=64 * 80) * magnitude
    got = _sums_of(device, values, 64, 80)
    if device.is_gpu and magnitude < np.finfo(np.float32).tiny:
        np.testing.assert_array_equal(got, 0)  # launch_target.h: denormals
        return
    expected = vertex_sums_reference(
        values.astype(np.float32).astype(np.float64)[:, None], np.zeros(values.size, np.int32), 3
    )
    np.testing.assert_allclose(got, expected[:, 0], rtol=1e-5, atol=np.abs(values).max() * 1e-5)


def test_largest_number_of_largest_terms_does_not_overflow(device):
    got = _sums_of(device, np.full(128 * 128, 1.9999999), 128, 128)
    np.testing.assert_allclose(got, [1.9999999 * 128 * 128, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_comes_out_as_nan(device, bad):
    values = np.ones(20)
    values[7] = bad
    assert np.isnan(_sums_of(device, values, 4, 5)).all()


def test_no_terms_sum_to_zero(device):
    sums = make_vertex_sums(device.xp, (2, 3, 4), 0)
    np.testing.assert_array_equal(device.fetch(read_vertex_sums(sums)), np.zeros((2, 3, 4)))


def test_pieces_cover_rows_that_the_segment_does_not_divide():
    assert run_pieces(3, 33, 16) == 9
    assert run_pieces(3, 32, 16) == 6


def test_threads_do_not_change_a_bit():
    values = np.random.default_rng(1).normal(size=200 * 33)
    device = type("Numpy", (), {"send": staticmethod(np.asarray), "fetch": staticmethod(np.asarray)})
    one = _sums_of(device, values, 200, 33)
    try:
        set_cpu_threads(3)
        three = _sums_of(device, values, 200, 33)
    finally:
        set_cpu_threads(1)
    np.testing.assert_array_equal(one, three)


def test_rows_cut_into_the_pieces_of_gpu_threads_give_the_same_sums(monkeypatch):
    rng = np.random.default_rng(2)
    points = rng.uniform([-1, -1, 1], [1, 1, 3], (2, 60, 3))
    clip = np.concatenate([points, points[..., 2:]], -1).astype(np.float32)
    clip[..., 2] -= 1
    triangles = np.arange(60, dtype=np.int32).reshape(-1, 3)
    raster = rasterize(clip, triangles, 30, 43)  # 43 is no multiple of a piece
    image, grad = rng.normal(size=(2, 2, 30, 43, 3)).astype(np.float32)
    attributes = rng.normal(size=(2, 60, 3)).astype(np.float32)

    def run() -> list[np.ndarray]:
        gradients = interpolate_vjp(attributes, triangles, raster, grad)
        return [
            gradients.attributes,
            gradients.barycentric,
            rasterize_vjp(clip, triangles, raster, gradients.barycentric, grad[..., 0]),
            antialias_vjp(image, raster, clip, triangles, grad).clip_positions,
        ]

    rows = run()
    for module in ("interpolate", "rasterize", "antialias"):
        monkeypatch.setattr(
            sys.modules[f"facewright_kernels.{module}"], "run_segment", lambda _array, _width: GPU_SEGMENT
        )
    for whole, cut in zip(rows, run(), strict=True):
        assert np.abs(whole).max() > 0
        np.testing.assert_allclose(cut, whole, rtol=1e-4, atol=1e-5 * np.abs(whole).max())
