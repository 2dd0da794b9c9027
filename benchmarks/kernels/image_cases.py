"""Images: the composition of textures, and faces over photos with their gradients."""

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
from facewright_kernels.photo_composite import (
    face_layer_reference,
    face_layer_vjp_reference,
    photo_composite_reference,
    photo_composite_vjp_reference,
)
from facewright_kernels.texture_composite import texture_composite_reference


def make_image_cases(scene: Scene) -> list[LazyCase]:
    """Cases on one scene."""
    builders: dict[str, Callable[[Scene], Case]] = {
        f"texture_composite {scene.textures}": _texture_composite,
        f"face_layer {scene.images}": _face_layer,
        f"face_layer_vjp {scene.images}": _face_layer_vjp,
        f"photo_composite {scene.images}": _photo_composite,
        f"photo_composite_vjp {scene.images}": _photo_composite_vjp,
    }
    return [LazyCase(name, partial(build, scene)) for name, build in builders.items()]


def _texture_composite(scene: Scene) -> Case:
    xp, batch, side, texels = scene.xp, scene.batch, scene.texture_side, scene.texels
    random = np.random.default_rng(20)
    mirrored = scene.vertices * xp.asarray([-1, 1, 1], np.float32)
    points = [
        xp.ascontiguousarray(kernels.pinhole_points(vertices, scene.normals, scene.camera)[..., :3])
        for vertices in (scene.vertices, mirrored)
    ]
    surface = kernels.CompositeSurface(texels.triangle_id, texels.barycentric, scene.triangles, *points)
    layers = xp.asarray(random.random((batch, side // 4, side // 4, 16), np.float32) * np.float32(0.4))
    detail = xp.asarray(random.integers(0, 256, (side, side, 2)).astype(np.uint8))

    def call() -> Any:
        return kernels.texture_composite(surface, scene.photo, layers, detail)

    def check() -> None:
        head = (host(array) for array in (texels.triangle_id, texels.barycentric, scene.triangles))
        first = kernels.CompositeSurface(*head, *(host(of_all[0]) for of_all in points))
        given = (host(array) for array in (scene.photo[0], layers[0], detail))
        linear = texture_composite_reference(first, *given).clip(0, 1)
        curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
        expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, curve)
        # Rounding, the table's half step near black, and float32 coordinates in a photo of noise.
        assert np.abs(host(call()[0]) - expected).max() < 2

    return Case(
        call,
        check,
        byte_count(texels.triangle_id, texels.barycentric, scene.photo, layers, detail, call()),
    )


def _light(scene: Scene) -> tuple[Any, Any]:
    """Albedo and shading ``[B, H, W, 3]``, from dark to overexposed."""
    shape = (scene.batch, scene.side, scene.side, 3)
    return abs(scene.noise(21, *shape)), abs(scene.noise(22, *shape))


def _face_layer(scene: Scene) -> Case:
    albedo, shading = _light(scene)
    ids = scene.raster.triangle_id

    def reference() -> Any:
        return face_layer_reference(first64(albedo), first64(shading), host(ids[0]))

    def call() -> Any:
        return kernels.face_layer(albedo, shading, ids)

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(albedo, shading, ids, call()),
        rivals=rivals(
            scene,
            lambda: reference()[None],
            lambda torch: programs.forward(torch, programs.face_layer(torch, ids), (albedo, shading)),
        ),
    )


def _face_layer_vjp(scene: Scene) -> Case:
    albedo, shading = _light(scene)
    ids = scene.raster.triangle_id
    grad = scene.noise(23, *ids.shape, 4)

    def reference() -> Any:
        return face_layer_vjp_reference(first64(albedo), first64(shading), host(ids[0]), first64(grad))

    def check() -> None:
        got = kernels.face_layer_vjp(albedo, shading, ids, grad)
        of_albedo, of_shading = reference()
        assert_close(got.albedo[0], of_albedo)
        assert_close(got.shading[0], of_shading)

    return Case(
        lambda: kernels.face_layer_vjp(albedo, shading, ids, grad),
        check,
        byte_count(albedo, shading, ids, grad, albedo, shading),
        rivals=rivals(
            scene,
            lambda: reference()[0][None],
            lambda torch: programs.vjp(torch, programs.face_layer(torch, ids), (albedo, shading), grad),
        ),
        result=lambda gradients: gradients.albedo,
    )


def _over_photo(scene: Scene) -> tuple[Any, Any, Any, Any]:
    """Layer ``[B, H, W, 4]``, photo ``[B, 3, H, W]``, face mask ``[B, H, W]``, gradients of the image."""
    batch, side = scene.batch, scene.side
    layer = scene.noise(24, batch, side, side, 4)
    photo, grad = (scene.noise(seed, batch, 3, side, side) for seed in (25, 26))
    return layer, photo, abs(scene.noise(27, batch, side, side)).clip(0, 1), grad


def _photo_composite(scene: Scene) -> Case:
    layer, photo, mask, _ = _over_photo(scene)

    def reference() -> Any:
        return photo_composite_reference(*(host(a[:1]).astype(np.float64) for a in (layer, photo, mask)))

    def call() -> Any:
        return kernels.photo_composite(layer, photo, mask)

    return Case(
        call,
        lambda: assert_close(call()[:1], reference()),
        byte_count(layer, photo, mask, photo),
        rivals=rivals(
            scene,
            reference,
            lambda torch: programs.forward(torch, programs.photo_composite(torch, photo, mask), (layer,)),
        ),
    )


def _photo_composite_vjp(scene: Scene) -> Case:
    layer, photo, mask, grad = _over_photo(scene)

    def reference() -> Any:
        return photo_composite_vjp_reference(*(host(a[:1]).astype(np.float64) for a in (photo, mask, grad)))

    def call() -> Any:
        return kernels.photo_composite_vjp(photo, mask, grad)

    return Case(
        call,
        lambda: assert_close(call()[:1], reference()),
        byte_count(photo, mask, grad, layer),
        rivals=rivals(
            scene,
            reference,
            lambda torch: programs.vjp(torch, programs.photo_composite(torch, photo, mask), (layer,), grad),
        ),
    )
