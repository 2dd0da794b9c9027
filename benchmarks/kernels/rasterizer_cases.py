"""Rasterisation, interpolation, antialiasing and their gradients, beside NumPy, torch and nvdiffrast."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels import rivals as programs
from benchmarks.kernels.case import Case, LazyCase, assert_close, byte_count, first64, host
from benchmarks.kernels.rivals import rivals
from benchmarks.kernels.scene import Scene
from facewright_kernels.antialias import antialias_reference, antialias_vjp_reference
from facewright_kernels.interpolate import interpolate_reference, interpolate_vjp_reference
from facewright_kernels.rasterize import rasterize_reference, rasterize_vjp_reference

Nvdiffrast = kernels.RasterizerBackend | None

#: Pixels on an outline may go either way: benchmarks/kernels/parity.py counts them. An outline is about one
#: pixel in two hundred of these images.
_OUTLINE_OUTLIERS = 1e-3


def make_rasterizer_cases(scene: Scene, nvdiffrast: Nvdiffrast) -> list[LazyCase]:
    """Cases on one scene; nvdiffrast where it is installed."""
    triangles, images = f"{len(scene.triangles)} triangles, {scene.images}", f"3 channels, {scene.images}"
    builders: dict[str, Callable[[Scene, Nvdiffrast], Case]] = {
        f"rasterize_vjp {triangles}": _rasterize_vjp,
        f"interpolate {images}": _interpolate,
        f"interpolate_vjp {images}": _interpolate_vjp,
        f"antialias {images}": _antialias,
        f"antialias_vjp {images}": _antialias_vjp,
    }
    others = [LazyCase(name, partial(build, scene, nvdiffrast)) for name, build in builders.items()]
    return [rasterize_case(scene, nvdiffrast), *others]


def rasterize_case(scene: Scene, nvdiffrast: Nvdiffrast) -> LazyCase:
    """Rasterisation alone, at the scene's side."""
    name = f"rasterize {len(scene.triangles)} triangles, {scene.images}"
    return LazyCase(name, partial(_rasterize, scene, nvdiffrast))


