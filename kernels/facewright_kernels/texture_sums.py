"""Sums of lookups for whole textures that do not depend on the order of threads: what the VJPs of texture
lookups share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import Float64Array, FloatArray, IntArray, array_module
from facewright_kernels._runtime.kernel_source import KernelSource
from facewright_kernels._runtime.partial_sums import part_count

_SOURCE = KernelSource("texture_sums")


@dataclass(frozen=True)
class TextureSums:
    """Fixed-point sums of N textures that kernels add to (vertex_sums.h explains the arithmetic).

    Attributes:
        magnitudes: i32 ``[N]``, float bits of the largest magnitude that reaches each texture.
        sums: u64 ``[N, ...]`` of the textures' shape, two's complement.
        headroom: log2 of the number of terms, rounded up.
    """

    magnitudes: IntArray
    sums: npt.NDArray[np.uint64]
    headroom: int


def make_texture_sums(shape: tuple[int, ...], grad: FloatArray) -> TextureSums:
    """Zero sums, scaled for the gradients that are going to be added.

    Args:
        shape: of the textures, ``(N, ...)``; their values are summed separately.
        grad: f32 ``[B, ..., C]``, of samples that add at most their gradient to a value; N is B, or 1.
    """
    xp: Any = array_module(grad)
    textures, channels = shape[0], grad.shape[-1]
    samples = grad.size // max(channels * textures, 1)
    # Twice the samples: the weights of one lookup may add up to a little more than 1.
    target = TextureSums(
        xp.zeros(textures, np.int32), xp.zeros(shape, np.uint64), max(2 * samples - 1, 0).bit_length()
    )
    parts = part_count(samples, grad)
    _SOURCE.launch(
        "note_magnitudes",
        textures * parts,
        grad,
        target.magnitudes,
        textures,
        samples,
        channels,
        parts,
    )
    return target


def read_texture_sums(target: TextureSums) -> FloatArray:
    """The sums as f32 of the textures' shape; NaN throughout a texture that a gradient reached which is not
    finite.
    """
    out: FloatArray = array_module(target.sums).empty(target.sums.shape, np.float32)
    textures = len(out)
    values = out.size // max(textures, 1)
    parts = part_count(values, out)
    _SOURCE.launch(
        "read_texture_sums",
        textures * parts,
        target.sums,
        target.magnitudes,
        out,
        textures,
        values,
        parts,
        target.headroom,
    )
    return out


def texture_sums_reference(terms: Float64Array, value: IntArray, values: int) -> Float64Array:
    """``out[k] = Σ terms[i] where value[i] = k`` for one texture in float64: ``[n]`` to ``[values]``."""
    out = np.zeros(values)
    np.add.at(out, value, terms)
    return out
