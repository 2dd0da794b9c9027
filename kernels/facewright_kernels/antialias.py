"""Antialiased silhouettes of a rasterised mesh, with gradients that move the mesh's outline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facewright_kernels._runtime.boundary import (
    Boundary,
    ByteArray,
    Float64Array,
    FloatArray,
    IntArray,
    array_module,
)
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels.rasterize import Raster
from facewright_kernels.vertex_sums import (
    make_vertex_sums,
    read_vertex_sums,
    run_pieces,
    run_segment,
    vertex_sums_reference,
)

_SOURCE = KernelSource("antialias")
_TOLERANCE = 1 / 128  # as in antialias.cu


@dataclass(frozen=True)
class EdgeTopology:
    """Which triangles share an edge: half-edges ``half_edges[offsets[e]:offsets[e + 1]]`` run along edge e.

    Attributes:
        edge: i32 ``[F, 3]``, of half-edge 3 t + k, which runs from corner k of triangle t to the next.
        offsets: i32 ``[E + 1]``.
        half_edges: i32 ``[3 F]``.
        reach: triangles that :func:`antialias` looks at between two pixel centres.
    """

    edge: IntArray
    offsets: IntArray
    half_edges: IntArray
    reach: int = 1


@dataclass(frozen=True)
class AntialiasGradients:
    """Gradients of a loss with respect to what :func:`antialias` reads.

    Attributes:
        image: f32 ``[B, H, W, C]``.
        clip_positions: f32 ``[B, V, 4]``; the third column (z) is 0.
    """

    image: FloatArray
    clip_positions: FloatArray


def make_edge_topology(triangles: IntArray, *, reach: int = 1) -> EdgeTopology:
    """Edges of a mesh; made once per topology (on a GPU the host waits for it).

    Triangles are neighbours where they share vertex numbers: a vertex that was split for its UV coordinates
    makes a seam look like a border, so use the triangles of positions.

    Args:
        triangles: i32 ``[F, 3]``.
        reach: 1 looks for a silhouette among the edges of a pixel's own triangle, as the paper and nvdiffrast
            do. The last triangles before an outline are often thinner than a pixel, and then most of it is
            missed; up to 64 follows the surface across that many triangles towards the neighbouring pixel.

    Raises:
        ValueError: wrong shape or dtype, reach not 1 to 64, or (on a CPU) a negative index.
    """
    check = Boundary("make_edge_topology")
    check.number("reach", reach, 1, 64)
    triangles = check.array("triangles", triangles, "int32", "F 3")
    xp = array_module(triangles)
    if isinstance(triangles, np.ndarray):
        check.indices("triangles", triangles, np.iinfo(np.int32).max)
    if not len(triangles):
        return EdgeTopology(triangles, xp.zeros(1, np.int32), xp.zeros(0, np.int32), reach)
    ends = xp.stack([triangles, xp.roll(triangles, -1, axis=1)], -1).reshape(-1, 2).astype(np.int64)
    key = ends.min(1) << 32 | ends.max(1)
    unique, edge = xp.unique(key, return_inverse=True)
    edge = edge.reshape(-1)
    order = xp.argsort(edge, kind="stable")
    offsets = xp.zeros(len(unique) + 1, np.int32)
    offsets[1:] = xp.cumsum(xp.bincount(edge, minlength=len(unique)))
    return EdgeTopology(edge.reshape(-1, 3).astype(np.int32), offsets, order.astype(np.int32), reach)


def antialias(
    image: FloatArray,
    raster: Raster,
    clip_positions: FloatArray,
    triangles: IntArray,
    topology: EdgeTopology | None = None,
) -> FloatArray:
    """Blend pixels across silhouette edges by where the edge lies between their centres (Laine et al. 2020,
    "Modular primitives for high-performance differentiable rendering", 3.5).

    An edge is a silhouette where no other triangle continues the surface on its other side on screen. Of two
    neighbouring pixels that see different triangles, the nearer surface's silhouette edge at t pixels from
    its pixel's centre gives that pixel ``max(0, ½ − t)`` of the other's colour, or gives the other
    ``max(0, t − ½)`` of its own. Shares from up to four neighbours add up, so something smaller than a pixel
    may overshoot. How far from the near pixel's own triangle a silhouette is looked for is the topology's
    ``reach``.

    Args:
        image: f32 ``[B, H, W, C]``, colours (or anything else to blend) as rasterised.
        raster: of :func:`facewright_kernels.rasterize` with these ``clip_positions`` and ``triangles``.
        clip_positions: f32 ``[B, V, 4]``.
        triangles: i32 ``[F, 3]``.
        topology: of :func:`make_edge_topology`; None makes it on every call, with reach 1, for which the
            host waits on a GPU.

    Returns:
        f32 ``[B, H, W, C]``.

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    call = _prepare(Boundary("antialias"), image, raster, clip_positions, triangles, topology)
    out: FloatArray = array_module(call.image).empty(call.image.shape, np.float32)
    sizes = call.sizes
    _SOURCE.launch(
        "antialias_pixels", call.shares.size // 2, call.image, call.shares, out, *sizes[:3], sizes[-1]
    )
    return out


