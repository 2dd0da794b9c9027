"""nvdiffrast (Laine et al. 2020) behind :class:`facewright_kernels.rasterizer_backend.RasterizerBackend`.

Optional: its licence allows research and evaluation only, so it is never required. CuPy arrays travel to
torch and back by DLPack without a copy, on the caller's CuPy stream.

Its raster is f32 ``[B, H, W, 4]``: the weights of corners 0 and 1, z/w, and the triangle's number plus one
(0 where there is nothing). Its first row in memory is NDC y = −1, as ours is; it calls that row the bottom of
the image and CONVENTIONS.md the top, so nothing has to be turned over. It draws both sides of every triangle
and gives depth no gradient.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from facewright_kernels.antialias import AntialiasGradients
from facewright_kernels.boundary import Boundary, FloatArray, IntArray, array_module
from facewright_kernels.interpolate import InterpolateGradients
from facewright_kernels.rasterize import Raster
from facewright_kernels.rasterizer_backend import RasterizerUnavailableError

#: Numbers up to here are whole in float32; beyond it nvdiffrast encodes them in another way.
MAXIMUM_TRIANGLES: Final = 1 << 24


def raster_to_nvdiffrast(raster: Raster) -> FloatArray:
    """f32 ``[B, H, W, 4]`` as nvdiffrast's operations read it."""
    check = Boundary("raster_to_nvdiffrast")
    triangle_id = check.array("raster.triangle_id", raster.triangle_id, "int32", "B H W")
    barycentric = check.array("raster.barycentric", raster.barycentric, "float32", "B H W 2")
    depth = check.array("raster.depth", raster.depth, "float32", "B H W")
    xp = array_module(triangle_id)
    out: FloatArray = xp.empty((*triangle_id.shape, 4), np.float32)
    out[..., :2] = barycentric
    out[..., 2] = xp.where(triangle_id < 0, np.float32(0), depth)
    out[..., 3] = triangle_id + 1
    return out


def raster_from_nvdiffrast(raster: FloatArray) -> Raster:
    """A :class:`Raster` from nvdiffrast's f32 ``[B, H, W, 4]``."""
    check = Boundary("raster_from_nvdiffrast")
    raster = check.array("raster", raster, "float32", "B H W 4")
    xp = array_module(raster)
    triangle_id: IntArray = raster[..., 3].astype(np.int32) - 1
    depth: FloatArray = xp.where(triangle_id < 0, np.float32(1), raster[..., 2])
    return Raster(triangle_id, xp.ascontiguousarray(raster[..., :2]), depth)


