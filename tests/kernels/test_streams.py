"""Every kernel of the package on a stream of the caller's: no wait of the host, the same bits every time."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import facewright_kernels as kernels
from facewright_kernels import CompositeSurface, PinholeCamera, ProjectionSurface
from facewright_kernels._runtime import kernel_source
from tests.support.simulated_cuda import threads_backwards

#: Made once per layout, most with waits of the host (their docstrings say so); and what starts nothing.
_ON_THE_HOST = {
    "make_edge_topology",
    "make_texel_map",
    "make_texel_readers",
    "make_vertex_triangles",
    "rasterizer_backend",
}
_SIDE = 32


class _Scene:
    """Inputs of all kernels on one device: two photos of a ball. ``arrays`` are what a replay may change."""

    def __init__(self, device: Any, ball: Any) -> None:
        rng = np.random.default_rng(0)
        shape = (2, _SIDE, _SIDE)

        def random(*size: int) -> Any:
            return device.send(rng.random(size).astype(np.float32))

        self.arrays: dict[str, Any] = {
            "vertices": device.send(ball.vertices[None] * np.float32([[[1.0]], [[1.1]]])),
            "image": random(*shape, 3),
            "layer": random(*shape, 4),
            "weight": random(*shape),
            "channels_first": random(2, 3, _SIDE, _SIDE),
            "uv": random(2, 100, 2),
            "of_samples": random(2, 100, 3),
            "coefficients": random(2, 9, 3),
            "photo": device.send(rng.integers(0, 256, (*shape, 3)).astype(np.uint8)),
            "layers": random(2, 8, 8, 16),
            "moments": random(4, 2, 6),
        }
        self.triangles, self.ball_uv = device.send(ball.triangles), device.send(ball.uv)
        self.uv_triangles = device.send(ball.uv_triangles)
        intrinsics = np.tile(np.float32([[60, 0, 16], [0, 60, 16], [0, 0, 1]]), (2, 1, 1))
        extrinsics = np.tile(np.float32([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.6]]), (2, 1, 1))
        self.camera = PinholeCamera(device.send(intrinsics), device.send(extrinsics), _SIDE, _SIDE)
        self.texels = kernels.make_texel_map(self.ball_uv, self.uv_triangles, _SIDE)
        self.around = kernels.make_vertex_triangles(self.triangles, len(ball.vertices))
        self.edges = kernels.make_edge_topology(self.triangles, reach=4)
        self.readers = kernels.make_texel_readers(self.ball_uv, _SIDE)
        self.detail = device.send(rng.integers(0, 256, (_SIDE, _SIDE, 2)).astype(np.uint8))
        self.steps = device.send(np.array([3, 7], np.int32))
        # What is only the shape of a gradient or of an earlier result.
        self.clip = kernels.pinhole_clip_positions(self.arrays["vertices"], self.camera)
        self.raster = kernels.rasterize(self.clip, self.triangles, _SIDE, _SIDE)
        self.normals = kernels.vertex_normals(self.arrays["vertices"], self.triangles, self.around)

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["arrays"][name]

    @property
    def surface(self) -> ProjectionSurface:
        return ProjectionSurface(self.texels, self.vertices, self.normals, self.triangles)

    def stepped(self) -> Any:
        parameter, gradient, first, second = (moment.copy() for moment in self.moments)
        kernels.adam_step(parameter, gradient, first, second, step=self.steps, learning_rate=0.1)
        return parameter, first, second


def _attributes(scene: _Scene) -> Any:
    """The texture's points, for kernels over UV maps: f32 ``[2, S, S, 3]``."""
    return scene.texels.gather(scene.vertices, scene.triangles)