def antialias_vjp(
    image: FloatArray,
    raster: Raster,
    clip_positions: FloatArray,
    triangles: IntArray,
    grad: FloatArray,
    topology: EdgeTopology | None = None,
) -> AntialiasGradients:
    """Vector-Jacobian product of :func:`antialias`, with the visible triangles and depths held constant.

    The same result every time, whatever the order of threads (fixed-point sums).

    Args:
        image, raster, clip_positions, triangles, topology: as in the forward call.
        grad: f32 ``[B, H, W, C]``, gradient of a loss with respect to the antialiased image. Where it (or the
            image) is not finite, the vertices of silhouettes there get NaN.

    Raises:
        ValueError: wrong shape, dtype, mixed devices, or (on a CPU) an index out of range.
    """
    check = Boundary("antialias_vjp")
    call = _prepare(check, image, raster, clip_positions, triangles, topology)
    grad = check.array("grad", grad, "float32", "B H W C")
    xp = array_module(grad)
    to_image: FloatArray = xp.empty(grad.shape, np.float32)
    batch, height, width, channels = grad.shape
    _SOURCE.launch(
        "antialias_vjp_image",
        call.shares.size // 2,
        grad,
        call.shares,
        to_image,
        batch,
        height,
        width,
        channels,
    )
    # A GPU thread takes one pixel: silhouettes are rare, so there is nothing to sum before it is added.
    segment = run_segment(grad, width) if xp is np else 1
    sums = make_vertex_sums(xp, (batch, check.size("V"), 4), terms=2 * height * width)
    for target in (None, sums.sums):
        _SOURCE.launch(
            "antialias_vjp_clip",
            run_pieces(batch * height, width, segment),
            call.image,
            *call.screen,
            call.shares,
            grad,
            sums.magnitudes,
            target,
            *call.sizes,
            segment,
            sums.headroom,
        )
    return AntialiasGradients(to_image, read_vertex_sums(sums))


@dataclass(frozen=True)
class _Call:
    """Checked arrays in the kernels' order.

    Attributes:
        image: f32 ``[B, H, W, C]``.
        screen: triangle numbers, depths, clip positions, triangles, silhouette flags, three of the topology.
        shares: f32 ``[B, H, W, 2]``, of the pairs with the right and with the lower neighbour.
        sizes: B, H, W, V, F, E, reach, C.
    """

    image: FloatArray
    screen: tuple[IntArray, FloatArray, FloatArray, IntArray, ByteArray, IntArray, IntArray, IntArray]
    shares: FloatArray
    sizes: tuple[int, ...]


