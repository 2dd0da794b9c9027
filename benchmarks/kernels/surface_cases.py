"""Surfaces: shading, normals and displacement, with their gradients."""

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
from facewright_kernels.displace import (
    detail_normals_reference,
    displace_reference,
    texel_spans,
)
from facewright_kernels.sh_shading import sh_shading_reference, sh_shading_vjp_reference
from facewright_kernels.vertex_normals import vertex_normals_reference, vertex_normals_vjp_reference


def make_surface_cases(scene: Scene) -> list[LazyCase]:
    """Cases on one scene."""
    per_texel = f"light per texel, {scene.images}"
    builders: dict[str, Callable[[Scene], Case]] = {
        f"sh_shading {scene.images}": _sh_shading,
        f"sh_shading {per_texel}": _sh_shading_per_texel,
        f"sh_shading_vjp {scene.images}": _sh_shading_vjp,
        f"sh_shading_vjp {per_texel}": _sh_shading_vjp_per_texel,
        f"vertex_normals {scene.meshes}": _vertex_normals,
        f"vertex_normals_vjp {scene.meshes}": _vertex_normals_vjp,
        f"displace {scene.textures}": _displace,
        f"detail_normals {scene.textures}": _detail_normals,
    }
    return [LazyCase(name, partial(build, scene)) for name, build in builders.items()]


def _sh_shading(scene: Scene) -> Case:
    normals, light = scene.normals_at_pixels, scene.noise(1, scene.batch, 9, 3)

    def reference() -> Any:
        unit = first64(normals)
        return sh_shading_reference(unit / np.linalg.norm(unit, axis=-1, keepdims=True), first64(light))

    def call() -> Any:
        return kernels.sh_shading(normals, light)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(normals, normals),
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.forward(torch, programs.shade(torch), (normals, light)),
        ),
    )


def _pixels_with_lights(scene: Scene) -> tuple[Any, Any, Any]:
    """Normals, one light for each, and gradients of the shading."""
    shape = (scene.batch, scene.side, scene.side)
    return scene.noise(8, *shape, 3), scene.noise(10, *shape, 9, 3), scene.noise(9, *shape, 3)


def _checked_pixels(scene: Scene) -> tuple[tuple[int, int], ...]:
    return (0, 0), (scene.side // 2, scene.side - 1), (scene.side - 1, scene.side // 3)


def _sh_shading_per_texel(scene: Scene) -> Case:
    normals, light, _ = _pixels_with_lights(scene)

    def check() -> None:
        got = kernels.sh_shading(normals, light)[0]
        for at in _checked_pixels(scene):
            unit = first64(normals)[at]
            unit /= np.linalg.norm(unit)
            assert_close(got[at], sh_shading_reference(unit, first64(light)[at]))

    return Case(
        lambda: kernels.sh_shading(normals, light),
        check,
        byte_count(normals, normals, light),
        rivals=rivals(
            scene,
            None,
            lambda torch: programs.forward(torch, programs.shade(torch), (normals, light)),
        ),
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
        assert_close(got.normals[0].reshape(-1, 3), of_normals)
        assert_close(got.coefficients[0], of_light)

    return Case(
        lambda: kernels.sh_shading_vjp(normals, light, grad),
        check,
        byte_count(normals, grad, normals),
        rivals=rivals(
            scene,
            lambda: reference()[1][None],
            lambda torch: programs.vjp(torch, programs.shade(torch), (normals, light), grad, 1),
        ),
        result=lambda gradients: gradients.coefficients,
    )


def _sh_shading_vjp_per_texel(scene: Scene) -> Case:
    normals, light, grad = _pixels_with_lights(scene)

    def check() -> None:
        got = kernels.sh_shading_vjp(normals, light, grad)
        for row, column in _checked_pixels(scene):
            at = np.s_[row : row + 1, column]
            of_normal, of_light = sh_shading_vjp_reference(
                first64(normals)[at], first64(light)[row, column], first64(grad)[at]
            )
            assert_close(got.normals[0][at], of_normal)
            assert_close(got.coefficients[0][row, column], of_light)

    return Case(
        lambda: kernels.sh_shading_vjp(normals, light, grad),
        check,
        byte_count(normals, grad, normals, light, light),
        rivals=rivals(
            scene,
            None,
            lambda torch: programs.vjp(torch, programs.shade(torch), (normals, light), grad, 1),
        ),
        result=lambda gradients: gradients.coefficients,
    )


def _vertex_normals(scene: Scene) -> Case:
    around = kernels.make_vertex_triangles(scene.triangles, scene.vertices.shape[1])

    def reference() -> Any:
        return vertex_normals_reference(first64(scene.vertices), host(scene.triangles))

    def call() -> Any:
        return kernels.vertex_normals(scene.vertices, scene.triangles, around)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(scene.vertices, scene.vertices, scene.triangles, around.incident, around.offsets),
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.forward(
                torch, programs.vertex_normals(torch, scene.triangles), (scene.vertices,)
            ),
        ),
    )


