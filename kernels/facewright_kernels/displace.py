"""Displacement maps: a surface moved along its normals, and the detail normals of the result.

For the stages that make normal maps of what a network displaces: ``dress_head`` of the generative and of the
animatable pipeline (NORMAL_TEXTURE), and the animatable pipeline's wrinkle maps, one per key expression.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.texel_map import TexelMap

_SOURCE = KernelSource("displace")


def displace(positions: FloatArray, normals: FloatArray, displacement: FloatArray) -> FloatArray:
    """``M' = M + D ⊙ N`` (animatable paper, eq. 10; generative paper, 4.2).

    Per texel, M and N are :meth:`TexelMap.gather` of vertices and normals, D is the displacement map itself;
    per vertex, D is :func:`facewright_kernels.uv_gather` of the map.

    Args:
        positions, normals: f32 ``[B, ..., 3]``, head space, metres and unit length.
        displacement: f32 ``[B, ...]``, metres along the normal, outward positive.

    Returns:
        f32 ``[B, ..., 3]``.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("displace")
    positions = check.array("positions", positions, "float32", "B ... 3")
    normals, displacement = _check_normals(check, positions.shape, normals, displacement)
    displaced: FloatArray = array_module(positions).empty(positions.shape, np.float32)
    _SOURCE.launch(
        "displace", displacement.size, positions, normals, displacement, displaced, displacement.size
    )
    return displaced


def detail_normals(
    displaced: FloatArray, positions: FloatArray, normals: FloatArray, texel_map: TexelMap
) -> FloatArray:
    """Unit normals N' of a displaced surface M' given per texel (animatable paper, eq. 11).

    N' is the cross product of the tangents ``ΔM' − N (N · ΔM)`` along u and v, on the side of N, with Δ the
    difference of the texels before and after (the texel itself where one shows no surface). Taking the second
    term out makes the flat triangles of M as smooth as N says they are: without displacement, N' is N (Blinn
    1978, "Simulation of wrinkled surfaces"). Charts must not touch each other.

    Args:
        displaced: f32 ``[B, S, S, 3]``, M' of :func:`displace`, head space, metres.
        positions, normals: f32 ``[B, S, S, 3]``, M and N, the coarse surface per texel; N of unit length. N
            stands in, as it is, where a texel has no neighbour along an axis or no area.
        texel_map: of the UV layout at size S; says which texels show a surface.

    Returns:
        f32 ``[B, S, S, 3]``; 0 where there is no surface.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("detail_normals")
    surface = _check_texels(check, displaced, positions, normals, texel_map)
    out: FloatArray = array_module(displaced).empty(displaced.shape, np.float32)
    _SOURCE.launch("detail_normals", out.size // 3, *surface, out, check.size("B"), check.size("S"))
    return out


def _check_normals(
    check: Boundary, shape: tuple[int, ...], normals: FloatArray, displacement: FloatArray
) -> tuple[FloatArray, FloatArray]:
    normals = check.array("normals", normals, "float32", " ".join(str(n) for n in shape))
    wanted = " ".join(str(n) for n in shape[:-1])
    return normals, check.array("displacement", displacement, "float32", wanted)


def _check_texels(
    check: Boundary, displaced: FloatArray, positions: FloatArray, normals: FloatArray, texel_map: TexelMap
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """The arrays in the order of the kernels' parameters."""
    displaced = check.array("displaced", displaced, "float32", "B S S 3")
    positions = check.array("positions", positions, "float32", "B S S 3")
    normals = check.array("normals", normals, "float32", "B S S 3")
    triangle_id = check.array("texel_map.triangle_id", texel_map.triangle_id, "int32", "S S")
    return displaced, positions, normals, triangle_id


def displace_reference(
    positions: Float64Array, normals: Float64Array, displacement: Float64Array
) -> Float64Array:
    """``[..., 3]`` in float64 (animatable paper, eq. 10)."""
    return np.asarray(positions + displacement[..., None] * normals, np.float64)


def texel_spans(inside: npt.NDArray[np.bool_]) -> list[tuple[IntArray, IntArray]]:
    """For u, then v: flat texel numbers ``[S, S]`` at which the tangent of each texel starts and ends."""
    size = len(inside)
    at = np.arange(size * size).reshape(size, size)
    spans = []
    for axis in (1, 0):
        before, after = np.roll(at, 1, axis), np.roll(at, -1, axis)
        edge = np.arange(size) if axis == 1 else np.arange(size)[:, None]
        has_before = np.roll(inside, 1, axis) & (edge > 0)
        has_after = np.roll(inside, -1, axis) & (edge < size - 1)
        spans.append((np.where(has_before, before, at), np.where(has_after, after, at)))
    return spans


def _tangents(surface: Float64Array, spans: list[tuple[IntArray, IntArray]]) -> list[Float64Array]:
    flat = surface.reshape(-1, 3)
    return [flat[end] - flat[start] for start, end in spans]


def _dot(a: Float64Array, b: Float64Array) -> Float64Array:
    return np.asarray((a * b).sum(-1, keepdims=True), np.float64)


def detail_normals_reference(
    displaced: Float64Array, positions: Float64Array, normals: Float64Array, inside: npt.NDArray[np.bool_]
) -> Float64Array:
    """One map ``[S, S, 3]`` in float64; ``inside [S, S]``: texels that show a surface. Equation:
    :func:`detail_normals`.
    """
    spans = texel_spans(inside)
    moved, flat = _tangents(displaced, spans), _tangents(positions, spans)
    u, v = (moved[k] - normals * _dot(normals, flat[k]) for k in range(2))
    side = np.cross(u, v)
    side *= np.where(_dot(side, normals) < 0, -1, 1)
    length = np.linalg.norm(side, axis=-1, keepdims=True)
    out = np.where(length > 0, side / np.where(length > 0, length, 1), normals)
    return np.where(inside[..., None], out, 0)
