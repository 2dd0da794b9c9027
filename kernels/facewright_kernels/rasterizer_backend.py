"""The rasteriser behind one interface: this package's kernels, or nvdiffrast where it is installed."""

from __future__ import annotations

import importlib.util
from typing import Any, Final, Protocol

import numpy as np

from facewright_kernels._runtime.boundary import FloatArray, IntArray
from facewright_kernels.antialias import (
    AntialiasGradients,
    antialias,
    antialias_vjp,
    make_edge_topology,
)
from facewright_kernels.interpolate import InterpolateGradients, interpolate, interpolate_vjp
from facewright_kernels.rasterize import Raster, rasterize, rasterize_vjp

NAMES: Final = ("facewright", "nvdiffrast", "auto")


class RasterizerUnavailableError(RuntimeError):
    """A backend was asked for that cannot run here; the message quotes the cause."""


class RasterizerBackend(Protocol):
    """Rasterisation, interpolation and antialiasing with their vector-Jacobian products.

    Shapes, conventions and errors are those of the functions of the same names in this package. What
    :meth:`make_topology` returns is for the same backend's :meth:`antialias` only.
    """

    name: str

    def rasterize(
        self,
        clip_positions: FloatArray,
        triangles: IntArray,
        height: int,
        width: int,
        *,
        cull_back_faces: bool = False,
    ) -> Raster:
        """See :func:`facewright_kernels.rasterize`."""

    def rasterize_vjp(
        self,
        clip_positions: FloatArray,
        triangles: IntArray,
        raster: Raster,
        grad_barycentric: FloatArray,
        grad_depth: FloatArray | None = None,
    ) -> FloatArray:
        """See :func:`facewright_kernels.rasterize_vjp`."""

    def interpolate(self, attributes: FloatArray, triangles: IntArray, raster: Raster) -> FloatArray:
        """See :func:`facewright_kernels.interpolate`."""

    def interpolate_vjp(
        self, attributes: FloatArray, triangles: IntArray, raster: Raster, grad: FloatArray
    ) -> InterpolateGradients:
        """See :func:`facewright_kernels.interpolate_vjp`."""

    def make_topology(self, triangles: IntArray) -> Any:
        """What :meth:`antialias` needs to know of a topology, made once."""

    def antialias(
        self,
        image: FloatArray,
        raster: Raster,
        clip_positions: FloatArray,
        triangles: IntArray,
        topology: Any = None,
    ) -> FloatArray:
        """See :func:`facewright_kernels.antialias`."""

    def antialias_vjp(
        self,
        image: FloatArray,
        raster: Raster,
        clip_positions: FloatArray,
        triangles: IntArray,
        grad: FloatArray,
        topology: Any = None,
    ) -> AntialiasGradients:
        """See :func:`facewright_kernels.antialias_vjp`."""


class FacewrightRasterizer:
    """The kernels of this package; NumPy and CuPy arrays."""

    name: str = "facewright"
    rasterize = staticmethod(rasterize)
    rasterize_vjp = staticmethod(rasterize_vjp)
    interpolate = staticmethod(interpolate)
    interpolate_vjp = staticmethod(interpolate_vjp)
    make_topology = staticmethod(make_edge_topology)
    antialias = staticmethod(antialias)
    antialias_vjp = staticmethod(antialias_vjp)


def rasterizer_backend(name: str = "auto", *, like: object = None) -> RasterizerBackend:
    """A rasteriser by name.

    Args:
        name: ``"facewright"``, ``"nvdiffrast"``, or ``"auto"``: nvdiffrast where it is installed and torch
            and CuPy see a GPU, else facewright. (nvdiffrast's licence allows research and evaluation only.)
        like: an array such as the calls will get; with NumPy arrays ``"auto"`` is facewright everywhere.

    Raises:
        ValueError: another name.
        RasterizerUnavailableError: nvdiffrast was asked for by name and cannot run, or it is installed beside
            a GPU and does not load.
    """
    if name not in NAMES:
        raise ValueError(f"rasterizer backend must be one of {', '.join(NAMES)}, got {name!r}")
    if name == "facewright" or (
        name == "auto" and (isinstance(like, np.ndarray) or not _nvdiffrast_is_expected())
    ):
        return FacewrightRasterizer()
    from facewright_kernels.nvdiffrast_backend import NvdiffrastRasterizer

    return NvdiffrastRasterizer()


def _nvdiffrast_is_expected() -> bool:
    """Whether nvdiffrast, torch and CuPy are installed and torch sees a GPU. Imports torch only after
    nvdiffrast was found.
    """
    if any(importlib.util.find_spec(package) is None for package in ("nvdiffrast", "torch", "cupy")):
        return False
    torch: Any = importlib.import_module("torch")
    return bool(torch.cuda.is_available())
