"""Rasterisation, interpolation, antialiasing and their gradients, beside NumPy, torch and nvdiffrast."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels import torch_rivals
from benchmarks.kernels.case import Case, byte_count, first64, host
from benchmarks.kernels.scene import Scene
from facewright_kernels.antialias import antialias_reference, antialias_vjp_reference
from facewright_kernels.interpolate import interpolate_reference, interpolate_vjp_reference
from facewright_kernels.rasterize import rasterize_reference, rasterize_vjp_reference


def make_rasterizer_cases(scene: Scene, nvdiffrast: kernels.RasterizerBackend | None) -> list[Case]:
    """Cases on one scene; nvdiffrast where it is installed."""
    clip = kernels.pinhole_clip_positions(scene.vertices, scene.camera)
    raster = kernels.rasterize(clip, scene.triangles, scene.side, scene.side)
    return [
        rasterize_case(scene, clip, nvdiffrast),
        *_interpolate(scene, raster, nvdiffrast),
        _rasterize_vjp(scene, clip, raster, nvdiffrast),
        *_antialias(scene, clip, raster, nvdiffrast),
    ]


def rasterize_case(scene: Scene, clip: Any, nvdiffrast: kernels.RasterizerBackend | None) -> Case:
    """Rasterisation alone, at the scene's side."""
    side = scene.side

    def call() -> kernels.Raster:
        return kernels.rasterize(clip, scene.triangles, side, side)

    def check() -> None:
        small = kernels.rasterize(clip, scene.triangles, 64, 64)
        expected, _, _ = rasterize_reference(first64(clip), host(scene.triangles), 64, 64)
        assert (host(small.triangle_id)[0] == expected).mean() > 0.99

    result = call()
    moved = byte_count(clip, scene.triangles, result.triangle_id, result.barycentric, result.depth)
    rivals = {}
    if nvdiffrast is not None:
        rivals["nvdiffrast"] = lambda: nvdiffrast.rasterize(clip, scene.triangles, side, side).depth
    return Case(
        f"rasterize {len(scene.triangles)} triangles, {size(scene)}",
        call,
        check,
        moved,
        4.0 if scene.batch == 1 and side == 512 else None,
        rivals,
        lambda raster: raster.depth,
        2.0,  # pixels on an outline may go either way; benchmarks/kernels/parity.py counts them
    )


def size(scene: Scene) -> str:
    """``512²``, or ``8 × 1024²``."""
    return f"{scene.side}²" if scene.batch == 1 else f"{scene.batch} × {scene.side}²"


def _interpolate(
    scene: Scene, raster: kernels.Raster, nvdiffrast: kernels.RasterizerBackend | None
) -> list[Case]:
    triangles, torch = scene.triangles, torch_rivals.find_torch(scene.xp)
    attributes = scene.noise(2, *scene.vertices.shape)
    grad = scene.noise(3, scene.batch, scene.side, scene.side, 3)
    ids = host(raster.triangle_id[0])

    def check() -> None:
        got = host(kernels.interpolate(attributes, triangles, raster)[0])
        expected = interpolate_reference(
            first64(attributes), host(triangles), ids, first64(raster.barycentric)
        )
        np.testing.assert_allclose(got, expected, atol=1e-5)

    def reference_vjp() -> tuple[Any, Any]:
        return interpolate_vjp_reference(
            first64(attributes), host(triangles), ids, first64(raster.barycentric), first64(grad)
        )

    def check_vjp() -> None:
        got = kernels.interpolate_vjp(attributes, triangles, raster, grad)
        to_attributes, to_barycentric = reference_vjp()
        np.testing.assert_allclose(host(got.attributes[0]), to_attributes, atol=1e-4)
        np.testing.assert_allclose(host(got.barycentric[0]), to_barycentric, atol=1e-4)

    rivals: dict[str, Any] = {}
    rivals_vjp: dict[str, Any] = {}
    if scene.xp is np and scene.batch == 1:
        rivals["numpy"] = lambda: _numpy_interpolate(attributes[0], triangles, raster)[None]
        rivals_vjp["numpy"] = lambda: reference_vjp()[0][None]
    if torch is not None:
        rivals["torch"] = torch_rivals.interpolate(torch, attributes, triangles, raster)
        rivals_vjp["torch"] = torch_rivals.interpolate_vjp(torch, attributes, triangles, raster, grad)
    if nvdiffrast is not None:
        rivals["nvdiffrast"] = lambda: nvdiffrast.interpolate(attributes, triangles, raster)
        rivals_vjp["nvdiffrast"] = lambda: (
            nvdiffrast.interpolate_vjp(attributes, triangles, raster, grad).attributes
        )
    moved = byte_count(raster.triangle_id, raster.barycentric, grad, attributes)
    return [
        Case(
            f"interpolate 3 channels, {size(scene)}",
            lambda: kernels.interpolate(attributes, triangles, raster),
            check,
            moved,
            rivals=rivals,
        ),
        Case(
            f"interpolate_vjp 3 channels, {size(scene)}",
            lambda: kernels.interpolate_vjp(attributes, triangles, raster, grad),
            check_vjp,
            moved + byte_count(attributes, raster.barycentric),
            rivals=rivals_vjp,
            result=lambda gradients: gradients.attributes,
        ),
    ]


