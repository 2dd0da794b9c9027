"""What is timed: a call, a check that its result is right, and the bytes it cannot avoid to move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels.scene import Scene
from facewright_kernels.interpolate import interpolate_reference
from facewright_kernels.poisson_blend import poisson_blend_reference
from facewright_kernels.rasterize import rasterize_reference
from facewright_kernels.sh_shading import sh_shading_reference
from facewright_kernels.uv_projection import ProjectionWeighting, uv_projection_reference
from facewright_kernels.vertex_normals import vertex_normals_reference


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: kernel and size.
        call: runs it.
        check: raises AssertionError where the result is wrong; run once, before timing.
        bytes_moved: inputs read once and outputs written once.
        goal_ms: the target of one thread on this project's machines; None where there is none.
    """

    name: str
    call: Callable[[], Any]
    check: Callable[[], None]
    bytes_moved: int
    goal_ms: float | None = None


def make_cases(scene: Scene) -> list[Case]:
    """All cases on one scene."""
    clip = kernels.pinhole_clip_positions(scene.vertices, scene.camera)
    normals = kernels.vertex_normals(scene.vertices, scene.triangles)
    return [
        _rasterize(scene, clip),
        *_at_pixels(scene, clip, normals),
        _vertex_normals(scene),
        _uv_projection(scene, normals),
        _poisson_blend(scene),
    ]


def _size(*arrays: Any) -> int:
    return sum(int(array.nbytes) for array in arrays)


def _rasterize(scene: Scene, clip: Any) -> Case:
    def call() -> kernels.Raster:
        return kernels.rasterize(clip, scene.triangles, 512, 512)

    def check() -> None:
        small = kernels.rasterize(clip, scene.triangles, 64, 64)
        expected, _, _ = rasterize_reference(clip[0].astype(np.float64), scene.triangles, 64, 64)
        assert (small.triangle_id[0] == expected).mean() > 0.99

    result = call()
    moved = _size(clip, scene.triangles, result.triangle_id, result.barycentric, result.depth)
    return Case(f"rasterize {len(scene.triangles)} triangles, 512²", call, check, moved, 4.0)


def _at_pixels(scene: Scene, clip: Any, normals: Any) -> list[Case]:
    raster = kernels.rasterize(clip, scene.triangles, 512, 512)
    at_pixels = kernels.interpolate(normals, scene.triangles, raster)
    light = np.random.default_rng(1).normal(size=(1, 9, 3)).astype(np.float32)

    def check_interpolate() -> None:
        expected = interpolate_reference(
            normals[0].astype(np.float64),
            scene.triangles,
            raster.triangle_id[0],
            raster.barycentric[0].astype(np.float64),
        )
        np.testing.assert_allclose(at_pixels[0], expected, atol=1e-5)

    def check_shading() -> None:
        seen = raster.triangle_id[0] >= 0
        unit = at_pixels[0][seen].astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        got = kernels.sh_shading(at_pixels, light)[0][seen]
        np.testing.assert_allclose(got, sh_shading_reference(unit, light[0].astype(np.float64)), atol=1e-4)

    moved = _size(raster.triangle_id, raster.barycentric, at_pixels)
    return [
        Case(
            "interpolate 3 channels, 512²",
            lambda: kernels.interpolate(normals, scene.triangles, raster),
            check_interpolate,
            moved,
        ),
        Case(
            "sh_shading 512²",
            lambda: kernels.sh_shading(at_pixels, light),
            check_shading,
            _size(at_pixels, at_pixels),
        ),
    ]


def _vertex_normals(scene: Scene) -> Case:
    around = kernels.make_vertex_triangles(scene.triangles, scene.vertices.shape[1])

    def check() -> None:
        got = kernels.vertex_normals(scene.vertices, scene.triangles, around)[0]
        expected = vertex_normals_reference(scene.vertices[0].astype(np.float64), scene.triangles)
        np.testing.assert_allclose(got, expected, atol=1e-4)

    moved = _size(scene.vertices, scene.vertices, scene.triangles, around.incident, around.offsets)
    return Case(
        f"vertex_normals {scene.vertices.shape[1]} vertices",
        lambda: kernels.vertex_normals(scene.vertices, scene.triangles, around),
        check,
        moved,
    )


def _uv_projection(scene: Scene, normals: Any) -> Case:
    depth_map = kernels.depth_map(scene.vertices, scene.triangles, scene.camera, 512, 512)
    surface = kernels.ProjectionSurface(scene.texels, scene.vertices, normals, scene.triangles)

    def call() -> kernels.UvProjection:
        return kernels.uv_projection(scene.photo, surface, scene.camera, depth_map)

    result = call()

    def check() -> None:
        points = kernels.pinhole_points(scene.vertices, normals, scene.camera)
        at = scene.texels.gather(points, scene.triangles)[0].astype(np.float64)
        inside = scene.texels.triangle_id >= 0
        code = scene.photo[0] / 255
        linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
        colour, weight = uv_projection_reference(
            linear, at[inside], depth_map[0].astype(np.float64), ProjectionWeighting()
        )
        assert (np.abs(result.weight[0][inside] - weight) > 1e-3).mean() < 2e-3
        both = (weight > 0) & (result.weight[0][inside] > 0)
        assert np.abs(result.colour[0][inside][both] - colour[both]).max() < 5e-3

    moved = _size(
        scene.texels.triangle_id,
        scene.texels.barycentric,
        scene.photo,
        depth_map,
        result.colour,
        result.weight,
    )
    return Case("uv_projection 1024²", call, check, moved, 25.0)


def _poisson_blend(scene: Scene) -> Case:
    size = 512
    texels = kernels.make_texel_map(scene.uv, scene.uv_triangles, size)
    links = kernels.seam_links(scene.uv, scene.uv_triangles, scene.triangles, texels)
    domain = kernels.make_poisson_domain(texels.triangle_id >= 0, links)
    y, x = np.mgrid[:size, :size] / size
    foreground = np.stack([x, y, x * y], -1)[None].astype(np.float32)
    background = np.full_like(foreground, 0.3)
    weight = np.clip(4 - 16 * np.abs(x - 0.5), 0, 1)[None].astype(np.float32)

    def call() -> Any:
        return kernels.poisson_blend(foreground, background, weight, domain)

    result = call()

    def check() -> None:
        expected = poisson_blend_reference(
            foreground[0].astype(np.float64),
            background[0].astype(np.float64),
            weight[0].astype(np.float64),
            domain,
        )
        assert np.abs(result[0] - expected).max() < 0.02

    return Case("poisson_blend 512²", call, check, _size(foreground, background, weight, result), 20.0)