_CASES: dict[str, Callable[[_Scene], Any]] = {
    "adam_step": lambda s: s.stepped(),
    "antialias": lambda s: kernels.antialias(s.image, s.raster, s.clip, s.triangles, s.edges),
    "antialias_vjp": lambda s: kernels.antialias_vjp(
        s.image, s.raster, s.clip, s.triangles, s.image, s.edges
    ),
    "depth_map": lambda s: kernels.depth_map(s.vertices, s.triangles, s.camera, 24, 24),
    "detail_normals": lambda s: kernels.detail_normals(s.image, _attributes(s), s.image, s.texels),
    "displace": lambda s: kernels.displace(s.image, _attributes(s), s.weight),
    "face_layer": lambda s: kernels.face_layer(s.image, s.image, s.raster.triangle_id),
    "face_layer_vjp": lambda s: kernels.face_layer_vjp(s.image, s.image, s.raster.triangle_id, s.layer),
    "interpolate": lambda s: kernels.interpolate(s.vertices, s.triangles, s.raster),
    "interpolate_vjp": lambda s: kernels.interpolate_vjp(s.vertices, s.triangles, s.raster, s.image),
    "photo_composite": lambda s: kernels.photo_composite(s.layer, s.channels_first, s.weight),
    "photo_composite_vjp": lambda s: kernels.photo_composite_vjp(
        s.channels_first, s.weight, s.channels_first
    ),
    "pinhole_clip_positions": lambda s: kernels.pinhole_clip_positions(s.vertices, s.camera),
    "pinhole_clip_positions_vjp": lambda s: kernels.pinhole_clip_positions_vjp(s.vertices, s.camera, s.clip),
    "pinhole_points": lambda s: kernels.pinhole_points(s.vertices, s.normals, s.camera),
    "rasterize": lambda s: kernels.rasterize(
        kernels.pinhole_clip_positions(s.vertices, s.camera), s.triangles, _SIDE, _SIDE
    ),
    "rasterize_vjp": lambda s: kernels.rasterize_vjp(
        s.clip, s.triangles, s.raster, s.image[..., :2], s.weight
    ),
    "sh_shading": lambda s: kernels.sh_shading(s.image, s.coefficients),
    "sh_shading_vjp": lambda s: kernels.sh_shading_vjp(s.image, s.coefficients, s.image),
    "silhouette_weight": lambda s: kernels.silhouette_weight(s.weight, jump=0.5),
    "texture_composite": lambda s: kernels.texture_composite(
        CompositeSurface(
            s.texels.triangle_id, s.texels.barycentric, s.triangles, s.vertices, s.vertices[::-1].copy()
        ),
        s.photo,
        s.layers,
        s.detail,
    ),
    "texture_sample": lambda s: (
        kernels.texture_sample(s.image, s.uv),
        kernels.texture_sample(s.photo, s.uv, srgb=True),
    ),
    "texture_sample_vjp": lambda s: kernels.texture_sample_vjp(s.image, s.uv, s.of_samples),
    "uv_gather": lambda s: kernels.uv_gather(s.image, s.ball_uv),
    "uv_gather_vjp": lambda s: kernels.uv_gather_vjp(
        s.image, s.ball_uv, kernels.uv_gather(s.image, s.ball_uv), s.readers
    ),
    "uv_projection": lambda s: kernels.uv_projection(
        s.photo,
        s.surface,
        s.camera,
        kernels.depth_map(s.vertices, s.triangles, s.camera, 24, 24),
        with_image_xy=True,
    ),
    "vertex_normals": lambda s: kernels.vertex_normals(s.vertices, s.triangles, s.around),
    "vertex_normals_vjp": lambda s: kernels.vertex_normals_vjp(s.vertices, s.triangles, s.vertices, s.around),
}


def _flat(result: Any) -> list[Any]:
    """The arrays of a result, whatever holds them."""
    if result is None:
        return []
    if dataclasses.is_dataclass(result):
        return [a for field in dataclasses.fields(result) for a in _flat(getattr(result, field.name))]
    return [a for part in result for a in _flat(part)] if isinstance(result, tuple) else [result]


def _fetched(device: Any, result: Any) -> list[np.ndarray]:
    return [np.array(device.fetch(array)) for array in _flat(result)]


def test_every_public_kernel_has_a_case():
    public = {name for name in kernels.__all__ if inspect.isfunction(getattr(kernels, name))}
    assert set(_CASES) == public - _ON_THE_HOST


@pytest.mark.parametrize("name", sorted(_CASES))
def test_calls_give_the_same_bits_every_time(device, ball, name, monkeypatch):
    """However the work is cut: the second time a GPU has one block, and a simulated one runs its threads the
    other way round.
    """
    scene = _Scene(device, ball)
    first = _fetched(device, _CASES[name](scene))
    monkeypatch.setattr(kernel_source, "GPU_MAXIMUM_BLOCKS", 1)
    with threads_backwards() if device.name == "simulated_gpu" else nullcontext():
        second = _fetched(device, _CASES[name](scene))
    assert first
    for a, b in zip(first, second, strict=True):
        assert np.nanmax(a) > np.nanmin(a)  # something happened
        np.testing.assert_array_equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("name", sorted(_CASES))
def test_calls_can_be_captured_and_replayed(gpu_device, ball, name):
    """A CUDA graph takes neither a wait of the host nor work on another stream. What it replays is what a
    call gives for the inputs that are there by then.
    """
    scene = _Scene(gpu_device, ball)
    call, cupy = _CASES[name], gpu_device.xp
    cupy.cuda.Device().synchronize()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        call(scene)  # compiles, and copies tables
        stream.synchronize()
        stream.begin_capture()
        captured = call(scene)
        graph = stream.end_capture()
        for key, array in scene.arrays.items():
            if key != "vertices":
                array[...] = array[::-1].copy()
        scene.arrays["vertices"] *= np.float32(0.9)
        expected = _fetched(gpu_device, call(scene))  # before the graph writes to memory that it gave back
        graph.launch(stream)
        stream.synchronize()
        for a, b in zip(_fetched(gpu_device, captured), expected, strict=True):
            np.testing.assert_array_equal(a, b)
