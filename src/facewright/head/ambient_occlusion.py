"""How much of its surroundings each vertex of a head sees: dark nostrils, mouth corners and necks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facewright.core.arrays import Floats
from facewright_kernels import rasterize, vertex_normals

I32 = npt.NDArray[np.int32]

_SIDE = 128  # of the depth maps, pixels
_BIAS = 0.008  # of the radius, about 1.5 mm; on a slope a depth map's pixel more, up to this steepness
_STEEPEST = 12.0


def ambient_occlusion(vertices: Floats, triangles: I32, directions: int = 64) -> Floats:
    """Share of the light that reaches each vertex from a uniform sky, f32 [V] in 0-1.

    The cosine-weighted share of ``directions`` from which the vertex is seen (Landis 2002, "Production-ready
    global illumination"); the same directions give the same result.

    Args:
        vertices: f32 [V, 3], metres.
        triangles: i32 [F, 3], counter-clockwise seen from outside.
        directions: spread evenly over the sphere.
    """
    sky = even_directions(directions)
    normals = vertex_normals(vertices[None], triangles)[0]
    cosine = np.maximum(sky.astype(np.float32) @ normals.T, 0)
    seen = sky_visibility(vertices, triangles, sky)
    share: Floats = (seen * cosine).sum(axis=0) / np.maximum(cosine.sum(axis=0), 1e-6)
    return share


def sky_visibility(vertices: Floats, triangles: I32, directions: npt.NDArray[np.floating]) -> Floats:
    """How far each vertex sees into each of the unit ``directions`` [D, 3] past the rest of the mesh, f32
    [D, V] in 0-1, by orthographic depth maps; arguments as of `ambient_occlusion`."""
    normals = vertex_normals(vertices[None], triangles)[0]
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centred = (vertices - (low + high) / 2) / (0.5 * np.linalg.norm(high - low))
    clip = np.empty((len(directions), len(vertices), 4), np.float32)
    for clipped, direction in zip(clip, directions, strict=True):
        clipped[:, :3] = centred @ _frame(direction).T
        clipped[:, 3] = 1
    depth = rasterize(clip, triangles, _SIDE, _SIDE).depth

    place = (clip[..., :2] + 1) * (0.5 * _SIDE) - 0.5
    base = np.clip(place.astype(np.int32), 0, _SIDE - 2)
    along = np.clip(place - base, 0, 1)
    cosine = np.maximum(directions.astype(np.float32) @ normals.T, 0)
    slope = np.sqrt(1 - cosine**2) / np.maximum(cosine, 1 / _STEEPEST)
    limit = clip[..., 2] - _BIAS - 2 / _SIDE * slope
    seen = np.zeros(clip.shape[:2], np.float32)
    map_index = np.arange(len(directions))[:, None]
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        nearest = depth[map_index, base[..., 1] + y, base[..., 0] + x]
        weight = np.abs(1 - x - along[..., 0]) * np.abs(1 - y - along[..., 1])
        seen += weight * (limit <= nearest)
    return seen


def even_directions(count: int) -> npt.NDArray[np.float64]:
    """Unit vectors [count, 3] on a Fibonacci spiral."""
    index = np.arange(count) + 0.5
    height = 1 - 2 * index / count
    angle = index * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(angle), height, ring * np.sin(angle)], axis=1)


def _frame(direction: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Rows right, up and depth (away from a viewer who stands in ``direction``)."""
    helper = np.eye(3)[np.argmin(np.abs(direction))]
    right = np.cross(helper, direction)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(direction, right), -direction])