def _beside(nvdiffrast: Nvdiffrast, call: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    return {} if nvdiffrast is None else {"nvdiffrast": partial(call, nvdiffrast)}


def _rasterize(scene: Scene, nvdiffrast: Nvdiffrast) -> Case:
    mesh, side = (scene.clip, scene.triangles), scene.side

    def check() -> None:
        small = kernels.rasterize(*mesh, 64, 64)
        expected, _, _ = rasterize_reference(first64(scene.clip), host(scene.triangles), 64, 64)
        assert (host(small.triangle_id)[0] == expected).mean() > 0.99

    result = scene.raster
    return Case(
        lambda: kernels.rasterize(*mesh, side, side),
        check,
        byte_count(*mesh, result.triangle_id, result.barycentric, result.depth),
        4.0 if scene.batch == 1 and side == 512 else None,
        _beside(nvdiffrast, lambda backend: backend.rasterize(*mesh, side, side).depth),
        lambda raster: raster.depth,
        rival_outliers=_OUTLINE_OUTLIERS,
    )


def _rasterize_vjp(scene: Scene, nvdiffrast: Nvdiffrast) -> Case:
    raster = scene.raster
    grad = scene.noise(4, *raster.barycentric.shape)
    given = scene.clip, scene.triangles, raster, grad

    def reference() -> Any:
        ids = host(raster.triangle_id[0])
        return rasterize_vjp_reference(
            first64(scene.clip), host(scene.triangles), ids, first64(grad), np.zeros(ids.shape)
        )

    def call() -> Any:
        return kernels.rasterize_vjp(*given)

    def with_torch(torch: Any) -> Any:
        program = programs.barycentrics(torch, scene.triangles, raster)
        return programs.vjp(torch, program, (scene.clip,), grad[raster.triangle_id >= 0])

    return Case(
        call,
        lambda: assert_close(call()[0], reference()),
        byte_count(raster.triangle_id, grad, scene.clip, scene.triangles, scene.clip),
        rivals=rivals(scene, lambda: reference()[None], with_torch)
        | _beside(nvdiffrast, lambda backend: backend.rasterize_vjp(*given)),
    )


def _interpolate(scene: Scene, nvdiffrast: Nvdiffrast) -> Case:
    attributes, triangles, raster = scene.noise(2, *scene.vertices.shape), scene.triangles, scene.raster

    def reference() -> Any:
        ids, weights = host(raster.triangle_id[0]), first64(raster.barycentric)
        return interpolate_reference(first64(attributes), host(triangles), ids, weights)

    def call() -> Any:
        return kernels.interpolate(attributes, triangles, raster)

    def with_torch(torch: Any) -> Any:
        program = programs.interpolate(torch, triangles, raster)
        return programs.forward(torch, program, (attributes, raster.barycentric))

    return Case(
        call,
        lambda: assert_close(call()[0], reference(), 1e-5),
        byte_count(raster.triangle_id, raster.barycentric, attributes, call()),
        rivals=rivals(scene, lambda: programs.numpy_interpolate(attributes, triangles, raster), with_torch)
        | _beside(nvdiffrast, lambda backend: backend.interpolate(attributes, triangles, raster)),
    )


def _interpolate_vjp(scene: Scene, nvdiffrast: Nvdiffrast) -> Case:
    attributes, raster = scene.noise(2, *scene.vertices.shape), scene.raster
    grad = scene.noise(3, scene.batch, scene.side, scene.side, 3)
    given = attributes, scene.triangles, raster, grad

    def reference() -> tuple[Any, Any]:
        ids, weights = host(raster.triangle_id[0]), first64(raster.barycentric)
        return interpolate_vjp_reference(
            first64(attributes), host(scene.triangles), ids, weights, first64(grad)
        )

    def check() -> None:
        got = kernels.interpolate_vjp(*given)
        to_attributes, to_barycentric = reference()
        assert_close(got.attributes[0], to_attributes, 1e-5)
        assert_close(got.barycentric[0], to_barycentric, 1e-5)

    def with_torch(torch: Any) -> Any:
        program = programs.interpolate(torch, scene.triangles, raster)
        return programs.vjp(torch, program, (attributes, raster.barycentric), grad)

    return Case(
        lambda: kernels.interpolate_vjp(*given),
        check,
        byte_count(raster.triangle_id, raster.barycentric, grad, attributes, attributes, raster.barycentric),
        rivals=rivals(scene, lambda: reference()[0][None], with_torch)
        | _beside(nvdiffrast, lambda backend: backend.interpolate_vjp(*given).attributes),
        result=lambda gradients: gradients.attributes,
    )


def _first_on_host(scene: Scene, image: Any) -> tuple[Any, kernels.Raster, Any, Any]:
    """What the references of antialiasing take, of the first image."""
    raster = scene.raster
    first = kernels.Raster(*(host(getattr(raster, part.name)[:1]) for part in dataclasses.fields(raster)))
    return first64(image), first, first64(scene.clip), host(scene.triangles)


def _antialias(scene: Scene, nvdiffrast: Nvdiffrast) -> Case:
    image = scene.noise(5, scene.batch, scene.side, scene.side, 3)
    topology = kernels.make_edge_topology(scene.triangles)
    given = image, scene.raster, scene.clip, scene.triangles

    def check() -> None:
        got = host(kernels.antialias(*given, topology)[0])
        wrong = np.abs(got - antialias_reference(*_first_on_host(scene, image))).max(-1) > 1e-3
        assert wrong.mean() < 1e-5  # silhouettes that are edge-on to rounding

    other = None if nvdiffrast is None else nvdiffrast.make_topology(scene.triangles)
    return Case(
        lambda: kernels.antialias(*given, topology),
        check,
        byte_count(image, image, scene.raster.triangle_id, scene.clip, scene.triangles),
        rivals=_beside(nvdiffrast, lambda backend: backend.antialias(*given, other)),
        rival_outliers=_OUTLINE_OUTLIERS,
    )


def _antialias_vjp(scene: Scene, nvdiffrast: Nvdiffrast) -> Case:
    image, grad = (scene.noise(seed, scene.batch, scene.side, scene.side, 3) for seed in (5, 6))
    topology = kernels.make_edge_topology(scene.triangles)
    given = image, scene.raster, scene.clip, scene.triangles, grad

    def check() -> None:
        got = kernels.antialias_vjp(*given, topology)
        to_image, to_clip = antialias_vjp_reference(*_first_on_host(scene, image), first64(grad))
        assert (np.abs(host(got.image[0]) - to_image).max(-1) > 1e-3).mean() < 1e-5
        assert_close(got.clip_positions[0], to_clip, 0.02)

    other = None if nvdiffrast is None else nvdiffrast.make_topology(scene.triangles)
    return Case(
        lambda: kernels.antialias_vjp(*given, topology),
        check,
        byte_count(image, image, grad, scene.raster.triangle_id, scene.clip, scene.clip, scene.triangles),
        rivals=_beside(nvdiffrast, lambda backend: backend.antialias_vjp(*given, other).image),
        result=lambda gradients: gradients.image,
        rival_outliers=_OUTLINE_OUTLIERS,
    )
