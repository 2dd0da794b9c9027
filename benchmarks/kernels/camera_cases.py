"""The camera: clip positions, pixels, depth maps and silhouettes."""

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
from facewright_kernels.pinhole import (
    pinhole_clip_positions_reference,
    pinhole_clip_positions_vjp_reference,
    pinhole_points_reference,
)
from facewright_kernels.rasterize import rasterize_reference
from facewright_kernels.silhouette_weight import silhouette_weight_reference


def make_camera_cases(scene: Scene) -> list[LazyCase]:
    """Cases on one scene."""
    maps = f"{scene.batch} × {scene.texture_side // 2}²"
    return [
        LazyCase(f"pinhole_clip_positions {scene.meshes}", partial(_clip_positions, scene)),
        LazyCase(f"pinhole_clip_positions_vjp {scene.meshes}", partial(_clip_positions_vjp, scene)),
        LazyCase(f"pinhole_points {scene.meshes}", partial(_points, scene)),
        LazyCase(f"depth_map {len(scene.triangles)} triangles, {maps}", partial(_depth_map, scene)),
        LazyCase(f"silhouette_weight {maps}", partial(_silhouette_weight, scene)),
    ]


def _matrices(scene: Scene) -> tuple[Any, Any]:
    return first64(scene.camera.intrinsics), first64(scene.camera.head_to_camera)


def _tensors(scene: Scene) -> tuple[Any, Any, Any]:
    return scene.vertices, scene.camera.intrinsics, scene.camera.head_to_camera


def _clip_positions(scene: Scene) -> Case:
    def reference() -> Any:
        return pinhole_clip_positions_reference(first64(scene.vertices), scene.camera, *_matrices(scene))

    def call() -> Any:
        return kernels.pinhole_clip_positions(scene.vertices, scene.camera)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(scene.vertices, scene.clip),
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.forward(
                torch, programs.clip_positions(torch, scene.camera), _tensors(scene)
            ),
        ),
    )


def _clip_positions_vjp(scene: Scene) -> Case:
    grad = scene.noise(12, *scene.vertices.shape[:2], 4)

    def reference() -> Any:
        return pinhole_clip_positions_vjp_reference(
            first64(scene.vertices), scene.camera, *_matrices(scene), first64(grad)
        )

    return Case(
        lambda: kernels.pinhole_clip_positions_vjp(scene.vertices, scene.camera, grad),
        lambda: _check_gradients(
            kernels.pinhole_clip_positions_vjp(scene.vertices, scene.camera, grad), reference()
        ),
        byte_count(scene.vertices, grad, scene.vertices),
        rivals=_gradient_rivals(
            scene, reference, lambda torch: programs.clip_positions(torch, scene.camera), grad
        ),
        result=lambda gradients: gradients.vertices,
    )


def _points(scene: Scene) -> Case:
    def reference() -> Any:
        return pinhole_points_reference(first64(scene.vertices), first64(scene.normals), *_matrices(scene))

    def call() -> Any:
        return kernels.pinhole_points(scene.vertices, scene.normals, scene.camera)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(scene.vertices, scene.normals, call()),
        rivals=rivals(scene, lambda: reference()[None], None),
    )


def _check_gradients(got: kernels.PinholeGradients, expected: tuple[Any, Any, Any]) -> None:
    for one, wanted in zip((got.vertices, got.intrinsics, got.head_to_camera), expected, strict=True):
        assert_close(one[0], wanted)


def _gradient_rivals(
    scene: Scene, reference: Callable[[], Any], program: Callable[[Any], programs.Program], grad: Any
) -> dict[str, Callable[[], Any]]:
    return rivals(
        scene,
        lambda: reference()[0][None],
        lambda torch: programs.vjp(torch, program(torch), _tensors(scene), grad),
    )


def _depth_map(scene: Scene) -> Case:
    mesh, camera, side = (scene.vertices, scene.triangles), scene.camera, scene.texture_side // 2

    def check() -> None:
        got = host(kernels.depth_map(*mesh, camera, 64, 64)[0])
        clip = pinhole_clip_positions_reference(first64(scene.vertices), camera, *_matrices(scene))
        ids, _, ndc = rasterize_reference(clip, host(scene.triangles), 64, 64)
        both = np.isfinite(got) & (ids >= 0)
        assert (np.isfinite(got) != (ids >= 0)).mean() < 0.01
        depth = 2 * camera.near * camera.far / (camera.far + camera.near - ndc * (camera.far - camera.near))
        assert (np.abs(got - depth)[both] > 1e-4).mean() < 0.01

    return Case(
        lambda: kernels.depth_map(*mesh, camera, side, side),
        check,
        byte_count(*mesh, scene.depth_map),
    )


def _silhouette_weight(scene: Scene) -> Case:
    depth_map = scene.depth_map

    def check() -> None:
        small = kernels.depth_map(scene.vertices, scene.triangles, scene.camera, 64, 64)
        got = host(kernels.silhouette_weight(small, jump=0.01, radius=4)[0])
        np.testing.assert_allclose(got, silhouette_weight_reference(first64(small), 0.01, 4), atol=1e-4)

    return Case(lambda: kernels.silhouette_weight(depth_map), check, byte_count(depth_map, depth_map))
