"""Area-weighted vertex normals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource

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
    """Triangles around each vertex; made once per topology (on a GPU the host waits for it).

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
    corners = xp.append(triangles.ravel(), vertex_count)  # one more: CuPy counts no empty array
    order = xp.argsort(corners, kind="stable")[:-1]
    offsets = xp.zeros(vertex_count + 1, np.int32)
    offsets[1:] = xp.cumsum(xp.bincount(corners, minlength=vertex_count)[:vertex_count])
    return VertexTriangles(offsets, (order // 3).astype(np.int32))


def vertex_normals(
    vertices: FloatArray, triangles: IntArray, vertex_triangles: VertexTriangles | None = None
) -> FloatArray:
    """Unit normals of vertices: the normalised sum of the surrounding triangles' normals, weighted by their
    areas.

    Args:
        vertices: f32 ``[B, V, 3]``.
        triangles: i32 ``[F, 3]``, counter-clockwise seen from outside.
        vertex_triangles: of :func:`make_vertex_triangles`; None makes it on every call, for which the host
            waits on a GPU.

    Returns:
        f32 ``[B, V, 3]``, outward; 0 for vertices without a triangle that has an area.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("vertex_normals")
    inputs = _check_inputs(check, vertices, triangles, vertex_triangles)
    normals: FloatArray = array_module(vertices).empty(vertices.shape, np.float32)
    sizes = (check.size("B"), check.size("V"), check.size("F"))
    _SOURCE.launch("vertex_normals", check.size("B") * check.size("V"), *inputs, normals, *sizes)
    return normals


def vertex_normals_vjp(
    vertices: FloatArray,
    triangles: IntArray,
    grad_normals: FloatArray,
    vertex_triangles: VertexTriangles | None = None,
) -> FloatArray:
    """Vector-Jacobian product of :func:`vertex_normals`.

    With s the sum of the surrounding triangles' area normals, the gradient of s is
    ``(g − n (n · g)) / |s|``, and corner a of a triangle a, b, c receives ``(b − c) × (g_a + g_b + g_c)``.
    Every vertex gathers its triangles: the result is the same in every run.

    Args:
        vertices, triangles, vertex_triangles: as given to :func:`vertex_normals`.
        grad_normals: f32 ``[B, V, 3]``, gradient of a scalar with respect to the normals.

    Returns:
        f32 ``[B, V, 3]``, gradient with respect to the vertices; a vertex whose normal is 0 passes none on.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("vertex_normals_vjp")
    inputs = _check_inputs(check, vertices, triangles, vertex_triangles)
    grad_normals = check.array("grad_normals", grad_normals, "float32", "B V 3")
    xp = array_module(grad_normals)
    grad_sums: FloatArray = xp.empty(grad_normals.shape, np.float32)
    grad_vertices: FloatArray = xp.empty(grad_normals.shape, np.float32)
    count = check.size("B") * check.size("V")
    sizes = (check.size("B"), check.size("V"), check.size("F"))
    _SOURCE.launch("area_normals_vjp", count, *inputs, grad_normals, grad_sums, *sizes)
    _SOURCE.launch("vertex_normals_vjp", count, *inputs, grad_sums, grad_vertices, *sizes)
    return grad_vertices


def _check_inputs(
    check: Boundary, vertices: FloatArray, triangles: IntArray, vertex_triangles: VertexTriangles | None
) -> tuple[FloatArray, IntArray, IntArray, IntArray]:
    """Vertices, triangles, offsets and incident triangles, in the order of the kernels' parameters."""
    vertices = check.array("vertices", vertices, "float32", "B V 3")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    check.indices("triangles", triangles, check.size("V"))
    around = vertex_triangles or make_vertex_triangles(triangles, check.size("V"))
    offsets = check.array("vertex_triangles.offsets", around.offsets, "int32", str(check.size("V") + 1))
    incident = check.array("vertex_triangles.incident", around.incident, "int32", str(3 * check.size("F")))
    check.offsets("vertex_triangles.offsets", offsets, incident.size)
    check.indices("vertex_triangles.incident", incident, check.size("F"))
    return vertices, triangles, offsets, incident


def vertex_normals_reference(vertices: Float64Array, triangles: IntArray) -> Float64Array:
    """One mesh in float64: ``n_v ∝ Σ (b − a) × (c − a)`` over its triangles (Gouraud 1971, area-weighted)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    normal = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normal, triangles[:, k], face)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    return np.asarray(np.divide(normal, length, out=np.zeros_like(normal), where=length > 0), np.float64)


def vertex_normals_vjp_reference(
    vertices: Float64Array, triangles: IntArray, grad_normals: Float64Array
) -> Float64Array:
    """One mesh in float64: the chain rule through the normalisation and the cross products."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, triangles[:, k], np.cross(b - a, c - a))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    safe = np.where(length > 0, length, 1)
    normal = total / safe
    tangential = grad_normals - normal * (normal * grad_normals).sum(1, keepdims=True)
    grad_total = np.where(length > 0, tangential / safe, 0)
    of_face = grad_total[triangles].sum(1)
    grad_vertices = np.zeros_like(vertices)
    for k, edge in enumerate((b - c, c - a, a - b)):
        np.add.at(grad_vertices, triangles[:, k], np.cross(edge, of_face))
    return np.asarray(grad_vertices, np.float64)
