"""Shading, normals, texture lookup, UV projection and blending."""

from __future__ import annotations

from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels import torch_rivals
from benchmarks.kernels.case import Case, byte_count, first64, host
from benchmarks.kernels.rasterizer_cases import size
from benchmarks.kernels.scene import Scene
from facewright_kernels.poisson_blend import poisson_blend_reference
from facewright_kernels.sh_shading import sh_shading_reference
from facewright_kernels.texture_sample import texture_sample_reference
from facewright_kernels.uv_projection import ProjectionWeighting, uv_projection_reference
from facewright_kernels.vertex_normals import vertex_normals_reference


def make_cases(scene: Scene) -> list[Case]:
    """All cases of this module on one scene."""
    clip = kernels.pinhole_clip_positions(scene.vertices, scene.camera)
    normals = kernels.vertex_normals(scene.vertices, scene.triangles)
    raster = kernels.rasterize(clip, scene.triangles, scene.side, scene.side)
    return [
        _sh_shading(scene, kernels.interpolate(normals, scene.triangles, raster), raster),
        _texture_sample(scene),
        _vertex_normals(scene),
        _uv_projection(scene, normals),
        _poisson_blend(scene),
    ]


def _sh_shading(scene: Scene, at_pixels: Any, raster: kernels.Raster) -> Case:
    torch = torch_rivals.find_torch(scene.xp)
    light = scene.noise(1, scene.batch, 9, 3)

    def check() -> None:
        seen = host(raster.triangle_id[0]) >= 0
        unit = first64(at_pixels)[seen]
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        got = host(kernels.sh_shading(at_pixels, light)[0])[seen]
        np.testing.assert_allclose(got, sh_shading_reference(unit, first64(light)), atol=1e-4)

    def numpy() -> Any:
        length = np.sqrt((at_pixels * at_pixels).sum(-1, keepdims=True))
        x, y, z = np.moveaxis(at_pixels / np.maximum(length, 1e-12), -1, 0)
        bands = np.stack(
            [
                np.full_like(x, 0.282095),
                0.488603 * y,
                0.488603 * z,
                0.488603 * x,
                1.092548 * x * y,
                1.092548 * y * z,
                0.315392 * (3 * z * z - 1),
                1.092548 * x * z,
                0.546274 * (x * x - y * y),
            ],
            -1,
        )
        return _at_surfaces(bands @ light[:, None])

    def _at_surfaces(shading: Any) -> Any:
        return shading * (raster.triangle_id >= 0)[..., None]

    rivals: dict[str, Any] = {}
    if scene.xp is np:
        rivals["numpy"] = numpy
    if torch is not None:
        shade = torch_rivals.sh_shading(torch, at_pixels, light)
        seen = torch.from_dlpack((raster.triangle_id >= 0)[..., None].astype(np.float32))
        rivals["torch"] = lambda: shade() * seen
    return Case(
        f"sh_shading {size(scene)}",
        lambda: kernels.sh_shading(at_pixels, light),
        check,
        byte_count(at_pixels, at_pixels),
        rivals=rivals,
        result=_at_surfaces,  # a zero normal's shading is defined by the kernel only
    )


def _texture_sample(scene: Scene) -> Case:
    torch = torch_rivals.find_torch(scene.xp)
    texture = scene.noise(7, scene.batch, 1024, 1024, 3)
    centre = (np.arange(scene.side, dtype=np.float32) + 0.5) / scene.side
    grid = scene.xp.asarray(np.stack(np.meshgrid(centre, centre), -1))
    uv = grid + scene.noise(8, scene.batch, scene.side, scene.side, 2) * np.float32(0.5 / scene.side)

    def reference() -> Any:
        return texture_sample_reference(first64(texture), first64(uv).reshape(-1, 2))

    def check() -> None:
        got = host(kernels.texture_sample(texture, uv)[0]).reshape(-1, 3)
        np.testing.assert_allclose(got, reference(), atol=2e-3)  # float32 coordinates of 1024 texels

    rivals: dict[str, Any] = {}
    if scene.xp is np and scene.batch == 1:
        rivals["numpy"] = lambda: reference().reshape(1, scene.side, scene.side, 3)
    if torch is not None:
        rivals["torch"] = torch_rivals.texture_sample(torch, texture, uv)
    return Case(
        f"texture_sample 1024² at {size(scene)}",
        lambda: kernels.texture_sample(texture, uv),
        check,
        byte_count(texture, uv) + uv.size // 2 * 12,
        rivals=rivals,
    )


