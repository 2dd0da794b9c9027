"""Textures: lookups, UV maps at vertices and the projection of photos, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels import rivals as programs
from benchmarks.kernels.case import Case, LazyCase, assert_close, byte_count, first64, host
from benchmarks.kernels.rivals import rivals
from benchmarks.kernels.scene import Scene
from facewright_kernels.texture_sample import (
    texture_sample_reference,
    texture_sample_vjp_reference,
)
from facewright_kernels.uv_gather import uv_gather_reference, uv_gather_vjp_reference
from facewright_kernels.uv_projection import (
    ProjectionWeighting,
    uv_projection_reference,
)

_MAP_SIDE = 256


def make_texture_cases(scene: Scene) -> list[LazyCase]:
    """Cases on one scene."""
    lookups = f"{scene.texture_side}² at {scene.images}"
    gathered = f"{scene.batch} × {len(scene.uv)} vertices, 6 channels of {_MAP_SIDE}²"
    builders: dict[str, Callable[[Scene], Case]] = {
        f"texture_sample {lookups}": _sample,
        f"texture_sample f16 {lookups}": _sample_half,
        f"texture_sample bf16 {lookups}": _sample_bfloat16,
        f"texture_sample sRGB bytes {lookups}": _sample_bytes,
        f"texture_sample_vjp {lookups}": _sample_vjp,
        f"uv_gather {gathered}": _uv_gather,
        f"uv_gather_vjp {gathered}": _uv_gather_vjp,
        f"uv_projection {scene.textures}": _uv_projection,
    }
    return [LazyCase(name, partial(build, scene)) for name, build in builders.items()]


def _texture(scene: Scene, channels: int = 3) -> Any:
    return scene.noise(15, scene.batch, scene.texture_side, scene.texture_side, channels)


def _gradient(scene: Scene) -> Any:
    """Of what was looked up: 0 where there is no surface."""
    grad = scene.noise(16, scene.batch, scene.side, scene.side, 3)
    return grad * (scene.raster.triangle_id >= 0)[..., None]


def _looked_up(texture: Any, uv: Any) -> Any:
    """The first image's lookups by the reference, ``[H, W, C]``."""
    return texture_sample_reference(texture, first64(uv).reshape(-1, 2)).reshape(*uv.shape[1:3], -1)


def _sample(scene: Scene) -> Case:
    """At a jittered grid: all of the texture is read."""
    texture = _texture(scene)
    centre = (np.arange(scene.side, dtype=np.float32) + 0.5) / scene.side
    grid = scene.xp.asarray(np.stack(np.meshgrid(centre, centre), -1))
    uv = grid + scene.noise(8, scene.batch, scene.side, scene.side, 2) * np.float32(0.5 / scene.side)

    def check() -> None:
        got = host(kernels.texture_sample(texture, uv)[0])
        np.testing.assert_allclose(got, _looked_up(first64(texture), uv), atol=2e-3)  # float32 coordinates

    return Case(
        lambda: kernels.texture_sample(texture, uv),
        check,
        byte_count(texture, uv) + uv.size // 2 * 12,
        rivals=rivals(
            scene,
            lambda: _looked_up(first64(texture), uv)[None],
            lambda torch: programs.sample_planes(torch, texture, uv),
        ),
    )


def _sample_half(scene: Scene) -> Case:
    half = _texture(scene).astype(np.float16)
    return _sample_narrow(scene, half, first64(half), {})


def _sample_bfloat16(scene: Scene) -> Case:
    bits = (_texture(scene).view(np.uint32) >> 16).astype(np.uint16)
    decoded = (host(bits[0]).astype(np.uint32) << 16).view(np.float32)
    return _sample_narrow(scene, bits, decoded.astype(np.float64), {"texel_format": "bfloat16"})


def _sample_bytes(scene: Scene) -> Case:
    return _sample_narrow(scene, scene.photo, _linear(host(scene.photo[0])), {"srgb": True})


def _sample_narrow(scene: Scene, texture: Any, decoded: Any, options: dict[str, Any]) -> Case:
    """A texture of less than four bytes a number; ``decoded [H, W, C]`` is what its first image means."""
    uv = scene.uv_at_pixels

    def call() -> Any:
        return kernels.texture_sample(texture, uv, **options)

    return Case(
        call,
        lambda: assert_close(call()[0], _looked_up(decoded, uv), 1e-3),
        byte_count(texture, uv) + uv.size // 2 * 12,
    )


