"""Kernels of Facewright: one source, compiled for a GPU by NVRTC (CuPy arrays) or for a CPU by g++ (NumPy
arrays).

Every kernel is a trio: ``x.cu``, ``x.py`` (checks, launch, float64 reference), ``tests/kernels/test_x.py``.
"""

from facewright_kernels.interpolate import attribute_derivatives, interpolate
from facewright_kernels.rasterize import Raster, rasterize
from facewright_kernels.texture_sample import (
    MipPyramid,
    build_mip_pyramid,
    texture_sample,
    texture_sample_mipmap,
)

__all__ = [
    "MipPyramid",
    "Raster",
    "attribute_derivatives",
    "build_mip_pyramid",
    "interpolate",
    "rasterize",
    "texture_sample",
    "texture_sample_mipmap",
]
