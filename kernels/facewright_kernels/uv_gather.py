"""UV maps read at the vertices: how a generated position or albedo map becomes vertices, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facewright_kernels._runtime.boundary import Boundary, Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource

_SOURCE = KernelSource("uv_gather")
# Beyond it a coordinate counts as not finite, like in texture_sample.
_LARGEST_UV = 1e6


@dataclass(frozen=True)
class TexelReaders:
    """Vertices that read each texel of an S × S map: those of texel t (row by row) are
    ``vertices[offsets[t]:offsets[t + 1]]``, with the bilinear ``weights`` of the same positions.

    Attributes:
        size: S.
        offsets: i32 ``[S² + 1]``.
        vertices: i32 ``[4 V]``.
        weights: f32 ``[4 V]``.
    """

    size: int
    offsets: IntArray
    vertices: IntArray
    weights: FloatArray


def make_texel_readers(vertex_uv: FloatArray, size: int) -> TexelReaders:
    """Who reads each texel; made once per UV layout and map size (on a GPU the host waits for it).

    Args:
        vertex_uv: f32 ``[V, 2]``; a vertex whose UV is not finite reads nothing.
        size: S, texels per side.

    Raises:
        ValueError: wrong shape or dtype, size not 1 to 16384.
    """
    check = Boundary("make_texel_readers")
    vertex_uv = check.array("vertex_uv", vertex_uv, "float32", "V 2")
    check.number("size", size, 1, 16384)
    xp = array_module(vertex_uv)
    texel, weight = _taps(xp, vertex_uv, size)
    texel = xp.append(texel.ravel(), size * size)  # one more: CuPy counts no empty array
    order = xp.argsort(texel, kind="stable")[:-1]
    offsets = xp.zeros(size * size + 1, np.int32)
    offsets[1:] = xp.cumsum(xp.bincount(texel)[: size * size])
    weights = weight.ravel()[order].astype(np.float32)
    return TexelReaders(size, offsets, (order // 4).astype(np.int32), weights)


def _taps(xp: Any, vertex_uv: Any, size: int) -> tuple[Any, Any]:
    """Texel numbers ``[V, 4]`` and bilinear weights ``[V, 4]``; texel S² where the UV is not finite."""
    readable = (xp.abs(vertex_uv) < _LARGEST_UV).all(1)
    at = xp.clip(xp.where(readable[:, None], vertex_uv, 0) * size - 0.5, 0, size - 1)
    first = at.astype(np.int64)
    second = xp.minimum(first + 1, size - 1)
    fraction = at - first
    (x0, y0), (x1, y1), (fx, fy) = first.T, second.T, fraction.T
    texel = xp.stack([y0 * size + x0, y0 * size + x1, y1 * size + x0, y1 * size + x1], 1)
    weight = xp.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], 1)
    return xp.where(readable[:, None], texel, size * size), weight


def uv_gather(uv_map: FloatArray, vertex_uv: FloatArray) -> FloatArray:
    """Bilinear lookup of a UV map at the vertices (CONVENTIONS.md, UV; outside 0–1 the border is repeated).

    Args:
        uv_map: f32 ``[B, S, S, C]``, such as positions in metres (normalized paper, 3.1).
        vertex_uv: f32 ``[V, 2]``, the same for the batch.

    Returns:
        f32 ``[B, V, C]``; NaN where a UV coordinate is not finite (or beyond ±10⁶).

    Raises:
        ValueError: wrong shape or dtype, mixed devices, an empty map.
    """
    check = Boundary("uv_gather")
    uv_map, vertex_uv = _check_inputs(check, uv_map, vertex_uv)
    out: FloatArray = array_module(uv_map).empty(
        (check.size("B"), check.size("V"), check.size("C")), np.float32
    )
    _SOURCE.launch(
        "uv_gather",
        check.size("B") * check.size("V"),
        uv_map,
        vertex_uv,
        out,
        check.size("B"),
        check.size("S"),
        check.size("V"),
        check.size("C"),
    )
    return out


def uv_gather_vjp(
    uv_map: FloatArray, vertex_uv: FloatArray, grad: FloatArray, texel_readers: TexelReaders | None = None
) -> FloatArray:
    """Vector-Jacobian product of :func:`uv_gather` with respect to the map, which enters by its shape only.

    Every texel gathers the vertices that read it: the result is the same in every run.

    Args:
        uv_map, vertex_uv: as given to :func:`uv_gather`.
        grad: f32 ``[B, V, C]``, gradient of a scalar with respect to what was read.
        texel_readers: of :func:`make_texel_readers` for the same UVs and size; None makes it on every call,
            for which the host waits on a GPU.

    Returns:
        f32 ``[B, S, S, C]``; 0 for texels that no vertex reads.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, an empty map, readers of another layout.
    """
    check = Boundary("uv_gather_vjp")
    uv_map, vertex_uv = _check_inputs(check, uv_map, vertex_uv)
    grad = check.array("grad", grad, "float32", "B V C")
    size = check.size("S")
    readers = texel_readers or make_texel_readers(vertex_uv, size)
    offsets = check.array("texel_readers.offsets", readers.offsets, "int32", str(size * size + 1))
    taps = str(4 * check.size("V"))
    vertices = check.array("texel_readers.vertices", readers.vertices, "int32", taps)
    weights = check.array("texel_readers.weights", readers.weights, "float32", taps)
    check.offsets("texel_readers.offsets", offsets, vertices.size)
    check.indices("texel_readers.vertices", vertices, check.size("V"))
    out: FloatArray = array_module(uv_map).empty(uv_map.shape, np.float32)
    _SOURCE.launch(
        "uv_gather_vjp",
        check.size("B") * size * size,
        grad,
        offsets,
        vertices,
        weights,
        out,
        check.size("B"),
        size * size,
        check.size("V"),
        check.size("C"),
    )
    return out


def _check_inputs(
    check: Boundary, uv_map: FloatArray, vertex_uv: FloatArray
) -> tuple[FloatArray, FloatArray]:
    uv_map = check.array("uv_map", uv_map, "float32", "B S S C")
    vertex_uv = check.array("vertex_uv", vertex_uv, "float32", "V 2")
    if check.size("S") == 0:
        raise ValueError(f"{check.function}: uv_map must have at least one texel, got {list(uv_map.shape)}")
    return uv_map, vertex_uv


def uv_gather_reference(uv_map: Float64Array, vertex_uv: Float64Array) -> Float64Array:
    """One map ``[S, S, C]`` at ``[V, 2]``, in float64: the bilinear filter of OpenGL 4.6 core, 8.14.2."""
    texel, weight = _taps(np, vertex_uv, len(uv_map))
    texels = uv_map.reshape(-1, uv_map.shape[2])
    return np.asarray(np.einsum("vk,vkc->vc", weight, texels[texel]), np.float64)


def uv_gather_vjp_reference(size: int, vertex_uv: Float64Array, grad: Float64Array) -> Float64Array:
    """The transpose of :func:`uv_gather_reference`: ``[V, C]`` added to ``[S, S, C]``, in float64."""
    texel, weight = _taps(np, vertex_uv, size)
    out = np.zeros((size * size, grad.shape[1]))
    np.add.at(out, texel, weight[:, :, None] * grad[:, None])
    return out.reshape(size, size, -1)
