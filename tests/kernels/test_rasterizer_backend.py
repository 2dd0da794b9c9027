"""One interface for two rasterisers: selection, conversion, and agreement where nvdiffrast is installed."""

from __future__ import annotations

import importlib.util
import inspect

import numpy as np
import pytest

import facewright_kernels
from facewright_kernels import Raster, rasterize
from facewright_kernels.nvdiffrast_backend import (
    NvdiffrastRasterizer,
    raster_from_nvdiffrast,
    raster_to_nvdiffrast,
)
from facewright_kernels.rasterizer_backend import (
    FacewrightRasterizer,
    RasterizerBackend,
    RasterizerUnavailableError,
    rasterizer_backend,
)

_METHODS = (
    "rasterize",
    "rasterize_vjp",
    "interpolate",
    "interpolate_vjp",
    "antialias",
    "antialias_vjp",
)
_has_nvdiffrast = importlib.util.find_spec("nvdiffrast") is not None


def _mesh() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 1], [1, 1, 3], (2, 30, 3))
    z = points[..., 2]
    clip = np.stack([points[..., 0], points[..., 1], z - 1.5, z], -1).astype(np.float32)
    return clip, np.arange(30, dtype=np.int32).reshape(-1, 3)


def test_names():
    assert rasterizer_backend("facewright").name == "facewright"
    assert rasterizer_backend("auto", like=np.zeros(1)).name == "facewright"
    with pytest.raises(ValueError, match="one of facewright, nvdiffrast, auto, got 'opengl'"):
        rasterizer_backend("opengl")


@pytest.mark.skipif(_has_nvdiffrast, reason="nvdiffrast is installed")
def test_missing_nvdiffrast_is_an_error_by_name_and_no_matter_to_auto():
    with pytest.raises(RasterizerUnavailableError, match=r"cannot run: \w+Error: .*(torch|cupy|nvdiffrast)"):
        rasterizer_backend("nvdiffrast")
    assert rasterizer_backend().name == "facewright"


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("backend", [FacewrightRasterizer, NvdiffrastRasterizer])
def test_backends_take_the_same_arguments_as_the_functions(backend, method):
    def parameters(function):
        return [
            (p.name, p.kind, p.default)
            for p in inspect.signature(function).parameters.values()
            if p.name != "self"
        ]

    assert parameters(getattr(backend, method)) == parameters(getattr(facewright_kernels, method))
    assert parameters(getattr(RasterizerBackend, method)) == parameters(getattr(facewright_kernels, method))


def test_nvdiffrast_raster_there_and_back(device):
    clip, triangles = _mesh()
    raster = rasterize(device.send(clip), device.send(triangles), 21, 34)
    theirs = raster_to_nvdiffrast(raster)
    ids = device.fetch(raster.triangle_id)
    assert (ids < 0).any()
    seen = ids >= 0
    array = device.fetch(theirs)
    assert array.shape == (2, 21, 34, 4)
    np.testing.assert_array_equal(array[..., 3], ids + 1)
    np.testing.assert_array_equal(array[~seen], 0)
    np.testing.assert_array_equal(array[seen][:, :2], device.fetch(raster.barycentric)[seen])
    back = raster_from_nvdiffrast(theirs)
    for name in ("triangle_id", "barycentric", "depth"):
        np.testing.assert_array_equal(device.fetch(getattr(back, name)), device.fetch(getattr(raster, name)))
        assert getattr(back, name).flags.c_contiguous


def test_largest_triangle_number_survives():
    last = (1 << 24) - 2
    raster = Raster(
        np.array([[[last, -1]]], np.int32), np.zeros((1, 1, 2, 2), np.float32), np.ones((1, 1, 2), np.float32)
    )
    back = raster_from_nvdiffrast(raster_to_nvdiffrast(raster))
    np.testing.assert_array_equal(back.triangle_id, raster.triangle_id)


def test_conversion_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"raster must be float32 \[B, H, W, 4\].*\[1, 2, 3\]"):
        raster_from_nvdiffrast(np.zeros((1, 2, 3), np.float32))
    bad = Raster(
        np.zeros((1, 2, 3), np.int32), np.zeros((1, 2, 2, 2), np.float32), np.zeros((1, 2, 3), np.float32)
    )
    with pytest.raises(ValueError, match=r"raster.barycentric must be float32 \[B, H, W, 2\]"):
        raster_to_nvdiffrast(bad)


@pytest.mark.gpu
@pytest.mark.skipif(not _has_nvdiffrast, reason="nvdiffrast is not installed")
def test_both_backends_agree(ball):
    cupy = pytest.importorskip("cupy")
    theirs, ours = rasterizer_backend("nvdiffrast"), rasterizer_backend("facewright")
    points = ball.vertices[None] * 7
    z = points[..., 2] + 2.2
    clip = cupy.asarray(np.stack([1.5 * points[..., 0], 1.5 * points[..., 1], 1.2 * z - 1, z], -1))
    triangles = cupy.asarray(ball.triangles)
    raster = ours.rasterize(clip, triangles, 64, 64)
    other = theirs.rasterize(clip, triangles, 64, 64)
    same = (raster.triangle_id == other.triangle_id).get()
    assert same.mean() > 0.99
    error = cupy.abs(raster.barycentric - other.barycentric).get()[same]
    assert np.quantile(error, 0.99) < 1e-3
    image = cupy.asarray(np.random.default_rng(0).uniform(size=(1, 64, 64, 3)).astype(np.float32))
    # One large triangle: no doubt which edges are silhouettes.
    large = cupy.asarray(np.float32([[[-0.7, -0.8, 0, 1], [0.9, -0.3, 0, 1], [-0.2, 0.8, 0, 1]]]))
    alone = cupy.asarray(np.array([[0, 2, 1]], np.int32))
    seen = ours.rasterize(large, alone, 64, 64)
    smooth = [b.antialias(image, seen, large, alone) for b in (ours, theirs)]
    assert float(cupy.abs(smooth[0] - image).max()) > 0.1
    assert float(cupy.abs(smooth[0] - smooth[1]).mean()) < 1e-3
