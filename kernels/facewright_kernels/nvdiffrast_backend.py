"""nvdiffrast (Laine et al. 2020) behind :class:`facewright_kernels.rasterizer_backend.RasterizerBackend`.

Optional: its licence allows research and evaluation only, so it is never required. CuPy arrays travel to
torch and back by DLPack without a copy, on the caller's CuPy stream.

Its raster is f32 ``[B, H, W, 4]``: the weights of corners 0 and 1, z/w, and the triangle's number plus one
(0 where there is nothing). Its first row in memory is NDC y = −1, as ours is; it calls that row the bottom of
the image and CONVENTIONS.md the top, so nothing has to be turned over.

It draws both sides of every triangle and gives depth no gradient. Here every triangle gets three corners of
its own, those of triangles to leave out lie outside the view, and depth is z/w interpolated.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright_kernels._runtime.boundary import Boundary, FloatArray, IntArray, array_module
from facewright_kernels.antialias import AntialiasGradients
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


def front_faces(clip_positions: FloatArray, triangles: IntArray) -> npt.NDArray[np.bool_]:
    """Which triangles are counter-clockwise on screen: bool ``[B, F]``.

    By the sign of the determinant of their corners' (x, y, w), which holds across the eye's plane too
    (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"), in float64.

    Args:
        clip_positions: f32 ``[B, V, 4]``.
        triangles: i32 ``[F, 3]``.
    """
    corners = (clip_positions[:, triangles[:, k]].astype(np.float64) for k in range(3))
    (ax, ay, aw), (bx, by, bw), (cx, cy, cw) = ((p[..., 0], p[..., 1], p[..., 3]) for p in corners)
    front: npt.NDArray[np.bool_] = (  # y points down
        ax * (by * cw - bw * cy) + ay * (bw * cx - bx * cw) + aw * (bx * cy - by * cx) < 0
    )
    return front


def seen_triangles(raster: Raster, triangle_count: int) -> npt.NDArray[np.bool_]:
    """Which triangles some pixel sees: bool ``[B, F]``. Drawing them alone gives the same raster."""
    xp = array_module(raster.triangle_id)
    batch = len(raster.triangle_id)
    seen = xp.zeros((batch, triangle_count + 1), np.bool_)
    number = xp.where(raster.triangle_id < 0, triangle_count, raster.triangle_id).reshape(batch, -1)
    seen[xp.arange(batch)[:, None], number] = True
    kept: npt.NDArray[np.bool_] = seen[:, :triangle_count]
    return kept


def own_corners(clip_positions: FloatArray, triangles: IntArray, kept: npt.NDArray[np.bool_]) -> FloatArray:
    """f32 ``[B, 3 F, 4]``: corner k of triangle t at 3 t + k; outside the view where ``kept [B, F]`` is
    False.
    """
    xp = array_module(clip_positions)
    # w = -1 is behind the eye, and no coordinate lies in -w to w.
    corners: FloatArray = xp.where(
        xp.repeat(kept, 3, axis=1)[..., None], clip_positions[:, triangles.reshape(-1)], np.float32(-1)
    )
    return corners


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
        """See :func:`facewright_kernels.rasterize`."""
        if len(triangles) >= MAXIMUM_TRIANGLES:
            raise ValueError(f"nvdiffrast: at most {MAXIMUM_TRIANGLES - 1} triangles, got {len(triangles)}")
        if cull_back_faces:
            clip_positions = own_corners(clip_positions, triangles, front_faces(clip_positions, triangles))
            triangles = self._own_triangles(len(triangles))
        with self._on_callers_stream():
            out = self._draw(self._tensor(clip_positions), self._tensor(triangles), height, width)
            return raster_from_nvdiffrast(self._array(out))

    def rasterize_vjp(
        self,
        clip_positions: FloatArray,
        triangles: IntArray,
        raster: Raster,
        grad_barycentric: FloatArray,
        grad_depth: FloatArray | None = None,
    ) -> FloatArray:
        """See :func:`facewright_kernels.rasterize_vjp`; draws the triangles that the raster shows again."""
        cupy = self._cupy
        height, width = raster.triangle_id.shape[1:]
        grad = cupy.zeros((*raster.triangle_id.shape, 4), np.float32)
        grad[..., :2] = grad_barycentric
        corners = own_corners(clip_positions, triangles, seen_triangles(raster, len(triangles)))
        with self._on_callers_stream():
            positions = self._tensor(corners).requires_grad_()
            own = self._tensor(self._own_triangles(len(triangles)))
            out = self._draw(positions, own, height, width)
            results, grads = [out], [self._tensor(grad)]
            if grad_depth is not None:
                depth, _ = self._dr.interpolate(positions[..., 2:].contiguous(), out, own)
                seen = depth[..., 1] != 0
                results.append(depth[..., 0] / self._torch.where(seen, depth[..., 1], 1.0))
                grads.append(self._tensor(grad_depth) * seen)
            (of_corners,) = self._torch.autograd.grad(results, positions, grads)
            by_corner = self._array(of_corners)
        gradient: FloatArray = cupy.zeros(clip_positions.shape, np.float32)
        cupy.add.at(gradient, (slice(None), triangles.reshape(-1)), by_corner)
        return gradient

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
        out, _ = self._dr.rasterize(self._context, positions, triangles, (height, width), grad_db=False)
        return out

    def _own_triangles(self, count: int) -> IntArray:
        """i32 ``[F, 3]`` of :func:`own_corners`."""
        triangles: IntArray = self._cupy.arange(3 * count, dtype=np.int32).reshape(count, 3)
        return triangles

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
        device, pointer = self._cupy.cuda.Device().id, self._cupy.cuda.get_current_stream().ptr
        # ExternalStream takes a null pointer for none, and makes a stream of its own.
        cuda = self._torch.cuda
        stream = cuda.ExternalStream(pointer, device) if pointer else cuda.default_stream(device)
        with self._torch.cuda.stream(stream):
            yield
