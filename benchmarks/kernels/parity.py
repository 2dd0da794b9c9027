"""How far this package's rasteriser and nvdiffrast agree, operation by operation, on one scene."""

from __future__ import annotations

from typing import Any

import numpy as np

import facewright_kernels as kernels
from benchmarks.kernels.case import host
from benchmarks.kernels.scene import Scene


def find_nvdiffrast(xp: Any) -> tuple[kernels.RasterizerBackend | None, str]:
    """nvdiffrast for CuPy arrays, and why not where it is None."""
    if xp is np:
        return None, "not run: nvdiffrast needs a GPU"
    try:
        return kernels.rasterizer_backend("nvdiffrast"), ""
    except kernels.RasterizerUnavailableError as error:
        return None, f"not run: {error}"


def parity_rows(scene: Scene, other: kernels.RasterizerBackend) -> list[dict[str, Any]]:
    """One row for each operation: largest and mean absolute difference where both see the same triangle, the
    largest magnitude, and how many pixels see another triangle.

    Every operation gets the same raster (ours), so that differences do not add up.
    """
    side, triangles = scene.side, scene.triangles
    clip = scene.clip
    ours = kernels.rasterizer_backend("facewright")
    rasters = [backend.rasterize(clip, triangles, side, side) for backend in (ours, other)]
    same = host(rasters[0].triangle_id) == host(rasters[1].triangle_id)
    attributes, image = scene.noise(2, *scene.vertices.shape), scene.noise(5, scene.batch, side, side, 3)
    to_image, to_barycentric = scene.noise(3, *image.shape), scene.noise(4, *rasters[0].barycentric.shape)
    mesh = clip, triangles, rasters[0]

    def both(operation: Any) -> tuple[Any, Any]:
        return operation(ours), operation(other)

    interpolated = both(lambda b: b.interpolate_vjp(attributes, triangles, rasters[0], to_image))
    smoothed = both(lambda b: b.antialias_vjp(image, rasters[0], clip, triangles, to_image))
    pairs = {
        "rasterize: barycentrics": tuple(raster.barycentric[same] for raster in rasters),
        "rasterize: depth": tuple(raster.depth[same] for raster in rasters),
        "rasterize_vjp": both(lambda b: b.rasterize_vjp(*mesh, to_barycentric)),
        "interpolate": both(lambda b: b.interpolate(attributes, triangles, rasters[0])),
        "interpolate_vjp: attributes": tuple(g.attributes for g in interpolated),
        "interpolate_vjp: barycentrics": tuple(g.barycentric for g in interpolated),
        "antialias": both(lambda b: b.antialias(image, rasters[0], clip, triangles)),
        "antialias_vjp: image": tuple(g.image for g in smoothed),
        "antialias_vjp: clip positions": tuple(g.clip_positions for g in smoothed),
    }
    rows = []
    for name, pair in pairs.items():
        mine, theirs = (host(array).astype(np.float64) for array in pair)
        difference = np.abs(mine - theirs)
        rows.append(
            {
                "operation": name,
                "largest_difference": float(difference.max(initial=0)),
                "mean_difference": float(difference.mean()) if difference.size else 0.0,
                "largest_magnitude": float(np.abs(mine).max(initial=0)),
                "other_triangle": int((~same).sum()) if name.startswith("rasterize:") else None,
                "pixels": int(same.size),
            }
        )
    return rows
