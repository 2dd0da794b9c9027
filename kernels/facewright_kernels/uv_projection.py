"""Image to UV texture: what a photo shows of each texel, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass

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
from facewright_kernels._runtime.transfer_tables import byte_decoding, table_beside
from facewright_kernels.pinhole import PinholeCamera, pinhole_points
from facewright_kernels.texel_map import TexelMap

_SOURCE = KernelSource("uv_projection")


@dataclass(frozen=True)
class ProjectionWeighting:
    """How a texel's weight falls off.

    Attributes:
        depth_bias: metres a point may lie behind the depth map and count as visible; at twice that it is
            hidden.
        cosine_zero, cosine_one: cosines between normal and viewing direction at which the weight is 0 and 1.
        border: pixels from the image's border at which the weight reaches 1.
    """

    depth_bias: float = 0.004
    cosine_zero: float = 0.1
    cosine_one: float = 0.6
    border: float = 4.0


@dataclass(frozen=True)
class ProjectionSurface:
    """A posed mesh whose texels are projected.

    Attributes:
        texel_map: of the UV layout at the texture's size S.
        vertices, normals: f32 ``[B, V, 3]``, head space.
        triangles: i32 ``[F, 3]``, position triangles that correspond to the UV triangles row by row.
    """

    texel_map: TexelMap
    vertices: FloatArray
    normals: FloatArray
    triangles: IntArray


@dataclass(frozen=True)
class UvProjection:
    """Result of :func:`uv_projection`.

    Attributes:
        colour: f32 ``[B, S, S, C]``; 0 where the weight is 0.
        weight: f32 ``[B, S, S]``, 0–1.
        image_xy: f32 ``[B, S, S, 2]``, where each texel lies in the image, pixels (also hidden ones; NaN
            where there is no surface or it is behind the camera); None unless asked for.
    """

    colour: FloatArray
    weight: FloatArray
    image_xy: FloatArray | None


def uv_projection(
    image: ByteArray | FloatArray,
    surface: ProjectionSurface,
    camera: PinholeCamera,
    depth_map: FloatArray,
    *,
    silhouettes: FloatArray | None = None,
    weighting: ProjectionWeighting | None = None,
    srgb: bool = True,
    with_image_xy: bool = False,
) -> UvProjection:
    """Colour every texel from a photo.

    weight = sat((n·v − c₀)/(c₁ − c₀)) · sat(border distance / border) · sat(2 − (z − z_map)/bias) ·
    silhouette weight, where sat clamps to 0–1, n·v is interpolated from the vertices, and z_map is the
    farthest of the four nearest pixels of the depth map.

    Args:
        image: u8 or f32 ``[B, H, W, C]`` with C 1, 3 or 4; sampled bilinearly.
        surface: the posed mesh.
        camera: B cameras in pixels of ``image``.
        depth_map: f32 ``[B, h, w]``, metres, of the same view at any resolution
            (:func:`facewright_kernels.depth_map`).
        silhouettes: f32 ``[B, h, w]``, weights such as :func:`facewright_kernels.silhouette_weight`; None: 1.
        weighting: how the weight falls off.
        srgb: a u8 image is sRGB and is decoded to linear light before filtering; else bytes are scaled to
            0–1.
        with_image_xy: also return where each texel lies in the image.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, weights out of range, or (on a CPU) an index out of
            range.
    """
    weighting = weighting or ProjectionWeighting()
    check = Boundary("uv_projection")
    image = check.array("image", image, ("uint8", "float32"), "B H W C")
    vertices, triangles, texel_map = _check_surface(check, surface)
    depth_map = check.array("depth_map", depth_map, "float32", "B h w")
    if silhouettes is not None:
        silhouettes = check.array("silhouettes", silhouettes, "float32", "B h w")
    if min(check.size("h"), check.size("w")) == 0:
        raise ValueError("uv_projection: depth_map must not be empty")
    _check_image(check, camera)
    check.number("weighting.depth_bias", weighting.depth_bias, 1e-9, 1e9)
    check.number("weighting.cosine_zero", weighting.cosine_zero, -1, 1)
    check.number("weighting.cosine_one", weighting.cosine_one, weighting.cosine_zero + 1e-6, 2)
    check.number("weighting.border", weighting.border, 1e-3, 1e6)
    points = pinhole_points(vertices, surface.normals, camera)
    xp = array_module(vertices)
    batch, size = check.size("B"), check.size("S")
    colour: FloatArray = xp.empty((batch, size, size, check.size("C")), np.float32)
    weight: FloatArray = xp.empty((batch, size, size), np.float32)
    image_xy: FloatArray | None = xp.empty((batch, size, size, 2), np.float32) if with_image_xy else None
    is_bytes = image.dtype == np.uint8
    _SOURCE.launch(
        "project_bytes" if is_bytes else "project_floats",
        weight.size,
        texel_map.triangle_id,
        texel_map.barycentric,
        triangles,
        points,
        image,
        *((table_beside(image, byte_decoding, srgb),) if is_bytes else ()),
        depth_map,
        silhouettes,
        colour,
        weight,
        image_xy,
        batch,
        check.size("C"),
        check.size("V"),
        check.size("F"),
        size * size,
        check.size("H"),
        check.size("W"),
        check.size("h"),
        check.size("w"),
        weighting.depth_bias,
        weighting.cosine_zero,
        weighting.cosine_one,
        weighting.border,
    )
    return UvProjection(colour, weight, image_xy)


def _check_surface(check: Boundary, surface: ProjectionSurface) -> tuple[FloatArray, IntArray, TexelMap]:
    """Vertices, triangles and texel map, checked; the normals are checked where they are projected."""
    vertices = check.array("surface.vertices", surface.vertices, "float32", "B V 3")
    triangles = check.array("surface.triangles", surface.triangles, "int32", "F 3")
    texel_map = TexelMap(
        check.array("surface.texel_map.triangle_id", surface.texel_map.triangle_id, "int32", "S S"),
        check.array("surface.texel_map.barycentric", surface.texel_map.barycentric, "float32", "S S 2"),
    )
    check.indices("surface.triangles", triangles, check.size("V"))
    return vertices, triangles, texel_map


def _check_image(check: Boundary, camera: PinholeCamera) -> None:
    if check.size("C") not in (1, 3, 4):
        raise ValueError(f"{check.function}: image must have 1, 3 or 4 channels, got {check.size('C')}")
    if min(check.size("H"), check.size("W")) == 0:
        raise ValueError(f"{check.function}: image must not be empty")
    if (camera.image_height, camera.image_width) != (check.size("H"), check.size("W")):
        raise ValueError(
            f"{check.function}: camera is of a {camera.image_height} x {camera.image_width} image, "
            f"image is {check.size('H')} x {check.size('W')}"
        )


def uv_projection_reference(
    image: Float64Array,
    points: Float64Array,
    depth_map: Float64Array,
    weighting: ProjectionWeighting,
) -> tuple[Float64Array, Float64Array]:
    """Surface points ``[N, 4]`` (as ``pinhole_points``) in a linear image ``[H, W, C]``, in float64.

    Returns colour ``[N, C]`` (also where the weight is 0) and weight ``[N]`` by the equation of
    :func:`uv_projection` without silhouettes. Visibility as in shadow mapping (Williams 1978).
    """
    height, width = image.shape[:2]
    x, y, depth = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2], points[:, 2]

    def around(map_height: int, map_width: int) -> tuple[IntArray, IntArray, Float64Array, Float64Array]:
        cx = np.clip(x * map_width / width - 0.5, 0, map_width - 1)
        cy = np.clip(y * map_height / height - 0.5, 0, map_height - 1)
        column, row = np.floor(cx).astype(np.int32), np.floor(cy).astype(np.int32)
        return row, column, cx - column, cy - row

    row, column, _, _ = around(*depth_map.shape)
    below, right = np.minimum(row + 1, depth_map.shape[0] - 1), np.minimum(column + 1, depth_map.shape[1] - 1)
    surface = np.max([depth_map[r, c] for r in (row, below) for c in (column, right)], 0)
    weight = np.clip(
        (points[:, 3] - weighting.cosine_zero) / (weighting.cosine_one - weighting.cosine_zero), 0, 1
    )
    weight = weight * np.clip(np.min([x, width - x, y, height - y], 0) / weighting.border, 0, 1)
    weight = weight * np.clip(2 - (depth - surface) / weighting.depth_bias, 0, 1)
    row, column, fx, fy = around(height, width)
    below, right = np.minimum(row + 1, height - 1), np.minimum(column + 1, width - 1)
    top = image[row, column] * (1 - fx)[:, None] + image[row, right] * fx[:, None]
    bottom = image[below, column] * (1 - fx)[:, None] + image[below, right] * fx[:, None]
    return top * (1 - fy)[:, None] + bottom * fy[:, None], weight
