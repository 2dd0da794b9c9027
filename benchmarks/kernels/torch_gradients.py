"""The obvious torch programs whose gradients autograd takes, beside the kernels' vector-Jacobian products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def vjp(
    torch: Any, program: Callable[..., Any], inputs: Sequence[Any], grad: Any, wanted: int = 0
) -> Callable[[], Any]:
    """Forward and backward of ``program(torch, *inputs)``; the gradient of input number ``wanted``.

    Forward is part of the time: autograd has nothing to go back through without it.
    """
    leaves = [torch.from_dlpack(array).clone().requires_grad_() for array in inputs]
    upstream = torch.from_dlpack(grad)
    return lambda: torch.autograd.grad(program(torch, *leaves), leaves, upstream)[wanted]


def adam(torch: Any, parameter: Any, gradient: Any, learning_rate: float) -> Callable[[], Any]:
    """torch's fused Adam on a copy of the parameter."""
    values = torch.from_dlpack(parameter).clone().requires_grad_()
    values.grad = torch.from_dlpack(gradient).clone()
    optimizer = torch.optim.Adam([values], lr=learning_rate, fused=True)

    def call() -> Any:
        optimizer.step()
        return values

    return call


def shade(torch: Any, normals: Any, light: Any) -> Any:
    """Nine bands of the unit normal times a light ``[B, 9, 3]`` or one per sample."""
    x, y, z = torch.nn.functional.normalize(normals, dim=-1).unbind(-1)
    bands = torch.stack(
        (
            torch.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ),
        -1,
    )
    if light.ndim == bands.ndim + 1:
        return torch.einsum("bhwk,bhwkc->bhwc", bands, light)
    return torch.einsum("bhwk,bkc->bhwc", bands, light)


def vertex_normals(triangles: Any) -> Callable[..., Any]:
    """Cross products added to their corners."""

    def program(torch: Any, vertices: Any) -> Any:
        corners = torch.from_dlpack(triangles).long()
        a, b, c = (vertices[:, corners[:, k]] for k in range(3))
        face = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(vertices)
        for k in range(3):
            total = total.index_add(1, corners[:, k], face)
        return torch.nn.functional.normalize(total, dim=-1)

    return program


def clip_positions(image_side: int, near: float, far: float) -> Callable[..., Any]:
    """The pinhole camera as two matrix products."""

    def program(torch: Any, vertices: Any, intrinsics: Any, head_to_camera: Any) -> Any:
        at = vertices @ head_to_camera[:, :, :3].mT + head_to_camera[:, None, :, 3]
        pixel = at @ intrinsics.mT
        z = at[..., 2]
        scaled = 2 / image_side * pixel[..., :2] - z[..., None]
        depth = ((far + near) * z - 2 * far * near) / (far - near)
        return torch.cat([scaled, depth[..., None], z[..., None]], -1)

    return program


def sample(torch: Any, texture: Any, uv: Any) -> Any:
    """``grid_sample`` of a texture ``[B, H, W, C]`` at ``[B, h, w, 2]``."""
    looked_up = torch.nn.functional.grid_sample(
        texture.permute(0, 3, 1, 2), uv * 2 - 1, padding_mode="border", align_corners=False
    )
    return looked_up.permute(0, 2, 3, 1)


def detail_normals(spans: Sequence[tuple[Any, Any]], inside: Any) -> Callable[..., Any]:
    """Differences of neighbouring texels without the coarse tilt, crossed; spans are flat texel numbers."""

    def program(torch: Any, displaced: Any, positions: Any, normals: Any) -> Any:
        tangents = []
        for start, end in spans:
            first, last = torch.from_dlpack(start).reshape(-1), torch.from_dlpack(end).reshape(-1)
            moved, flat = (
                (surface.flatten(1, 2)[:, last] - surface.flatten(1, 2)[:, first]).reshape(displaced.shape)
                for surface in (displaced, positions)
            )
            tangents.append(moved - normals * (normals * flat).sum(-1, keepdim=True))
        side = torch.linalg.cross(*tangents)
        sign = torch.where((side * normals).sum(-1, keepdim=True) < 0, -1.0, 1.0)
        squared = (side * side).sum(-1, keepdim=True)
        exists = squared > 0
        unit = sign * side / torch.where(exists, squared, 1.0).sqrt()
        return torch.where(exists, unit, normals) * torch.from_dlpack(inside)[..., None]

    return program


def project(shape: Any, camera: Any, weight: Any) -> Callable[..., Any]:
    """Texels' surface points through the camera, then ``grid_sample``; ``shape``: corners ``[S, S, 3]`` as
    vertex numbers and their barycentric weights. The image must be square.
    """

    def program(torch: Any, image: Any, vertices: Any) -> Any:
        corners, shares = (torch.from_dlpack(array) for array in shape)
        intrinsics, head_to_camera = (
            torch.from_dlpack(camera.intrinsics),
            torch.from_dlpack(camera.head_to_camera),
        )
        at = vertices @ head_to_camera[:, :, :3].mT + head_to_camera[:, None, :, 3]
        points = at @ intrinsics.mT
        texels = (
            points[:, corners.reshape(-1)].reshape(len(points), *corners.shape, 3) * shares[..., None]
        ).sum(-2)
        seen = torch.from_dlpack(weight)[..., None] > 0
        pixel = torch.where(seen, texels[..., :2] / torch.where(seen, texels[..., 2:], 1.0), 0.0)
        return sample(torch, image, pixel / camera.image_width) * seen

    return program