class NvdiffrastRasterizer:
    """nvdiffrast's CUDA rasteriser; CuPy arrays only.

    Raises:
        RasterizerUnavailableError: it, torch or CuPy is missing, does not load, or sees no GPU.
    """

    name: str = "nvdiffrast"

    def __init__(self) -> None:
        try:
            self._torch: Any = importlib.import_module("torch")
            self._cupy: Any = importlib.import_module("cupy")
            self._dr: Any = importlib.import_module("nvdiffrast.torch")
            if not self._torch.cuda.is_available():
                raise RuntimeError("torch.cuda.is_available() is False")
            self._context = self._dr.RasterizeCudaContext()
        except Exception as cause:  # a compiled extension may fail in any way
            raise RasterizerUnavailableError(
                f"the nvdiffrast backend cannot run: {type(cause).__name__}: {cause}. It needs nvdiffrast "
                "(not on PyPI; research and evaluation only), torch with CUDA and CuPy; the backend "
                "'facewright' needs none of them"
            ) from cause

    def rasterize(
        self,
        clip_positions: FloatArray,
        triangles: IntArray,
        height: int,
        width: int,
        *,
        cull_back_faces: bool = False,
    ) -> Raster:
        """See :func:`facewright_kernels.rasterize`; ``cull_back_faces`` is refused."""
        if cull_back_faces:
            raise ValueError("nvdiffrast draws both sides of a triangle: use the facewright backend to cull")
        if len(triangles) >= MAXIMUM_TRIANGLES:
            raise ValueError(f"nvdiffrast: at most {MAXIMUM_TRIANGLES - 1} triangles, got {len(triangles)}")
        with self._on_callers_stream():
            out, _ = self._draw(self._tensor(clip_positions), self._tensor(triangles), height, width)
            return raster_from_nvdiffrast(self._array(out))

    def rasterize_vjp(
        self,
        clip_positions: FloatArray,
        triangles: IntArray,
        raster: Raster,
        grad_barycentric: FloatArray,
        grad_depth: FloatArray | None = None,
    ) -> FloatArray:
        """See :func:`facewright_kernels.rasterize_vjp`; draws again. ``grad_depth`` is refused."""
        if grad_depth is not None:
            raise ValueError("nvdiffrast gives depth no gradient: use the facewright backend for grad_depth")
        height, width = raster.triangle_id.shape[1:]
        grad = self._cupy.zeros((*raster.triangle_id.shape, 4), np.float32)
        grad[..., :2] = grad_barycentric
        with self._on_callers_stream():
            positions = self._tensor(clip_positions).requires_grad_()
            out, _ = self._draw(positions, self._tensor(triangles), height, width)
            return self._gradients(out, grad, positions)[0]

    def interpolate(self, attributes: FloatArray, triangles: IntArray, raster: Raster) -> FloatArray:
        """See :func:`facewright_kernels.interpolate`."""
        with self._on_callers_stream():
            at = self._tensor(raster_to_nvdiffrast(raster))
            out, _ = self._dr.interpolate(self._tensor(attributes), at, self._tensor(triangles))
            return self._array(out)

    def interpolate_vjp(
        self, attributes: FloatArray, triangles: IntArray, raster: Raster, grad: FloatArray
    ) -> InterpolateGradients:
        """See :func:`facewright_kernels.interpolate_vjp`."""
        with self._on_callers_stream():
            values = self._tensor(attributes).requires_grad_()
            at = self._tensor(raster_to_nvdiffrast(raster)).requires_grad_()
            out, _ = self._dr.interpolate(values, at, self._tensor(triangles))
            to_attributes, to_raster = self._gradients(out, grad, values, at)
        return InterpolateGradients(to_attributes, self._cupy.ascontiguousarray(to_raster[..., :2]))

    def make_topology(self, triangles: IntArray) -> Any:
        """nvdiffrast's hash of edges."""
        with self._on_callers_stream():
            return self._dr.antialias_construct_topology_hash(self._tensor(triangles))

    def antialias(
        self,
        image: FloatArray,
        raster: Raster,
        clip_positions: FloatArray,
        triangles: IntArray,
        topology: Any = None,
    ) -> FloatArray:
        """See :func:`facewright_kernels.antialias`."""
        with self._on_callers_stream():
            at = self._tensor(raster_to_nvdiffrast(raster))
            mesh = self._tensor(clip_positions), self._tensor(triangles)
            return self._array(self._dr.antialias(self._tensor(image), at, *mesh, topology_hash=topology))

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
        with self._on_callers_stream():
            colours = self._tensor(image).requires_grad_()
            positions = self._tensor(clip_positions).requires_grad_()
            at = self._tensor(raster_to_nvdiffrast(raster))
            out = self._dr.antialias(colours, at, positions, self._tensor(triangles), topology_hash=topology)
            return AntialiasGradients(*self._gradients(out, grad, colours, positions))

    def _draw(self, positions: Any, triangles: Any, height: int, width: int) -> Any:
        return self._dr.rasterize(self._context, positions, triangles, (height, width), grad_db=False)

    def _gradients(self, out: Any, grad: FloatArray, *inputs: Any) -> list[FloatArray]:
        gradients = self._torch.autograd.grad(out, inputs, self._tensor(grad))
        return [self._array(gradient) for gradient in gradients]

    def _tensor(self, array: Any) -> Any:
        if not isinstance(array, self._cupy.ndarray):
            raise ValueError(f"the nvdiffrast backend takes CuPy arrays, got {type(array).__name__}")
        return self._torch.from_dlpack(self._cupy.ascontiguousarray(array))

    def _array(self, tensor: Any) -> FloatArray:
        array: FloatArray = self._cupy.from_dlpack(tensor.detach().contiguous())
        return array

    @contextmanager
    def _on_callers_stream(self) -> Iterator[None]:
        """Torch works on CuPy's current stream, so that neither waits for the other."""
        stream = self._torch.cuda.ExternalStream(self._cupy.cuda.get_current_stream().ptr)
        with self._torch.cuda.stream(stream):
            yield
