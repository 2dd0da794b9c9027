"""The optimiser's step, displacement, UV maps at vertices, and the gradients of shading, normals, camera,
texture lookup and projection.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels import torch_gradients, torch_rivals
from benchmarks.kernels.case import Case, byte_count, first64, host
from benchmarks.kernels.rasterizer_cases import size
from benchmarks.kernels.scene import Scene
from facewright_kernels.adam_step import adam_step_reference
from facewright_kernels.displace import (
    detail_normals_reference,
    detail_normals_vjp_reference,
    texel_spans,
)
from facewright_kernels.pinhole import pinhole_clip_positions_vjp_reference
from facewright_kernels.sh_shading import sh_shading_vjp_reference
from facewright_kernels.texture_sample import (
    texture_sample_mipmap_vjp_reference,
    texture_sample_reference,
    texture_sample_vjp_reference,
)
from facewright_kernels.uv_gather import uv_gather_reference, uv_gather_vjp_reference
from facewright_kernels.uv_projection import uv_projection_vjp_reference
from facewright_kernels.vertex_normals import vertex_normals_vjp_reference


def make_gradient_cases(scene: Scene) -> list[Case]:
    """All cases of this module on one scene."""
    clip = kernels.pinhole_clip_positions(scene.vertices, scene.camera)
    normals = kernels.vertex_normals(scene.vertices, scene.triangles)
    raster = kernels.rasterize(clip, scene.triangles, scene.side, scene.side)
    return [
        _adam_step(scene),
        _sh_shading_vjp(scene),
        _sh_shading_vjp_per_texel(scene),
        _vertex_normals_vjp(scene),
        _pinhole_vjp(scene),
        *_uv_gather(scene),
        *_texture_sample(scene, raster),
        *_detail_normals(scene, normals),
        _uv_projection_vjp(scene, normals),
    ]


def _rivals(scene: Scene, numpy: Any, torch_program: Any) -> dict[str, Any]:
    """``numpy`` for one image on the CPU; ``torch_program(torch)`` where torch is installed."""
    rivals: dict[str, Any] = {}
    if numpy is not None and scene.xp is np and scene.batch == 1:
        rivals["numpy"] = numpy
    torch = torch_rivals.find_torch(scene.xp)
    if torch_program is not None and torch is not None:
        rivals["torch"] = torch_program(torch)
    return rivals


def _close(got: Any, expected: Any, relative: float = 1e-4) -> None:
    """By the size of the whole gradient: one texel may round into the cell beside it."""
    error = np.linalg.norm(host(got) - expected)
    assert error < relative * np.linalg.norm(expected), f"{error} of {np.linalg.norm(expected)}"


def _adam_step(scene: Scene) -> Case:
    """A rate too small to move the parameter: every run of every rival finds the same one."""
    values, rate = 1 << 20, 1e-30
    parameter, gradient = (scene.noise(seed, scene.batch, values) for seed in (1, 2))
    first, second = (scene.xp.zeros_like(parameter) for _ in range(2))

    def call() -> Any:
        kernels.adam_step(parameter, gradient, first, second, 1, learning_rate=rate)
        return parameter

    def check() -> None:
        moved, m, v = (scene.noise(seed, scene.batch, values) for seed in (1, 3, 4))
        v *= v
        expected = adam_step_reference(first64(moved), first64(gradient), first64(m), first64(v), 7, 0.01)
        kernels.adam_step(moved, gradient, m, v, 7, learning_rate=0.01)
        for got, wanted in zip((moved, m, v), expected, strict=True):
            _close(got[0], wanted, 1e-5)

    def numpy() -> Any:
        m = np.float32(0.9) * first + np.float32(0.1) * gradient
        v = np.float32(0.999) * second + np.float32(0.001) * gradient * gradient
        unbiased = np.sqrt(v / np.float32(0.001)) + np.float32(1e-8)
        return parameter - np.float32(rate) * (m / np.float32(0.1)) / unbiased

    return Case(
        f"adam_step {scene.batch} × 2²⁰ values",
        call,
        check,
        7 * parameter.nbytes,
        rivals=_rivals(scene, numpy, lambda torch: torch_gradients.adam(torch, parameter, gradient, rate)),
    )


def _sh_shading_vjp(scene: Scene) -> Case:
    normals, grad = (scene.noise(seed, scene.batch, scene.side, scene.side, 3) for seed in (5, 6))
    light = scene.noise(7, scene.batch, 9, 3)

    def reference() -> Any:
        return sh_shading_vjp_reference(
            first64(normals).reshape(-1, 3), first64(light), first64(grad).reshape(-1, 3)
        )

    def check() -> None:
        got = kernels.sh_shading_vjp(normals, light, grad)
        of_normals, of_light = reference()
        _close(got.normals[0].reshape(-1, 3), of_normals)
        _close(got.coefficients[0], of_light)

    return Case(
        f"sh_shading_vjp {size(scene)}",
        lambda: kernels.sh_shading_vjp(normals, light, grad),
        check,
        byte_count(normals, grad, normals),
        rivals=_rivals(
            scene,
            lambda: reference()[1][None],
            lambda torch: torch_gradients.vjp(torch, torch_gradients.shade, (normals, light), grad, 1),
        ),
        result=lambda gradients: gradients.coefficients,
    )


def _sh_shading_vjp_per_texel(scene: Scene) -> Case:
    shape = (scene.batch, scene.side, scene.side)
    normals, grad, light = scene.noise(8, *shape, 3), scene.noise(9, *shape, 3), scene.noise(10, *shape, 9, 3)

    def check() -> None:
        got = kernels.sh_shading_vjp(normals, light, grad)
        for row, column in ((0, 0), (scene.side // 2, scene.side - 1)):
            at = np.s_[row : row + 1, column]
            of_normal, of_light = sh_shading_vjp_reference(
                first64(normals)[at], first64(light)[row, column], first64(grad)[at]
            )
            _close(got.normals[0][at], of_normal)
            _close(got.coefficients[0][row, column], of_light)

    return Case(
        f"sh_shading_vjp light per texel, {size(scene)}",
        lambda: kernels.sh_shading_vjp(normals, light, grad),
        check,
        byte_count(normals, grad, normals, light, light),
        rivals=_rivals(
            scene,
            None,
            lambda torch: torch_gradients.vjp(torch, torch_gradients.shade, (normals, light), grad, 1),
        ),
        result=lambda gradients: gradients.coefficients,
    )


def _vertex_normals_vjp(scene: Scene) -> Case:
    around = kernels.make_vertex_triangles(scene.triangles, scene.vertices.shape[1])
    grad = scene.noise(11, *scene.vertices.shape)

    def reference() -> Any:
        return vertex_normals_vjp_reference(first64(scene.vertices), host(scene.triangles), first64(grad))

    def call() -> Any:
        return kernels.vertex_normals_vjp(scene.vertices, scene.triangles, grad, around)

    program = torch_gradients.vertex_normals(scene.triangles)
    return Case(
        f"vertex_normals_vjp {scene.batch} × {scene.vertices.shape[1]} vertices",
        call,
        lambda: _close(call()[0], reference(), 1e-3),
        byte_count(scene.vertices, grad, grad, scene.triangles, around.incident, around.offsets),
        rivals=_rivals(
            scene,
            lambda: reference()[None],
            lambda torch: torch_gradients.vjp(torch, program, (scene.vertices,), grad),
        ),
        rival_error=2e-2,  # slivers at the poles have huge gradients with few digits
    )


def _pinhole_vjp(scene: Scene) -> Case:
    camera = scene.camera
    grad = scene.noise(12, *scene.vertices.shape[:2], 4)

    def reference() -> Any:
        matrices = first64(camera.intrinsics), first64(camera.head_to_camera)
        return pinhole_clip_positions_vjp_reference(first64(scene.vertices), camera, *matrices, first64(grad))

    def check() -> None:
        got = kernels.pinhole_clip_positions_vjp(scene.vertices, camera, grad)
        for one, expected in zip(
            (got.vertices, got.intrinsics, got.head_to_camera), reference(), strict=True
        ):
            _close(one[0], expected)

    inputs = scene.vertices, camera.intrinsics, camera.head_to_camera
    program = torch_gradients.clip_positions(camera.image_width, camera.near, camera.far)
    return Case(
        f"pinhole_clip_positions_vjp {scene.batch} × {scene.vertices.shape[1]} vertices",
        lambda: kernels.pinhole_clip_positions_vjp(scene.vertices, camera, grad),
        check,
        byte_count(scene.vertices, grad, scene.vertices),
        rivals=_rivals(
            scene,
            lambda: reference()[0][None],
            lambda torch: torch_gradients.vjp(torch, program, inputs, grad),
        ),
        result=lambda gradients: gradients.vertices,
    )


def _uv_gather(scene: Scene) -> list[Case]:
    side = 256
    uv_map, grad = scene.noise(13, scene.batch, side, side, 6), scene.noise(14, scene.batch, len(scene.uv), 6)
    readers = kernels.make_texel_readers(scene.uv, side)

    def check() -> None:
        got = kernels.uv_gather(uv_map, scene.uv)[0]
        _close(got, uv_gather_reference(first64(uv_map), host(scene.uv).astype(np.float64)))

    def reference() -> Any:
        return uv_gather_vjp_reference(side, host(scene.uv).astype(np.float64), first64(grad))

    def call_vjp() -> Any:
        return kernels.uv_gather_vjp(uv_map, scene.uv, grad, readers)

    def read_by_torch(torch: Any, texture: Any) -> Any:
        grid = torch.from_dlpack(scene.uv)[None, None].expand(scene.batch, -1, -1, -1)
        return torch_gradients.sample(torch, texture, grid)[:, 0]

    def torch_forward(torch: Any) -> Any:
        texture = torch.from_dlpack(uv_map)
        return lambda: read_by_torch(torch, texture)

    return [
        Case(
            f"uv_gather {scene.batch} × {len(scene.uv)} vertices, 6 channels of 256²",
            lambda: kernels.uv_gather(uv_map, scene.uv),
            check,
            2 * byte_count(grad) + byte_count(scene.uv),
            rivals=_rivals(scene, None, torch_forward),
        ),
        Case(
            f"uv_gather_vjp {scene.batch} × {len(scene.uv)} vertices, 6 channels of 256²",
            call_vjp,
            lambda: _close(call_vjp()[0], reference()),
            byte_count(grad, readers.offsets, readers.vertices, readers.weights, uv_map),
            rivals=_rivals(
                scene,
                lambda: reference()[None],
                lambda torch: torch_gradients.vjp(torch, read_by_torch, (uv_map,), grad),
            ),
        ),
    ]


def _texture_sample(scene: Scene, raster: kernels.Raster) -> list[Case]:
    texture = scene.noise(15, scene.batch, 1024, 1024, 3)
    half = texture.astype(np.float16)
    corners = scene.xp.ascontiguousarray(scene.xp.broadcast_to(scene.uv, (scene.batch, *scene.uv.shape)))
    uv = kernels.interpolate(corners, scene.uv_triangles, raster)
    grad = scene.noise(16, *uv.shape[:3], 3) * (raster.triangle_id >= 0)[..., None]
    level = scene.xp.full(uv.shape[:3], 0.5, np.float32)
    pyramid = kernels.build_mip_pyramid(texture)

    def check_half() -> None:
        got = host(kernels.texture_sample(half, uv)[0]).reshape(-1, 3)
        _close(got, texture_sample_reference(first64(half), first64(uv).reshape(-1, 2)), 1e-3)

    def reference() -> Any:
        return texture_sample_vjp_reference(
            first64(texture), first64(uv).reshape(-1, 2), first64(grad).reshape(-1, 3)
        )

    def check() -> None:
        got = kernels.texture_sample_vjp(texture, uv, grad)
        of_texture, of_uv = reference()
        _close(got.texture[0], of_texture, 1e-3)
        _close(got.uv[0].reshape(-1, 2), of_uv, 0.05)  # a coordinate may round into the cell beside it

    def reference_mipmap() -> Any:
        lookups = first64(uv).reshape(-1, 2), first64(level).ravel(), first64(grad).reshape(-1, 3)
        return texture_sample_mipmap_vjp_reference(first64(texture), *lookups)[0]

    def check_mipmap() -> None:
        got = kernels.texture_sample_mipmap_vjp(pyramid, uv, grad, level=level)
        _close(got.texture[0], reference_mipmap(), 1e-3)

    moved = byte_count(texture, uv, grad, texture, uv)
    name = f"1024² at {size(scene)}"
    return [
        Case(
            f"texture_sample f16 {name}",
            lambda: kernels.texture_sample(half, uv),
            check_half,
            byte_count(half, uv, grad),
        ),
        Case(
            f"texture_sample_vjp {name}",
            lambda: kernels.texture_sample_vjp(texture, uv, grad),
            check,
            moved,
            rivals=_rivals(
                scene,
                lambda: reference()[0][None],
                lambda torch: torch_gradients.vjp(torch, torch_gradients.sample, (texture, uv), grad),
            ),
            result=lambda gradients: gradients.texture,
        ),
        Case(
            f"texture_sample_mipmap_vjp {name}",
            lambda: kernels.texture_sample_mipmap_vjp(pyramid, uv, grad, level=level),
            check_mipmap,
            moved + byte_count(level) + 2 * byte_count(pyramid.texels) - 2 * byte_count(texture),
            rivals=_rivals(scene, lambda: reference_mipmap()[None], None),
            result=lambda gradients: gradients.texture,
        ),
    ]


def _detail_normals(scene: Scene, vertex_normals: Any) -> list[Case]:
    texels, triangles = scene.texels, scene.triangles
    positions = texels.gather(scene.vertices, triangles)
    normals = texels.gather(vertex_normals, triangles)
    amount = 1e-4 * scene.noise(17, *positions.shape[:3])
    grad = scene.noise(18, *positions.shape)
    displaced = kernels.displace(positions, normals, amount)
    surfaces = displaced, positions, normals
    inside = host(texels.triangle_id) >= 0
    spans = [tuple(scene.xp.asarray(at) for at in span) for span in texel_spans(inside)]
    name = f"{scene.batch} × {texels.size}²"

    def check_displaced() -> None:
        expected = first64(positions) + first64(amount)[..., None] * first64(normals)
        np.testing.assert_allclose(host(displaced[0]), expected, atol=1e-7)

    def check() -> None:
        got = kernels.detail_normals(*surfaces, texels)[0]
        expected = detail_normals_reference(first64(displaced), first64(positions), first64(normals), inside)
        _close(got, expected, 1e-3)

    def reference() -> Any:
        return detail_normals_vjp_reference(
            first64(displaced), first64(positions), first64(normals), inside, first64(grad)
        )

    def check_vjp() -> None:
        got = kernels.detail_normals_vjp(*surfaces, texels, grad)
        for one, expected in zip((got.displaced, got.positions, got.normals), reference(), strict=True):
            _close(one[0], expected, 1e-3)

    program = torch_gradients.detail_normals(spans, scene.xp.asarray(inside))

    def torch_forward(torch: Any) -> Any:
        given = [torch.from_dlpack(one) for one in surfaces]
        return lambda: program(torch, *given)

    return [
        Case(
            f"displace {name}",
            lambda: kernels.displace(positions, normals, amount),
            check_displaced,
            byte_count(positions, normals, amount, positions),
            rivals=_rivals(scene, lambda: positions + amount[..., None] * normals, None),
        ),
        Case(
            f"detail_normals {name}",
            lambda: kernels.detail_normals(*surfaces, texels),
            check,
            byte_count(*surfaces, texels.triangle_id, grad),
            rivals=_rivals(scene, None, torch_forward),
            rival_error=0.05,  # of a unit normal, where a texel is almost a line
        ),
        Case(
            f"detail_normals_vjp {name}",
            lambda: kernels.detail_normals_vjp(*surfaces, texels, grad),
            check_vjp,
            byte_count(*surfaces, texels.triangle_id, grad, *surfaces),
            rivals=_rivals(
                scene,
                lambda: reference()[0][None],
                lambda torch: torch_gradients.vjp(torch, program, surfaces, grad),
            ),
            result=lambda gradients: gradients.displaced,
            rival_error=0.05,
        ),
    ]


def _uv_projection_vjp(scene: Scene, normals: Any) -> Case:
    texels, triangles, camera = scene.texels, scene.triangles, scene.camera
    surface = kernels.ProjectionSurface(texels, scene.vertices, normals, triangles)
    depth_map = kernels.depth_map(scene.vertices, triangles, camera, 512, 512)
    image = scene.photo.astype(np.float32) / np.float32(255)
    weight = kernels.uv_projection(image, surface, camera, depth_map).weight
    grad = scene.noise(19, *weight.shape, 3)
    triangle_id = scene.xp.maximum(texels.triangle_id, 0)
    b0, b1 = texels.barycentric[..., 0], texels.barycentric[..., 1]
    shape = triangles[triangle_id].astype(np.int64), scene.xp.stack([b0, b1, 1 - b0 - b1], -1)

    def call() -> Any:
        return kernels.uv_projection_vjp(image, surface, camera, weight, grad)

    def reference() -> Any:
        points = kernels.pinhole_points(scene.vertices, normals, camera)
        seen = host(weight[0]) > 0
        at = first64(texels.gather(points, triangles))[seen]
        return uv_projection_vjp_reference(first64(image), at, first64(grad)[seen])[0]

    program = torch_gradients.project(shape, camera, weight)
    return Case(
        f"uv_projection_vjp {scene.batch} × 1024²",
        call,
        lambda: _close(call().image[0], reference(), 1e-3),
        byte_count(texels.triangle_id, texels.barycentric, image, weight, grad, image),
        rivals=_rivals(
            scene,
            lambda: reference()[None],
            lambda torch: torch_gradients.vjp(torch, program, (image, scene.vertices), grad),
        ),
        result=lambda gradients: gradients.image,
        rival_error=5e-3,
    )