def _numpy_interpolate(attributes: Any, triangles: Any, raster: kernels.Raster) -> Any:
    ids, weights = raster.triangle_id[0], raster.barycentric[0]
    seen = ids >= 0
    corners = attributes[triangles[ids[seen]]]
    b0, b1 = weights[seen, :1], weights[seen, 1:]
    out = np.zeros((*ids.shape, attributes.shape[1]), np.float32)
    out[seen] = b0 * corners[:, 0] + b1 * corners[:, 1] + (1 - b0 - b1) * corners[:, 2]
    return out


def _rasterize_vjp(
    scene: Scene, clip: Any, raster: kernels.Raster, nvdiffrast: kernels.RasterizerBackend | None
) -> Case:
    triangles, torch = scene.triangles, torch_rivals.find_torch(scene.xp)
    grad = scene.noise(4, *raster.barycentric.shape)

    def reference() -> Any:
        ids = host(raster.triangle_id[0])
        return rasterize_vjp_reference(
            first64(clip), host(triangles), ids, first64(grad), np.zeros(ids.shape)
        )

    def check() -> None:
        expected = reference()
        error = host(kernels.rasterize_vjp(clip, triangles, raster, grad)[0]) - expected
        assert np.linalg.norm(error) < 1e-4 * np.linalg.norm(expected)

    rivals: dict[str, Any] = {}
    if scene.xp is np and scene.batch == 1:
        rivals["numpy"] = lambda: reference()[None]
    if torch is not None:
        rivals["torch"] = torch_rivals.rasterize_vjp(torch, clip, triangles, raster, grad)
    if nvdiffrast is not None:
        rivals["nvdiffrast"] = lambda: nvdiffrast.rasterize_vjp(clip, triangles, raster, grad)
    return Case(
        f"rasterize_vjp {len(triangles)} triangles, {size(scene)}",
        lambda: kernels.rasterize_vjp(clip, triangles, raster, grad),
        check,
        byte_count(raster.triangle_id, grad, clip, triangles, clip),
        rivals=rivals,
    )


def _antialias(
    scene: Scene, clip: Any, raster: kernels.Raster, nvdiffrast: kernels.RasterizerBackend | None
) -> list[Case]:
    triangles, side = scene.triangles, scene.side
    image, grad = (scene.noise(seed, scene.batch, side, side, 3) for seed in (5, 6))
    topology = kernels.make_edge_topology(triangles)
    call = image, raster, clip, triangles

    def wanted() -> tuple[Any, kernels.Raster, Any, Any]:
        first = kernels.Raster(*(host(getattr(raster, part.name)[:1]) for part in dataclasses.fields(raster)))
        return first64(image), first, first64(clip), host(triangles)

    def check() -> None:
        got = host(kernels.antialias(*call, topology)[0])
        wrong = np.abs(got - antialias_reference(*wanted())).max(-1) > 1e-3
        assert wrong.mean() < 1e-5  # silhouettes that are edge-on to rounding

    def check_vjp() -> None:
        got = kernels.antialias_vjp(*call, grad, topology)
        to_image, to_clip = antialias_vjp_reference(*wanted(), first64(grad))
        assert (np.abs(host(got.image[0]) - to_image).max(-1) > 1e-3).mean() < 1e-5
        error = host(got.clip_positions[0]) - to_clip
        assert np.linalg.norm(error) < 0.02 * np.linalg.norm(to_clip)

    rivals: dict[str, Any] = {}
    rivals_vjp: dict[str, Any] = {}
    if nvdiffrast is not None:
        edges = nvdiffrast.make_topology(triangles)
        rivals["nvdiffrast"] = lambda: nvdiffrast.antialias(*call, edges)
        rivals_vjp["nvdiffrast"] = lambda: nvdiffrast.antialias_vjp(*call, grad, edges).image
    moved = byte_count(image, image, raster.triangle_id, clip, triangles)
    return [
        Case(
            f"antialias 3 channels, {size(scene)}",
            lambda: kernels.antialias(*call, topology),
            check,
            moved,
            rivals=rivals,
            rival_error=2.0,  # single pixels may differ; benchmarks/kernels/parity.py measures it
        ),
        Case(
            f"antialias_vjp 3 channels, {size(scene)}",
            lambda: kernels.antialias_vjp(*call, grad, topology),
            check_vjp,
            moved + byte_count(image, clip),
            rivals=rivals_vjp,
            result=lambda gradients: gradients.image,
            rival_error=2.0,
        ),
    ]