def _vertex_normals_vjp(scene: Scene) -> Case:
    around = kernels.make_vertex_triangles(scene.triangles, scene.vertices.shape[1])
    grad = scene.noise(11, *scene.vertices.shape)

    def reference() -> Any:
        return vertex_normals_vjp_reference(first64(scene.vertices), host(scene.triangles), first64(grad))

    def call() -> Any:
        return kernels.vertex_normals_vjp(scene.vertices, scene.triangles, grad, around)

    return Case(
        call,
        lambda: assert_close(call()[0], reference(), 1e-3),
        byte_count(scene.vertices, grad, grad, scene.triangles, around.incident, around.offsets),
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.vjp(
                torch, programs.vertex_normals(torch, scene.triangles), (scene.vertices,), grad
            ),
        ),
        rival_error=2e-2,  # slivers at the poles have huge gradients with few digits
    )


def _texel_surface(scene: Scene) -> tuple[Any, Any, Any, Any]:
    """Positions, normals and a displacement ``[B, S, S]`` of the texels, and gradients ``[B, S, S, 3]``."""
    positions = scene.texels.gather(scene.vertices, scene.triangles)
    normals = scene.texels.gather(scene.normals, scene.triangles)
    amount = 1e-4 * scene.noise(17, *positions.shape[:3])
    return positions, normals, amount, scene.noise(18, *positions.shape)


def _displace(scene: Scene) -> Case:
    positions, normals, amount, _ = _texel_surface(scene)

    def check() -> None:
        expected = displace_reference(*(first64(array) for array in (positions, normals, amount)))
        got = kernels.displace(positions, normals, amount)[0]
        np.testing.assert_allclose(host(got), expected, atol=1e-7)

    def with_torch(torch: Any) -> Any:
        return programs.forward(torch, _displaced, (positions, normals, amount))

    return Case(
        lambda: kernels.displace(positions, normals, amount),
        check,
        byte_count(positions, normals, amount, positions),
        rivals=rivals(scene, lambda: _displaced(positions, normals, amount), with_torch),
    )


def _displaced(positions: Any, normals: Any, amount: Any) -> Any:
    return positions + amount[..., None] * normals


def _detail_surfaces(scene: Scene) -> tuple[tuple[Any, Any, Any], Any, Any]:
    """Displaced surface, coarse surface and its normals; gradients; which texels show a surface."""
    positions, normals, amount, grad = _texel_surface(scene)
    surfaces = kernels.displace(positions, normals, amount), positions, normals
    return surfaces, grad, host(scene.texels.triangle_id) >= 0


def _torch_detail_normals(torch: Any, scene: Scene, inside: Any) -> programs.Program:
    spans = [(scene.xp.asarray(start), scene.xp.asarray(end)) for start, end in texel_spans(inside)]
    return programs.detail_normals(torch, spans, scene.xp.asarray(inside))


def _detail_normals(scene: Scene) -> Case:
    surfaces, _, inside = _detail_surfaces(scene)

    def reference() -> Any:
        displaced, positions, normals = (first64(surface) for surface in surfaces)
        return detail_normals_reference(displaced, positions, normals, inside)

    def call() -> Any:
        return kernels.detail_normals(*surfaces, scene.texels)

    def with_torch(torch: Any) -> Any:
        return programs.forward(torch, _torch_detail_normals(torch, scene, inside), surfaces)

    return Case(
        call,
        lambda: assert_close(call()[0], reference(), 1e-3),
        byte_count(*surfaces, scene.texels.triangle_id, surfaces[0]),
        rivals=rivals(scene, lambda: reference()[None], with_torch),
        rival_error=0.05,  # of a unit normal, where a texel is almost a line
    )