def _prepare(
    check: Boundary,
    image: FloatArray,
    raster: Raster,
    clip_positions: FloatArray,
    triangles: IntArray,
    topology: EdgeTopology | None,
) -> _Call:
    """Checks; silhouette flags of every triangle, u8 ``[B, F]``; shares of every pair of pixels."""
    image = check.array("image", image, "float32", "B H W C")
    triangle_id = check.array("raster.triangle_id", raster.triangle_id, "int32", "B H W")
    depth = check.array("raster.depth", raster.depth, "float32", "B H W")
    clip_positions = check.array("clip_positions", clip_positions, "float32", "B V 4")
    triangles = check.array("triangles", triangles, "int32", "F 3")
    check.indices("triangles", triangles, check.size("V"))
    topology = topology or make_edge_topology(triangles)
    edge = check.array("topology.edge", topology.edge, "int32", "F 3")
    offsets = check.array("topology.offsets", topology.offsets, "int32", "_")
    half_edges = check.array("topology.half_edges", topology.half_edges, "int32", str(triangles.size))
    check.number("topology.reach", topology.reach, 1, 64)
    edges = len(offsets) - 1
    if edges < 0:
        raise ValueError(f"{check.function}: topology.offsets must not be empty")
    check.indices("topology.edge", edge, edges)
    check.indices("topology.half_edges", half_edges, triangles.size)
    check.offsets("topology.offsets", offsets, half_edges.size)
    batch, height, width, channels = image.shape
    vertices, faces = check.size("V"), check.size("F")
    flags: ByteArray = array_module(image).empty((batch, faces), np.uint8)
    _SOURCE.launch(
        "silhouette_edges",
        flags.size,
        clip_positions,
        triangles,
        edge,
        offsets,
        half_edges,
        flags,
        batch,
        vertices,
        faces,
        edges,
        height,
        width,
    )
    screen = (triangle_id, depth, clip_positions, triangles, flags, edge, offsets, half_edges)
    shares: FloatArray = array_module(image).empty((*triangle_id.shape, 2), np.float32)
    sizes = (batch, height, width, vertices, faces, edges, topology.reach)
    _SOURCE.launch("silhouette_shares", triangle_id.size, *screen, shares, *sizes)
    return _Call(image, screen, shares, (*sizes, channels))


@dataclass(frozen=True)
class SilhouetteCrossings:
    """Silhouette edges between neighbouring pixels of one image, in float64, one row for each.

    Attributes:
        near, other: i ``[n, 2]``, row and column of the two pixels.
        ends: i ``[n, 2]``, the edge's vertices.
        at: f64 ``[n]``, pixels from the near centre.
    """

    near: Any
    other: Any
    ends: Any
    at: Float64Array


def silhouette_crossings_reference(
    raster: Raster, clip_positions: Float64Array, triangles: IntArray, reach: int = 1
) -> SilhouetteCrossings:
    """The first image of a raster, pair by pair, in pixels: from the near pixel's triangle the line between
    the centres is followed through at most ``reach`` triangles until it leaves the surface. (All w must be
    positive; the kernel works on homogeneous coordinates, so it also takes edges that end behind the eye.)
    """
    ids, depth = raster.triangle_id[0], raster.depth[0]
    height, width = ids.shape
    pixel = (clip_positions[:, :2] / clip_positions[:, 3:] + 1) / 2 * [width, height]
    at_edge: dict[frozenset[int], list[int]] = {}
    for number, corners in enumerate(triangles.tolist()):
        for k in range(3):
            at_edge.setdefault(frozenset((corners[k], corners[(k + 1) % 3])), []).append(number)

    def side(edge: frozenset[int], point: Float64Array) -> float:
        a, b = sorted(edge)
        u, v = pixel[b] - pixel[a], point - pixel[a]
        return float(u[0] * v[1] - u[1] * v[0])

    def apex_side(edge: frozenset[int], triangle: int) -> float:
        (apex,) = set(triangles[triangle].tolist()) - edge
        return side(edge, pixel[apex])

    rows: list[tuple[Any, Any, tuple[int, int], float]] = []
    for down, right in ((0, 1), (1, 0)):
        along, across = (0, 1) if right else (1, 0)
        differ = ids[: height - down, : width - right] != ids[down:, right:]
        for row, column in np.argwhere(differ).tolist():
            first, second = (row, column), (row + down, column + right)
            rank = [(ids[p] < 0, depth[p], ids[p]) for p in (first, second)]
            near, other = (first, second) if rank[0] < rank[1] else (second, first)
            centre = np.array(near[::-1]) + 0.5
            step = np.subtract(other, near)[::-1].astype(np.float64)
            triangle, entered = int(ids[near]), frozenset[int]()
            for _ in range(reach):
                if triangle in (-1, ids[other]):
                    break
                corners = triangles[triangle].tolist()
                crossed = []
                for k in range(3):
                    edge = frozenset((corners[k], corners[(k + 1) % 3]))
                    a, b = sorted(edge)
                    start, end = pixel[a] - centre, pixel[b] - centre
                    if edge == entered or (start[across] <= 0) == (end[across] <= 0):
                        continue
                    share = start[across] / (start[across] - end[across])
                    at = float((start[along] + share * (end[along] - start[along])) * step[along])
                    ahead = centre + (at + 1) * step  # outside, if the line leaves the triangle here
                    if entered or side(edge, ahead) * apex_side(edge, triangle) < 0:
                        crossed.append((edge, at))
                if len(crossed) != 1 or crossed[0][1] > 1 + _TOLERANCE:
                    break
                edge, at = crossed[0]
                own = apex_side(edge, triangle)
                beyond = [t for t in at_edge[edge] if t != triangle and apex_side(edge, t) * own < 0]
                if not beyond:
                    a, b = sorted(edge)
                    extent = np.abs(pixel[b] - pixel[a])
                    if (extent[1] >= extent[0]) == (right == 1) and at >= -_TOLERANCE:
                        rows.append((near, other, (a, b), at))
                triangle, entered = (beyond[0] if beyond else -1), edge
    near_, other_, ends, at_ = zip(*rows, strict=True) if rows else ([], [], [], [])
    return SilhouetteCrossings(
        np.array(near_, int).reshape(-1, 2),
        np.array(other_, int).reshape(-1, 2),
        np.array(ends, int).reshape(-1, 2),
        np.array(at_, np.float64),
    )


