"""One interface for two rasterisers: selection, conversion, and agreement where nvdiffrast is installed."""

from __future__ import annotations

import importlib.util
import inspect

import numpy as np
import pytest

import facewright_kernels
from facewright_kernels import Raster, rasterize, rasterize_vjp
from facewright_kernels.nvdiffrast_backend import (
    NvdiffrastRasterizer,
    front_faces,
    own_corners,
    raster_from_nvdiffrast,
    raster_to_nvdiffrast,
    seen_triangles,
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


def _assert_same(device, first: Raster, second: Raster) -> None:
    for name in ("triangle_id", "barycentric", "depth"):
        np.testing.assert_array_equal(
            device.fetch(getattr(first, name)), device.fetch(getattr(second, name)), err_msg=name
        )


@pytest.mark.parametrize("behind", [False, True])
def test_front_faces_drawn_alone_are_what_culling_leaves(device, behind):
    """Also where triangles reach behind the eye."""
    clip, triangles = _mesh()
    if behind:
        clip[:, ::4, 3] *= -1
    clip, triangles = device.send(clip), device.send(triangles)
    own = device.send(np.arange(30, dtype=np.int32).reshape(-1, 3))
    front = front_faces(clip, triangles)
    assert 2 < device.fetch(front).sum() < 18
    culled = rasterize(clip, triangles, 40, 50, cull_back_faces=True)
    assert (
        device.fetch(culled.triangle_id) != device.fetch(rasterize(clip, triangles, 40, 50).triangle_id)
    ).any()
    _assert_same(device, culled, rasterize(own_corners(clip, triangles, front), own, 40, 50))


@pytest.mark.parametrize("cull", [False, True])
def test_seen_triangles_drawn_alone_give_the_same_raster_and_gradient(device, ball, cull):
    z = ball.vertices[:, 2] * 7 + 2.2
    x, y = 1.5 * 7 * ball.vertices[:, 0], 1.5 * 7 * ball.vertices[:, 1]
    clip = device.send(np.stack([x, y, 1.2 * z - 1, z], -1)[None].astype(np.float32))
    triangles = device.send(ball.triangles)
    raster = rasterize(clip, triangles, 48, 40, cull_back_faces=cull)
    seen = seen_triangles(raster, len(ball.triangles))
    expected = np.isin(np.arange(len(ball.triangles)), device.fetch(raster.triangle_id))
    np.testing.assert_array_equal(device.fetch(seen)[0], expected)
    corners = own_corners(clip, triangles, seen)
    own = device.send(np.arange(ball.triangles.size, dtype=np.int32).reshape(-1, 3))
    _assert_same(device, raster, rasterize(corners, own, 48, 40))
    rng = np.random.default_rng(3)
    grads = [device.send(rng.normal(size=(1, 48, 40, *n)).astype(np.float32)) for n in ((2,), ())]
    by_corner = device.fetch(rasterize_vjp(corners, own, raster, *grads))[0]
    gradient = np.zeros((len(ball.vertices), 4))
    np.add.at(gradient, ball.triangles.reshape(-1), by_corner)
    whole = device.fetch(rasterize_vjp(clip, triangles, raster, *grads))[0]
    assert np.abs(whole).max() > 1
    np.testing.assert_allclose(gradient, whole, atol=1e-5 * np.abs(whole).max())


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
    with cupy.cuda.Stream(non_blocking=True) as stream:
        culled = [b.rasterize(clip, triangles, 64, 64, cull_back_faces=True) for b in (ours, theirs)]
        rng = np.random.default_rng(1)
        grads = [cupy.asarray(rng.normal(size=(1, 64, 64, *n)).astype(np.float32)) for n in ((2,), ())]
        gradients = [b.rasterize_vjp(clip, triangles, culled[0], *grads) for b in (ours, theirs)]
        stream.synchronize()
    assert float((culled[0].triangle_id == culled[1].triangle_id).mean()) > 0.99
    largest = float(cupy.abs(gradients[0]).max())
    assert float(cupy.quantile(cupy.abs(gradients[0] - gradients[1]), 0.99)) < 1e-2 * largest
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
