"""Area-weighted vertex normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels.kernel_source import KernelSource

_SOURCE = KernelSource("vertex_normals")


@dataclass(frozen=True)
class VertexTriangles:
    """Triangles around each vertex: those of vertex v are ``incident[offsets[v]:offsets[v + 1]]``.

    Attributes:
        offsets: i32 ``[V + 1]``.
        incident: i32 ``[3 F]``, triangle numbers.
    """

    offsets: IntArray
    incident: IntArray


def make_vertex_triangles(triangles: IntArray, vertex_count: int) -> VertexTriangles:
    """Triangles around each vertex; made once per topology.

    Args:
        triangles: i32 ``[F, 3]``.
        vertex_count: V.

    Raises:
        ValueError: wrong shape or dtype, or (on a CPU) an index out of range.
    """
    check = Boundary("make_vertex_triangles")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    check.indices("triangles", triangles, vertex_count)
    xp = array_module(triangles)
    corners = triangles.ravel()
    order = xp.argsort(corners, kind="stable")
    counts = xp.bincount(corners, minlength=vertex_count)
    offsets = xp.zeros(vertex_count + 1, np.int32)
    offsets[1:] = xp.cumsum(counts)
    return VertexTriangles(offsets, (order // 3).astype(np.int32))


def vertex_normals(
    vertices: FloatArray, triangles: IntArray, vertex_triangles: VertexTriangles | None = None
) -> FloatArray:
    """Unit normals of vertices: the normalised sum of the surrounding triangles' normals, weighted by their
    areas.

    Args:
        vertices: f32 ``[B, V, 3]``.
        triangles: i32 ``[F, 3]``, counter-clockwise seen from outside.
        vertex_triangles: of :func:`make_vertex_triangles`; None makes it on every call.

    Returns:
        f32 ``[B, V, 3]``, outward; 0 for vertices without a triangle that has an area.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("vertex_normals")
    vertices = check.array("vertices", vertices, "float32", "B V 3")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    check.indices("triangles", triangles, check.size("V"))
    around = vertex_triangles or make_vertex_triangles(triangles, check.size("V"))
    offsets = check.array("vertex_triangles.offsets", around.offsets, "int32", str(check.size("V") + 1))
    incident = check.array("vertex_triangles.incident", around.incident, "int32", str(3 * check.size("F")))
    normals: FloatArray = array_module(vertices).empty(vertices.shape, np.float32)
    _SOURCE.launch(
        "vertex_normals",
        check.size("B") * check.size("V"),
        vertices,
        triangles,
        offsets,
        incident,
        normals,
        check.size("B"),
        check.size("V"),
        check.size("F"),
    )
    return normals


def vertex_normals_reference(vertices: Float64Array, triangles: IntArray) -> Float64Array:
    """One mesh in float64: ``n_v ∝ Σ (b − a) × (c − a)`` over its triangles (Gouraud 1971, area-weighted)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normal = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normal, triangles[:, k], face)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.asarray(np.divide(normal, length, out=np.zeros_like(normal), where=length > 0), np.float64)