def _vertex_normals(scene: Scene) -> Case:
    torch = torch_rivals.find_torch(scene.xp)
    around = kernels.make_vertex_triangles(scene.triangles, scene.vertices.shape[1])

    def reference() -> Any:
        return vertex_normals_reference(first64(scene.vertices), host(scene.triangles))

    def check() -> None:
        got = kernels.vertex_normals(scene.vertices, scene.triangles, around)
        np.testing.assert_allclose(host(got[0]), reference(), atol=1e-4)

    moved = byte_count(scene.vertices, scene.vertices, scene.triangles, around.incident, around.offsets)
    rivals: dict[str, Any] = {}
    if scene.xp is np and scene.batch == 1:
        rivals["numpy"] = lambda: reference()[None]
    if torch is not None:
        rivals["torch"] = torch_rivals.vertex_normals(torch, scene.vertices, scene.triangles)
    return Case(
        f"vertex_normals {scene.batch} × {scene.vertices.shape[1]} vertices",
        lambda: kernels.vertex_normals(scene.vertices, scene.triangles, around),
        check,
        moved,
        rivals=rivals,
    )


def _uv_projection(scene: Scene, normals: Any) -> Case:
    depth_map = kernels.depth_map(scene.vertices, scene.triangles, scene.camera, 512, 512)
    surface = kernels.ProjectionSurface(scene.texels, scene.vertices, normals, scene.triangles)

    def call() -> kernels.UvProjection:
        return kernels.uv_projection(scene.photo, surface, scene.camera, depth_map)

    result = call()

    def check() -> None:
        points = kernels.pinhole_points(scene.vertices, normals, scene.camera)
        at = first64(scene.texels.gather(points, scene.triangles))
        inside = host(scene.texels.triangle_id) >= 0
        code = host(scene.photo[0]) / 255
        linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
        colour, weight = uv_projection_reference(
            linear, at[inside], first64(depth_map), ProjectionWeighting()
        )
        got = host(result.weight[0])[inside]
        assert (np.abs(got - weight) > 1e-3).mean() < 2e-3
        both = (weight > 0) & (got > 0)
        assert np.abs(host(result.colour[0])[inside][both] - colour[both]).max() < 5e-3

    moved = byte_count(
        scene.texels.triangle_id,
        scene.texels.barycentric,
        scene.photo,
        depth_map,
        result.colour,
        result.weight,
    )
    return Case(
        f"uv_projection {scene.batch} × 1024²", call, check, moved, 25.0 if scene.batch == 1 else None
    )


def _poisson_blend(scene: Scene) -> Case:
    side, xp = 512, scene.xp
    uv, uv_triangles, triangles = (host(a) for a in (scene.uv, scene.uv_triangles, scene.triangles))
    texels = kernels.make_texel_map(uv, uv_triangles, side)
    links = kernels.seam_links(uv, uv_triangles, triangles, texels)
    domain = kernels.make_poisson_domain(texels.triangle_id >= 0, links)
    on_device = domain.to_device(xp)
    y, x = np.mgrid[:side, :side] / side
    shape = (scene.batch, side, side, 3)
    foreground = xp.asarray(np.broadcast_to(np.stack([x, y, x * y], -1), shape).astype(np.float32))
    background = xp.full(shape, 0.3, np.float32)
    weight = xp.asarray(
        np.broadcast_to(np.clip(4 - 16 * np.abs(x - 0.5), 0, 1), shape[:3]).astype(np.float32)
    )

    def call() -> Any:
        return kernels.poisson_blend(foreground, background, weight, on_device)

    result = call()

    def check() -> None:
        expected = poisson_blend_reference(first64(foreground), first64(background), first64(weight), domain)
        assert np.abs(host(result[0]) - expected).max() < 0.02

    return Case(
        f"poisson_blend {scene.batch} × {side}²",
        call,
        check,
        byte_count(foreground, background, weight, result),
        20.0 if scene.batch == 1 else None,
    )
