"""The obvious torch programs for what the kernels compute, gradients by autograd. torch may be missing."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from facewright_kernels import Raster


def find_torch(xp: Any) -> Any:
    """torch, if it is installed and (for CuPy arrays) sees a GPU; else None. On a CPU it gets one thread."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    if xp is np:
        torch.set_num_threads(1)
        return torch
    return torch if torch.cuda.is_available() else None


def interpolate(torch: Any, attributes: Any, triangles: Any, raster: Raster) -> Callable[[], Any]:
    """Gather three corners, weigh and add."""
    values, corners, ids, weights = _mesh_at_pixels(torch, attributes, triangles, raster)
    return lambda: _interpolated(torch, values, corners, ids, weights)


def interpolate_vjp(
    torch: Any, attributes: Any, triangles: Any, raster: Raster, grad: Any
) -> Callable[[], Any]:
    """Autograd over :func:`interpolate`; the gradient of the attributes."""
    values, corners, ids, weights = _mesh_at_pixels(torch, attributes, triangles, raster)
    values.requires_grad_()
    weights.requires_grad_()
    upstream = torch.from_dlpack(grad)

    def call() -> Any:
        out = _interpolated(torch, values, corners, ids, weights)
        return torch.autograd.grad(out, (values, weights), upstream)[0]

    return call


def rasterize_vjp(
    torch: Any, clip_positions: Any, triangles: Any, raster: Raster, grad: Any
) -> Callable[[], Any]:
    """Autograd over perspective-correct barycentrics at the visible triangles."""
    positions = torch.from_dlpack(clip_positions).clone().requires_grad_()
    corners = torch.from_dlpack(triangles).long()
    ids = torch.from_dlpack(raster.triangle_id).long()
    upstream = torch.from_dlpack(grad)
    height, width = ids.shape[1:]
    image, row, column = torch.nonzero(ids >= 0, as_tuple=True)
    seen = corners[ids[image, row, column]]
    ndc_x = ((column + 0.5) * 2 / width - 1)[:, None]
    ndc_y = ((row + 0.5) * 2 / height - 1)[:, None]

    def call() -> Any:
        p = positions[image[:, None], seen]
        x, y = p[..., 0] - ndc_x * p[..., 3], p[..., 1] - ndc_y * p[..., 3]
        area = torch.roll(x, -1, 1) * torch.roll(y, -2, 1) - torch.roll(y, -1, 1) * torch.roll(x, -2, 1)
        barycentric = (area / area.sum(1, keepdim=True))[:, :2]
        return torch.autograd.grad(barycentric, positions, upstream[image, row, column])[0]

    return call


def sh_shading(torch: Any, normals: Any, coefficients: Any) -> Callable[[], Any]:
    """Nine bands of the unit normal, then a matrix product."""
    n, c = torch.from_dlpack(normals), torch.from_dlpack(coefficients)

    def call() -> Any:
        x, y, z = torch.nn.functional.normalize(n, dim=-1).unbind(-1)
        bands = (
            torch.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        )
        return torch.einsum("bhwk,bkc->bhwc", torch.stack(bands, -1), c.expand(n.shape[0], -1, -1))

    return call


def vertex_normals(torch: Any, vertices: Any, triangles: Any) -> Callable[[], Any]:
    """Cross products added to their corners."""
    v, corners = torch.from_dlpack(vertices), torch.from_dlpack(triangles).long()

    def call() -> Any:
        a, b, c = (v[:, corners[:, k]] for k in range(3))
        face = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(v)
        for k in range(3):
            total.index_add_(1, corners[:, k], face)
        return torch.nn.functional.normalize(total, dim=-1)

    return call


def texture_sample(torch: Any, texture: Any, uv: Any) -> Callable[[], Any]:
    """``grid_sample`` in torch's own layout, channels first."""
    planes = torch.from_dlpack(texture).permute(0, 3, 1, 2).contiguous()
    grid = torch.from_dlpack(uv) * 2 - 1

    def call() -> Any:
        sampled = torch.nn.functional.grid_sample(
            planes, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return sampled.permute(0, 2, 3, 1)

    return call


def _mesh_at_pixels(torch: Any, attributes: Any, triangles: Any, raster: Raster) -> tuple[Any, ...]:
    return (
        torch.from_dlpack(attributes).clone(),
        torch.from_dlpack(triangles).long(),
        torch.from_dlpack(raster.triangle_id).long(),
        torch.from_dlpack(raster.barycentric).clone(),
    )


def _interpolated(torch: Any, values: Any, corners: Any, ids: Any, weights: Any) -> Any:
    last = 1 - weights.sum(-1, keepdim=True)
    at = corners[ids.clamp(min=0)]  # [B, H, W, 3]
    image = torch.arange(values.shape[0], device=values.device)[:, None, None, None]
    blended = (values[image, at] * torch.cat([weights, last], -1)[..., None]).sum(-2)
    return blended * (ids >= 0)[..., None]
