"""The texels of an avatar: photo, mirrored photo and a painted base, composed at full size in one pass.

    texel = g₁ ⊙ photo(π(x)) + g₂ ⊙ photo(π(x̄)) + b ((1 − h') (1 + p·pore) skin + h' (1 + s·strand) hair)
    h' = smoothstep(h + 1.2 · strand · 4 h (1 − h))

x is the texel's point on the fitted head and x̄ its mirror point on the other side of the face; gains (mask
× light to divide out × tone match), colours and amplitudes vary slowly and come as small maps (``layers``),
so what costs is one bilinear look-up of the photo per texel. Strands also shape the hairline, where
hairiness h passes from 0 to 1. Composition is in linear light; the result is sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
from facewright_kernels._runtime.transfer_tables import CODE_COUNT, byte_decoding, srgb_encoding, table_beside

_SOURCE: Final = KernelSource("texture_composite")

#: How far strands move the hairline; the same number stands in the kernel.
STRAND_REACH: Final = 1.2


@dataclass(frozen=True)
class CompositeSurface:
    """Where each texel lies on the head, and where the head's points lie in the photo.

    Attributes:
        texel_triangle: i32 ``[S, S]``, triangle of each texel, −1 where none.
        texel_barycentric: f32 ``[S, S, 2]``, weights of the triangle's first two corners.
        triangles: i32 ``[F, 3]`` of vertices.
        photo_points: f32 ``[B, V, 3]``, homogeneous photo pixels K (R v + t) of the fitted vertices.
        mirror_points: f32 ``[B, V, 3]``, the same of each vertex' left–right partner.
    """

    texel_triangle: IntArray
    texel_barycentric: FloatArray
    triangles: IntArray
    photo_points: FloatArray
    mirror_points: FloatArray


def texture_composite(
    surface: CompositeSurface, photo: ByteArray, layers: FloatArray, detail: ByteArray
) -> ByteArray:
    """sRGB textures u8 ``[B, S, S, 3]``.

    Args:
        surface: texels, and the head in each photo.
        photo: sRGB u8 ``[B, H, W, 3]``; sampled bilinearly in linear light, clamped at its border.
        layers: f32 ``[B, L, L, 16]``: gain of the photo (RGB), gain of the mirrored photo (RGB), filled skin
            and filled hair (linear RGB each), share b of the fill, hairiness h, amplitudes of strands and of
            pores. Interpolated bilinearly to S.
        detail: u8 ``[S, S, 2]``: strands and pores, 128 is neutral; the same for the batch.

    Raises:
        ValueError: wrong shape, dtype or device, or (on a CPU) a triangle or a vertex that does not exist; on
            a GPU such texels show no photo.
    """
    check = Boundary("texture_composite")
    texel_triangle = check.array("texel_triangle", surface.texel_triangle, "int32", "S S")
    barycentric = check.array("texel_barycentric", surface.texel_barycentric, "float32", "S S 2")
    triangles = check.array("triangles", surface.triangles, "int32", "F 3")
    points = check.array("photo_points", surface.photo_points, "float32", "B V 3")
    mirrored = check.array("mirror_points", surface.mirror_points, "float32", "B V 3")
    photo = check.array("photo", photo, "uint8", "B H W 3")
    layers = check.array("layers", layers, "float32", "B L L 16")
    detail = check.array("detail", detail, "uint8", "S S 2")
    check.indices("triangles", triangles, check.size("V"))
    for letter, name in (("H", "photo"), ("W", "photo"), ("L", "layers")):
        if check.size(letter) == 0:
            raise ValueError(f"texture_composite: {name} is empty")
    # Only the upper end counts: negative numbers are texels without a triangle.
    if isinstance(texel_triangle, np.ndarray) and texel_triangle.max(initial=-1) >= check.size("F"):
        raise ValueError(
            f"texture_composite: texel_triangle holds {int(texel_triangle.max())}, "
            f"there are {check.size('F')} triangles"
        )
    batch, size = check.size("B"), check.size("S")
    texture: ByteArray = array_module(photo).empty((batch, size, size, 3), np.uint8)
    _SOURCE.launch(
        "texture_composite",
        batch * size * size,
        texel_triangle,
        barycentric,
        triangles,
        points,
        mirrored,
        photo,
        table_beside(photo, byte_decoding, True),
        table_beside(photo, srgb_encoding),
        layers,
        detail,
        texture,
        batch,
        size,
        check.size("V"),
        check.size("F"),
        check.size("H"),
        check.size("W"),
        check.size("L"),
        CODE_COUNT,
    )
    return texture


def texture_composite_reference(
    surface: CompositeSurface, photo: ByteArray, layers: FloatArray, detail: ByteArray
) -> Float64Array:
    """Linear-light texture f64 ``[S, S, 3]`` of one photo ``[H, W, 3]`` with its points ``[V, 3]`` and layers
    ``[L, L, 16]``, before clamping and encoding.
    """
    size, layer_size = len(surface.texel_triangle), len(layers)
    at = (np.arange(size) + 0.5) * layer_size / size - 0.5
    layer = _bilinear(layers.astype(np.float64), at[None, :].repeat(size, 0), at[:, None].repeat(size, 1))
    signed = (detail.astype(np.float64) - 128.0) / 128.0
    strands, pores = signed[..., 0], signed[..., 1]
    hairy = np.clip(layer[..., 13] + STRAND_REACH * strands * 4 * layer[..., 13] * (1 - layer[..., 13]), 0, 1)
    hairy = hairy * hairy * (3 - 2 * hairy)
    of_hair = layer[..., 12] * hairy * (1 + layer[..., 14] * strands)
    of_skin = layer[..., 12] * (1 - hairy) * (1 + layer[..., 15] * pores)
    result: Float64Array = of_skin[..., None] * layer[..., 6:9] + of_hair[..., None] * layer[..., 9:12]
    linear = byte_decoding(True).astype(np.float64)[photo]
    b0, b1 = surface.texel_barycentric[..., 0].astype(np.float64), surface.texel_barycentric[..., 1]
    weights = np.stack([b0, b1, 1.0 - b0 - b1], axis=-1)
    covered = surface.texel_triangle >= 0
    corners = surface.triangles[np.where(covered, surface.texel_triangle, 0)]
    for points, gain in ((surface.photo_points, layer[..., :3]), (surface.mirror_points, layer[..., 3:6])):
        homogeneous = (points.astype(np.float64)[corners] * weights[..., None]).sum(axis=-2)
        pixel = homogeneous[..., :2] / np.maximum(homogeneous[..., 2:], 1e-6) - 0.5
        result += np.where(covered[..., None], gain * _bilinear(linear, pixel[..., 0], pixel[..., 1]), 0.0)
    return result


def _bilinear(image: Float64Array, x: Float64Array, y: Float64Array) -> Float64Array:
    """``image [H, W, C]`` at pixel indices (x, y), clamped at the border."""
    height, width = image.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - fx) + image[top, right] * fx
    lower = image[bottom, left] * (1 - fx) + image[bottom, right] * fx
    result: Float64Array = upper * (1 - fy) + lower * fy
    return result
