"""Texture lookups: bilinear, and trilinear in a mip pyramid."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import (
    Boundary,
    ByteArray,
    Float64Array,
    FloatArray,
    array_module,
)
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels._runtime.transfer_tables import byte_decoding, table_beside
from facewright_kernels.texture_sums import make_texture_sums, read_texture_sums

_SOURCE = KernelSource("texture_sample")

HalfArray = npt.NDArray[np.float16]
#: The upper 16 bits of float32 numbers: NumPy and CuPy have no such dtype.
Bfloat16Array = npt.NDArray[np.uint16]
TexelFormat = Literal["bfloat16"]


@dataclass(frozen=True)
class MipPyramid:
    """A texture and its halved copies.

    Attributes:
        texels: f32 ``[B, N, C]``, all levels one after the other, largest first, each row by row.
        height, width: of level 0.
        levels: how many; the last is the first with an odd side (other than 1), or 1 × 1.
    """

    texels: FloatArray
    height: int
    width: int
    levels: int


def texture_sample(
    texture: FloatArray | HalfArray | Bfloat16Array | ByteArray,
    uv: FloatArray,
    *,
    wrap: bool = False,
    srgb: bool = False,
    texel_format: TexelFormat | None = None,
) -> FloatArray:
    """Bilinear lookup; texel centres as in CONVENTIONS.md (UV).

    Args:
        texture: f32, f16, u8, or bfloat16 as u16 ``[B, H, W, C]``, or ``[1, H, W, C]`` shared by the batch.
            u8 is scaled to 0–1; f16 and bfloat16 halve what is read, at 11 and 8 significant bits.
        uv: f32 ``[B, ..., 2]``; outside 0–1 the border texel is repeated, or the texture (``wrap``).
        srgb: a u8 texture is sRGB: decode it to linear light before filtering (all channels).
        texel_format: ``"bfloat16"`` says that a u16 texture holds such numbers; no other dtype takes it.

    Returns:
        f32 ``[B, ..., C]``; NaN where a UV coordinate is not finite (or beyond ±10⁶).

    Raises:
        ValueError: wrong shape or dtype, mixed devices, ``srgb`` with a float texture, a ``texel_format``
            that is not the dtype's.
    """
    check = Boundary("texture_sample")
    dtypes = ("float32", "float16", "uint8", "uint16") if texel_format else ("float32", "float16", "uint8")
    texture = check.array("texture", texture, dtypes, "N H W C")
    _check_format(check, texture, texel_format)
    uv = check.array("uv", uv, "float32", "B ... 2")
    _check_texture(check, check.size("H") * check.size("W"))
    if srgb and texture.dtype != np.uint8:
        raise ValueError("texture_sample: srgb needs a uint8 texture; float images are linear already")
    xp = array_module(texture)
    channels = check.size("C")
    out: FloatArray = xp.empty((*uv.shape[:-1], channels), np.float32)
    samples = uv.size // 2
    shape = (
        samples,
        max(samples // max(check.size("B"), 1), 1),
        int(check.size("N") == 1),
        check.size("H"),
        check.size("W"),
        channels,
        int(wrap),
    )
    if texture.dtype == np.uint8:
        decoded = table_beside(texture, byte_decoding, srgb)
        _SOURCE.launch("sample_bytes", samples, texture, decoded, uv, out, *shape)
    else:
        _SOURCE.launch(f"sample_{_kernel_of(texture)}", samples, _bits(texture), uv, out, *shape)
    return out


def build_mip_pyramid(texture: FloatArray) -> MipPyramid:
    """Halve a texture (2 × 2 box filter) until a side is odd.

    Args:
        texture: f32 ``[B, H, W, C]``, linear light.

    Raises:
        ValueError: wrong shape or dtype.
    """
    check = Boundary("build_mip_pyramid")
    texture = check.array("texture", texture, "float32", "B H W C")
    batch, height, width, channels = texture.shape
    if min(texture.shape) < 1:
        raise ValueError(f"build_mip_pyramid: texture must not be empty, got {list(texture.shape)}")
    sides = [(height, width)]
    while max(sides[-1]) > 1 and all(side == 1 or side % 2 == 0 for side in sides[-1]):
        sides.append((max(sides[-1][0] // 2, 1), max(sides[-1][1] // 2, 1)))
    xp = array_module(texture)
    texels: Any = xp.empty((batch, sum(h * w for h, w in sides), channels), np.float32)
    texels[:, : height * width] = texture.reshape(batch, height * width, channels)
    source = texture
    at = height * width
    for (upper_height, upper_width), (lower_height, lower_width) in itertools.pairwise(sides):
        half = xp.empty((batch, lower_height, lower_width, channels), np.float32)
        _SOURCE.launch(
            "halve_level",
            half.size // channels,
            source,
            half,
            batch,
            upper_height,
            upper_width,
            channels,
            upper_height * upper_width * channels,
            lower_height * lower_width * channels,
        )
        texels[:, at : at + lower_height * lower_width] = half.reshape(batch, -1, channels)
        at += lower_height * lower_width
        source = half
    return MipPyramid(texels, height, width, len(sides))


def texture_sample_mipmap(
    pyramid: MipPyramid,
    uv: FloatArray,
    *,
    level: FloatArray | None = None,
    uv_derivatives: FloatArray | None = None,
    wrap: bool = False,
) -> FloatArray:
    """Trilinear lookup at a level of detail, given or derived from the pixel's footprint.

    Args:
        pyramid: of :func:`build_mip_pyramid` (batch B or 1).
        uv: f32 ``[B, ..., 2]``.
        level: f32 ``[B, ...]``, 0 is the full resolution; clamped to the levels there are.
        uv_derivatives: f32 ``[B, ..., 2, 2]``: du/dx, du/dy, dv/dx, dv/dy per pixel. The level is log2 of the
            footprint's longer axis in texels (OpenGL 4.6 core profile, 8.14.1). Exactly one of ``level`` and
            ``uv_derivatives``.

    Returns:
        f32 ``[B, ..., C]``; NaN where a UV coordinate or the level is not finite.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, both or neither of ``level`` and ``uv_derivatives``.
    """
    check = Boundary("texture_sample_mipmap")
    texels, uv, level, uv_derivatives = _check_mipmap_inputs(check, pyramid, uv, level, uv_derivatives)
    out: FloatArray = array_module(texels).empty((*uv.shape[:-1], check.size("C")), np.float32)
    samples = uv.size // 2
    _SOURCE.launch(
        "sample_mipmap",
        samples,
        texels,
        uv,
        level,
        uv_derivatives,
        out,
        samples,
        max(samples // max(check.size("B"), 1), 1),
        int(check.size("N") == 1),
        texels.shape[1] * texels.shape[2],
        pyramid.height,
        pyramid.width,
        check.size("C"),
        pyramid.levels,
        int(wrap),
    )
    return out


@dataclass(frozen=True)
class TextureSampleGradients:
    """Gradients of a texture lookup.

    Attributes:
        texture: f32, of the texture's shape (summed over the images that share it); NaN throughout a texture
            that received a gradient which is not finite.
        uv: f32, of the UVs' shape, per unit of UV: 0 beyond a border that repeats its texel, NaN where the
            lookup is NaN.
    """

    texture: FloatArray
    uv: FloatArray


def texture_sample_vjp(
    texture: FloatArray | HalfArray | Bfloat16Array,
    uv: FloatArray,
    grad: FloatArray,
    *,
    wrap: bool = False,
    texel_format: TexelFormat | None = None,
) -> TextureSampleGradients:
    """Vector-Jacobian product of :func:`texture_sample` for float textures.

    What lookups add to a texel is summed in 64-bit fixed point, scaled by the largest gradient of the
    texture: the sum does not depend on the order of threads.

    Args:
        texture, uv, wrap, texel_format: as given to :func:`texture_sample`; f32, f16 or bfloat16.
        grad: f32 ``[B, ..., C]``, gradient of a scalar with respect to what was looked up.

    Raises:
        ValueError: wrong shape or dtype, mixed devices.
    """
    check = Boundary("texture_sample_vjp")
    dtypes = ("float32", "float16", "uint16") if texel_format else ("float32", "float16")
    texture = check.array("texture", texture, dtypes, "N H W C")
    _check_format(check, texture, texel_format)
    uv = check.array("uv", uv, "float32", "B ... 2")
    _check_texture(check, check.size("H") * check.size("W"))
    grad = _check_grad(check, grad, uv)
    target = make_texture_sums(texture.shape, grad)
    grad_uv: FloatArray = array_module(uv).empty(uv.shape, np.float32)
    samples = uv.size // 2
    _SOURCE.launch(
        f"sample_{_kernel_of(texture)}_vjp",
        samples,
        _bits(texture),
        uv,
        grad,
        target.magnitudes,
        target.sums,
        grad_uv,
        samples,
        max(samples // max(check.size("B"), 1), 1),
        int(check.size("N") == 1),
        check.size("H"),
        check.size("W"),
        check.size("C"),
        int(wrap),
        target.headroom,
    )
    return TextureSampleGradients(read_texture_sums(target), grad_uv)


def texture_sample_mipmap_vjp(
    pyramid: MipPyramid,
    uv: FloatArray,
    grad: FloatArray,
    *,
    level: FloatArray | None = None,
    uv_derivatives: FloatArray | None = None,
    wrap: bool = False,
) -> TextureSampleGradients:
    """Vector-Jacobian product of :func:`texture_sample_mipmap` and :func:`build_mip_pyramid` together: the
    texture's gradient is that of level 0, with what every coarser level received. The level of detail is
    treated as a constant. Sums as in :func:`texture_sample_vjp`.

    Args:
        pyramid, uv, level, uv_derivatives, wrap: as given to :func:`texture_sample_mipmap`.
        grad: f32 ``[B, ..., C]``, gradient of a scalar with respect to what was looked up.

    Returns:
        The gradients; ``texture`` has the shape ``[N, H, W, C]`` of the pyramid's level 0.

    Raises:
        ValueError: wrong shape or dtype, mixed devices, both or neither of ``level`` and ``uv_derivatives``.
    """
    check = Boundary("texture_sample_mipmap_vjp")
    texels, uv, level, uv_derivatives = _check_mipmap_inputs(check, pyramid, uv, level, uv_derivatives)
    grad = _check_grad(check, grad, uv)
    target = make_texture_sums(texels.shape, grad)
    grad_uv: FloatArray = array_module(uv).empty(uv.shape, np.float32)
    samples, channels = uv.size // 2, check.size("C")
    _SOURCE.launch(
        "sample_mipmap_vjp",
        samples,
        texels,
        uv,
        level,
        uv_derivatives,
        grad,
        target.magnitudes,
        target.sums,
        grad_uv,
        samples,
        max(samples // max(check.size("B"), 1), 1),
        int(check.size("N") == 1),
        texels.shape[1] * channels,
        pyramid.height,
        pyramid.width,
        channels,
        pyramid.levels,
        int(wrap),
        target.headroom,
    )
    return TextureSampleGradients(_through_pyramid(read_texture_sums(target), pyramid), grad_uv)


def _through_pyramid(by_level: FloatArray, pyramid: MipPyramid) -> FloatArray:
    """Gradient of level 0 ``[N, H, W, C]`` from that of all levels ``[N, T, C]``, coarsest first."""
    batch, _, channels = by_level.shape
    sides = _level_sides(pyramid)
    starts = [0, *itertools.accumulate(height * width for height, width in sides)]
    xp = array_module(by_level)
    below: Any = None
    for (height, width), start in reversed(list(zip(sides, starts, strict=False))):
        here = xp.ascontiguousarray(by_level[:, start : start + height * width])
        if below is not None:
            _SOURCE.launch(
                "add_level_below",
                batch * height * width,
                below,
                here,
                batch,
                height,
                width,
                channels,
                below.shape[1] * channels,
                height * width * channels,
            )
        below = here
    texture: FloatArray = below.reshape(batch, pyramid.height, pyramid.width, channels)
    return texture


def _level_sides(pyramid: MipPyramid) -> list[tuple[int, int]]:
    """Heights and widths of the levels, largest first."""
    return [
        (max(pyramid.height >> level, 1), max(pyramid.width >> level, 1)) for level in range(pyramid.levels)
    ]


def _kernel_of(texture: Any) -> str:
    return {"float16": "half", "uint16": "bfloat16"}.get(str(texture.dtype), "float")


def _check_format(check: Boundary, texture: Any, texel_format: TexelFormat | None) -> None:
    if texel_format not in (None, "bfloat16") or (texel_format is not None) != (texture.dtype == np.uint16):
        raise ValueError(
            f"{check.function}: texel_format must be 'bfloat16' for a uint16 texture and None for others, "
            f"got {texel_format!r} for {texture.dtype}"
        )


def _bits(texture: Any) -> Any:
    """What a kernel takes: half floats go as their 16 bits."""
    return texture.view(np.uint16) if texture.dtype == np.float16 else texture


def _check_grad(check: Boundary, grad: FloatArray, uv: FloatArray) -> FloatArray:
    shape = " ".join(str(n) for n in (*uv.shape[:-1], check.size("C")))
    checked: FloatArray = check.array("grad", grad, "float32", shape)
    return checked


def _check_mipmap_inputs(
    check: Boundary,
    pyramid: MipPyramid,
    uv: FloatArray,
    level: FloatArray | None,
    uv_derivatives: FloatArray | None,
) -> tuple[FloatArray, FloatArray, FloatArray | None, FloatArray | None]:
    texels = check.array("pyramid.texels", pyramid.texels, "float32", "N T C")
    uv = check.array("uv", uv, "float32", "B ... 2")
    _check_texture(check, check.size("T"))
    check.number("pyramid.levels", pyramid.levels, 1, 31)
    check.number("pyramid.height", pyramid.height, 1, 1 << 30)
    check.number("pyramid.width", pyramid.width, 1, 1 << 30)
    held = sum(height * width for height, width in _level_sides(pyramid))
    if held != check.size("T"):
        raise ValueError(
            f"{check.function}: {pyramid.levels} levels of {pyramid.height} x {pyramid.width} hold "
            f"{held} texels, pyramid.texels has {check.size('T')}; use build_mip_pyramid"
        )
    if (level is None) == (uv_derivatives is None):
        raise ValueError(f"{check.function}: give exactly one of level and uv_derivatives")
    if level is not None:
        level = check.array("level", level, "float32", " ".join(str(n) for n in uv.shape[:-1]))
    if uv_derivatives is not None:
        shape = " ".join(str(n) for n in (*uv.shape[:-1], 2, 2))
        uv_derivatives = check.array("uv_derivatives", uv_derivatives, "float32", shape)
    return texels, uv, level, uv_derivatives


def _check_texture(check: Boundary, texels: int) -> None:
    if texels == 0:
        raise ValueError(f"{check.function}: the texture must have at least one texel")
    if check.size("N") not in (1, check.size("B")):
        raise ValueError(
            f"{check.function}: the texture must have batch 1 or {check.size('B')} like uv, "
            f"got {check.size('N')}"
        )


def texture_sample_reference(texture: Float64Array, uv: Float64Array, *, wrap: bool = False) -> Float64Array:
    """One float64 texture ``[H, W, C]`` at ``uv [N, 2]``: the textbook bilinear filter (OpenGL 4.6 core,
    8.14.2).
    """
    height, width = texture.shape[:2]
    x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]

    def texel(row: Any, column: Any) -> Float64Array:
        if wrap:
            return np.asarray(texture[row % height, column % width], np.float64)
        return np.asarray(texture[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)], np.float64)

    top = texel(y0, x0) * (1 - fx) + texel(y0, x0 + 1) * fx
    bottom = texel(y0 + 1, x0) * (1 - fx) + texel(y0 + 1, x0 + 1) * fx
    return np.asarray(top * (1 - fy) + bottom * fy, np.float64)


def texture_sample_vjp_reference(
    texture: Float64Array, uv: Float64Array, grad: Float64Array, *, wrap: bool = False
) -> tuple[Float64Array, Float64Array]:
    """Gradients of one texture ``[H, W, C]`` and of its ``uv [N, 2]`` in float64: the transpose of the
    bilinear filter, and its slope within the cell of four texels.
    """
    height, width = texture.shape[:2]
    x, y = uv[:, 0] * width - 0.5, uv[:, 1] * height - 0.5
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    rows, columns = (y0, y0 + 1), (x0, x0 + 1)
    of_texture, of_uv = np.zeros_like(texture), np.zeros_like(uv)
    for row, row_weight, row_slope in zip(rows, (1 - fy, fy), (-1, 1), strict=True):
        for column, weight, slope in zip(columns, (1 - fx, fx), (-1, 1), strict=True):
            if wrap:
                at = (row % height, column % width)
            else:
                at = (np.clip(row, 0, height - 1), np.clip(column, 0, width - 1))
            np.add.at(of_texture, at, row_weight * weight * grad)
            seen = (texture[at] * grad).sum(1)
            of_uv[:, 0] += width * slope * row_weight[:, 0] * seen
            of_uv[:, 1] += height * row_slope * weight[:, 0] * seen
    return of_texture, of_uv


def texture_sample_mipmap_vjp_reference(
    texture: Float64Array, uv: Float64Array, level: Float64Array, grad: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Gradients of one texture ``[H, W, C]`` and of its ``uv [N, 2]`` looked up at ``level [N]``, in float64:
    each level's bilinear gradient by its weight, then each level's share to the finer one (Williams 1983,
    "Pyramidal parametrics").
    """
    levels = [texture]
    while max(levels[-1].shape[:2]) > 1 and all(side == 1 or side % 2 == 0 for side in levels[-1].shape[:2]):
        levels.append(_block_means(levels[-1]))
    clamped = np.clip(level, 0, len(levels) - 1)
    first = np.floor(clamped)
    of_uv, of_levels = np.zeros_like(uv), []
    for k, one in enumerate(levels):
        weight = np.where(first == k, 1 - clamped + k, np.where(first + 1 == k, clamped - first, 0))
        of_level, of_lookup = texture_sample_vjp_reference(one, uv, weight[:, None] * grad)
        of_levels.append(of_level)
        of_uv += of_lookup
    for coarse, fine in itertools.pairwise(reversed(of_levels)):
        tall, wide = (fine.shape[k] // coarse.shape[k] for k in range(2))
        fine += coarse.repeat(tall, 0).repeat(wide, 1) / (tall * wide)
    return of_levels[0], of_uv


def _block_means(texture: Float64Array) -> Float64Array:
    """Means of 2 × 2 texels (2 × 1 or 1 × 2 where a side is 1 already)."""
    height, width, channels = texture.shape
    tall, wide = min(height, 2), min(width, 2)
    blocks = texture.reshape(height // tall, tall, width // wide, wide, channels)
    return np.asarray(blocks.mean((1, 3)), np.float64)
