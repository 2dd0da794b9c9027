"""Bilinear texture lookups, and their gradients."""

from __future__ import annotations

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
    out: FloatArray = array_module(texture).empty((*uv.shape[:-1], check.size("C")), np.float32)
    samples, layout = uv.size // 2, _layout(check, uv, wrap)
    if texture.dtype == np.uint8:
        decoded = table_beside(texture, byte_decoding, srgb)
        _SOURCE.launch("sample_bytes", samples, texture, decoded, uv, out, *layout)
    else:
        _SOURCE.launch(f"sample_{_kernel_of(texture)}", samples, _bits(texture), uv, out, *layout)
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
    _SOURCE.launch(
        f"sample_{_kernel_of(texture)}_vjp",
        uv.size // 2,
        _bits(texture),
        uv,
        grad,
        target.magnitudes,
        target.sums,
        grad_uv,
        *_layout(check, uv, wrap),
        target.headroom,
    )
    return TextureSampleGradients(read_texture_sums(target), grad_uv)


def _layout(check: Boundary, uv: FloatArray, wrap: bool) -> tuple[int, ...]:
    """How many lookups there are in all and for each image, and the texture as all kernels take it."""
    samples = uv.size // 2
    for_each_image = max(samples // max(check.size("B"), 1), 1)
    shared = int(check.size("N") == 1)
    return samples, for_each_image, shared, check.size("H"), check.size("W"), check.size("C"), int(wrap)


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