def _linear(code: Any) -> Any:
    """sRGB bytes in linear light, float64 (IEC 61966-2-1)."""
    value = code / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _sample_vjp(scene: Scene) -> Case:
    texture, uv, grad = _texture(scene), scene.uv_at_pixels, _gradient(scene)

    def reference() -> Any:
        return texture_sample_vjp_reference(
            first64(texture), first64(uv).reshape(-1, 2), first64(grad).reshape(-1, 3)
        )

    def check() -> None:
        got = kernels.texture_sample_vjp(texture, uv, grad)
        of_texture, of_uv = reference()
        assert_close(got.texture[0], of_texture, 1e-3)
        # A coordinate may round into the cell beside it.
        assert_close(got.uv[0].reshape(-1, 2), of_uv, 0.05)

    return Case(
        lambda: kernels.texture_sample_vjp(texture, uv, grad),
        check,
        byte_count(texture, uv, grad, texture, uv),
        rivals=rivals(
            scene,
            lambda: reference()[0][None],
            lambda torch: programs.vjp(torch, programs.sample(torch), (texture, uv), grad),
        ),
        result=lambda gradients: gradients.texture,
    )


def _uv_gather(scene: Scene) -> Case:
    uv_map = scene.noise(13, scene.batch, _MAP_SIDE, _MAP_SIDE, 6)

    def reference() -> Any:
        return uv_gather_reference(first64(uv_map), host(scene.uv).astype(np.float64))

    def call() -> Any:
        return kernels.uv_gather(uv_map, scene.uv)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        2 * byte_count(call()) + byte_count(scene.uv),  # each vertex reads at least as much as it gets
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.forward(torch, programs.sample_at_vertices(torch, scene.uv), (uv_map,)),
        ),
    )


def _uv_gather_vjp(scene: Scene) -> Case:
    uv_map = scene.noise(13, scene.batch, _MAP_SIDE, _MAP_SIDE, 6)
    grad = scene.noise(14, scene.batch, len(scene.uv), 6)
    readers = kernels.make_texel_readers(scene.uv, _MAP_SIDE)

    def reference() -> Any:
        return uv_gather_vjp_reference(_MAP_SIDE, host(scene.uv).astype(np.float64), first64(grad))

    def call() -> Any:
        return kernels.uv_gather_vjp(uv_map, scene.uv, grad, readers)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(grad, readers.offsets, readers.vertices, readers.weights, uv_map),
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.vjp(torch, programs.sample_at_vertices(torch, scene.uv), (uv_map,), grad),
        ),
    )


def _surface(scene: Scene) -> kernels.ProjectionSurface:
    return kernels.ProjectionSurface(scene.texels, scene.vertices, scene.normals, scene.triangles)


def _seen_points(scene: Scene, which: Any) -> Any:
    """Homogeneous pixels and cosines ``[N, 4]`` of the first image's texels ``which`` ``[S, S]``."""
    points = kernels.pinhole_points(scene.vertices, scene.normals, scene.camera)
    return first64(scene.texels.gather(points, scene.triangles))[which]


def _uv_projection(scene: Scene) -> Case:
    surface, depth_map = _surface(scene), scene.depth_map

    def call() -> kernels.UvProjection:
        return kernels.uv_projection(scene.photo, surface, scene.camera, depth_map)

    result = call()

    def check() -> None:
        inside = host(scene.texels.triangle_id) >= 0
        colour, weight = uv_projection_reference(
            _linear(host(scene.photo[0])),
            _seen_points(scene, inside),
            first64(depth_map),
            ProjectionWeighting(),
        )
        got = host(result.weight[0])[inside]
        assert (np.abs(got - weight) > 1e-3).mean() < 2e-3
        both = (weight > 0) & (got > 0)
        assert np.abs(host(result.colour[0])[inside][both] - colour[both]).max() < 5e-3

    texels = scene.texels
    return Case(
        call,
        check,
        byte_count(
            texels.triangle_id, texels.barycentric, scene.photo, depth_map, result.colour, result.weight
        ),
        25.0 if scene.batch == 1 else None,
    )