def antialias_reference(
    image: Float64Array, raster: Raster, clip_positions: Float64Array, triangles: IntArray, reach: int = 1
) -> Float64Array:
    """The first image of a raster in float64: ``[H, W, C]``."""
    found = silhouette_crossings_reference(raster, clip_positions, triangles, reach)
    at = np.clip(found.at, 0, 1)[:, None]
    near, other = tuple(found.near.T), tuple(found.other.T)
    out = np.array(image, np.float64)
    np.add.at(out, near, np.maximum(0.5 - at, 0) * (image[other] - image[near]))
    np.add.at(out, other, np.maximum(at - 0.5, 0) * (image[near] - image[other]))
    return out


def antialias_vjp_reference(
    image: Float64Array,
    raster: Raster,
    clip_positions: Float64Array,
    triangles: IntArray,
    grad: Float64Array,
    reach: int = 1,
) -> tuple[Float64Array, Float64Array]:
    """The first image of a raster in float64: gradients ``[H, W, C]`` and ``[V, 4]``.

    With the edge's ends A and B in pixels relative to the near centre, v across the pair and u along it,
    ``t = ± (u_A v_B − u_B v_A) / (v_B − v_A)``, differentiated by hand; then through x/w and y/w.
    """
    height, width = raster.triangle_id.shape[1:]
    found = silhouette_crossings_reference(raster, clip_positions, triangles, reach)
    at = np.clip(found.at, 0, 1)[:, None]
    near, other = tuple(found.near.T), tuple(found.other.T)
    to_image = np.array(grad, np.float64)
    for first, second, share in (
        (near, other, np.maximum(0.5 - at, 0)),
        (other, near, np.maximum(at - 0.5, 0)),
    ):
        np.add.at(to_image, first, -share * grad[first])
        np.add.at(to_image, second, share * grad[first])
    changed = np.where(found.at[:, None] < 0.5, grad[near], grad[other])
    to_at = (changed * (image[near] - image[other])).sum(1)
    horizontal = found.near[:, 0] == found.other[:, 0]
    direction = (found.other - found.near).sum(1)
    position = clip_positions[found.ends]  # [n, 2, 4]
    w = position[:, :, 3]
    pixel = (position[:, :, :2] / w[:, :, None] + 1) / 2 * [width, height]
    relative = pixel - (found.near[:, None, ::-1] + 0.5)
    u = np.where(horizontal[:, None], relative[:, :, 0], relative[:, :, 1])
    v = np.where(horizontal[:, None], relative[:, :, 1], relative[:, :, 0])
    rise = v[:, 1] - v[:, 0]
    value = (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / rise
    to_u = np.stack([v[:, 1], -v[:, 0]], 1) / rise[:, None]
    to_v = np.stack([value - u[:, 1], u[:, 0] - value], 1) / rise[:, None]
    scale = (to_at * direction)[:, None]
    to_pixel = scale[..., None] * np.where(
        horizontal[:, None, None], np.stack([to_u, to_v], -1), np.stack([to_v, to_u], -1)
    )
    to_ndc = to_pixel * [width / 2, height / 2]
    terms = np.zeros((len(found.at), 2, 4))
    terms[:, :, :2] = to_ndc / w[:, :, None]
    terms[:, :, 3] = -(to_ndc * position[:, :, :2]).sum(-1) / w**2
    vertices = len(clip_positions)
    return to_image, vertex_sums_reference(terms.reshape(-1, 4), found.ends.ravel(), vertices)
