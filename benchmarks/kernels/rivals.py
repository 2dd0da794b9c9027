"""The obvious NumPy and torch programs for what the kernels compute, gradients by autograd. torch may be
missing.

A program is made with torch and what is constant, outside the time that is taken, and takes the tensors that
autograd goes back to.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.kernels.scene import Scene
from facewright_kernels import PinholeCamera, Raster

Program = Callable[..., Any]


def rivals(
    scene: Scene, numpy: Callable[[], Any] | None, with_torch: Callable[[Any], Callable[[], Any]] | None
) -> dict[str, Callable[[], Any]]:
    """``numpy`` for one image on the CPU; ``with_torch(torch)`` where torch is installed."""
    found: dict[str, Callable[[], Any]] = {}
    if numpy is not None and scene.xp is np and scene.batch == 1:
        found["numpy"] = numpy
    torch = find_torch(scene.xp)
    if with_torch is not None and torch is not None:
        found["torch"] = with_torch(torch)
    return found


def find_torch(xp: Any) -> Any:
    """torch, if it is installed and (for CuPy arrays) sees a GPU; else None. On a CPU it gets one thread."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch: Any = importlib.import_module("torch")
    if xp is np:
        torch.set_num_threads(1)
        return torch
    return torch if torch.cuda.is_available() else None


def forward(torch: Any, program: Program, inputs: Sequence[Any]) -> Callable[[], Any]:
    """``program`` of the inputs."""
    tensors = [torch.from_dlpack(array) for array in inputs]
    return lambda: program(*tensors)


def vjp(torch: Any, program: Program, inputs: Sequence[Any], grad: Any, wanted: int = 0) -> Callable[[], Any]:
    """Forward and backward of ``program``; the gradient of input number ``wanted``.

    Forward is part of the time: autograd has nothing to go back through without it.
    """
    leaves = [torch.from_dlpack(array).clone().requires_grad_() for array in inputs]
    upstream = torch.from_dlpack(grad)
    return lambda: torch.autograd.grad(program(*leaves), leaves, upstream)[wanted]


def adam(torch: Any, state: Sequence[Any], step: int, learning_rate: float) -> Callable[[], Any]:
    """torch's fused Adam on a copy of parameter, gradient and both moments."""
    values, gradient, first, second = (torch.from_dlpack(array).clone() for array in state)
    values.requires_grad_()
    values.grad = gradient
    optimizer = torch.optim.Adam([values], lr=learning_rate, fused=True)
    steps_before = torch.tensor(float(step - 1), device=values.device)
    optimizer.state[values] = {"step": steps_before, "exp_avg": first, "exp_avg_sq": second}

    def call() -> Any:
        optimizer.step()
        return values

    return call


def interpolate(torch: Any, triangles: Any, raster: Raster) -> Program:
    """Gather three corners, weigh and add: of attributes and barycentric weights."""
    ids = torch.from_dlpack(raster.triangle_id).long()
    corners = torch.from_dlpack(triangles).long()[ids.clamp(min=0)]  # [B, H, W, 3]
    image = torch.arange(len(ids), device=ids.device)[:, None, None, None]
    seen = (ids >= 0)[..., None]

    def program(attributes: Any, barycentric: Any) -> Any:
        last = 1 - barycentric.sum(-1, keepdim=True)
        weights = torch.cat([barycentric, last], -1)[..., None]
        return (attributes[image, corners] * weights).sum(-2) * seen

    return program


def numpy_interpolate(attributes: Any, triangles: Any, raster: Raster) -> Any:
    """The same of one image, at the pixels that see a triangle."""
    ids, weights = raster.triangle_id[0], raster.barycentric[0]
    seen = ids >= 0
    corners = attributes[0][triangles[ids[seen]]]
    b0, b1 = weights[seen, :1], weights[seen, 1:]
    out = np.zeros((1, *ids.shape, attributes.shape[2]), np.float32)
    out[0, seen] = b0 * corners[:, 0] + b1 * corners[:, 1] + (1 - b0 - b1) * corners[:, 2]
    return out


def barycentrics(torch: Any, triangles: Any, raster: Raster) -> Program:
    """Perspective-correct weights ``[N, 2]`` of the N pixels that see a triangle, of clip positions."""
    ids = torch.from_dlpack(raster.triangle_id).long()
    height, width = ids.shape[1:]
    image, row, column = torch.nonzero(ids >= 0, as_tuple=True)
    seen = torch.from_dlpack(triangles).long()[ids[image, row, column]]
    ndc_x = ((column + 0.5) * 2 / width - 1)[:, None]
    ndc_y = ((row + 0.5) * 2 / height - 1)[:, None]

    def program(positions: Any) -> Any:
        p = positions[image[:, None], seen]
        x, y = p[..., 0] - ndc_x * p[..., 3], p[..., 1] - ndc_y * p[..., 3]
        area = torch.roll(x, -1, 1) * torch.roll(y, -2, 1) - torch.roll(y, -1, 1) * torch.roll(x, -2, 1)
        return (area / area.sum(1, keepdim=True))[:, :2]

    return program


def shade(torch: Any) -> Program:
    """Nine bands of the unit normal times a light ``[B, 9, 3]`` or one per sample."""

    def program(normals: Any, light: Any) -> Any:
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

    return program


def vertex_normals(torch: Any, triangles: Any) -> Program:
    """Cross products added to their corners."""
    corners = torch.from_dlpack(triangles).long()

    def program(vertices: Any) -> Any:
        a, b, c = (vertices[:, corners[:, k]] for k in range(3))
        face = torch.linalg.cross(b - a, c - a)
        total = torch.zeros_like(vertices)
        for k in range(3):
            total = total.index_add(1, corners[:, k], face)
        return torch.nn.functional.normalize(total, dim=-1)

    return program


def clip_positions(torch: Any, camera: PinholeCamera) -> Program:
    """The pinhole camera as two matrix products, of vertices, intrinsics and ``[R | t]``; the image is
    square.
    """
    near, far = camera.near, camera.far

    def program(vertices: Any, intrinsics: Any, head_to_camera: Any) -> Any:
        at = vertices @ head_to_camera[:, :, :3].mT + head_to_camera[:, None, :, 3]
        pixel = at @ intrinsics.mT
        z = at[..., 2]
        scaled = 2 / camera.image_width * pixel[..., :2] - z[..., None]
        depth = ((far + near) * z - 2 * far * near) / (far - near)
        return torch.cat([scaled, depth[..., None], z[..., None]], -1)

    return program


def sample(torch: Any) -> Program:
    """``grid_sample`` of a texture ``[B, H, W, C]`` at ``[B, h, w, 2]``."""

    def program(texture: Any, uv: Any) -> Any:
        looked_up = torch.nn.functional.grid_sample(
            texture.permute(0, 3, 1, 2), uv * 2 - 1, padding_mode="border", align_corners=False
        )
        return looked_up.permute(0, 2, 3, 1)

    return program


def sample_planes(torch: Any, texture: Any, uv: Any) -> Callable[[], Any]:
    """:func:`sample` of a texture in torch's own layout, channels first."""
    planes = torch.from_dlpack(texture).permute(0, 3, 1, 2).contiguous()
    at = torch.from_dlpack(uv)
    program = sample(torch)
    return lambda: program(planes.permute(0, 2, 3, 1), at)


def sample_at_vertices(torch: Any, uv: Any) -> Program:
    """:func:`sample` of a map ``[B, S, S, C]`` at vertices ``[T, 2]`` that all images share."""
    at = torch.from_dlpack(uv)[None, None]
    program = sample(torch)
    return lambda texture: program(texture, at.expand(len(texture), -1, -1, -1))[:, 0]


def detail_normals(torch: Any, spans: Sequence[tuple[Any, Any]], inside: Any) -> Program:
    """Differences of neighbouring texels without the coarse tilt, crossed; spans are flat texel numbers."""
    ends = [tuple(torch.from_dlpack(at).reshape(-1) for at in span) for span in spans]
    covered = torch.from_dlpack(inside)[..., None]

    def program(displaced: Any, positions: Any, normals: Any) -> Any:
        tangents = []
        for first, last in ends:
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
        return torch.where(exists, unit, normals) * covered

    return program


def face_layer(torch: Any, triangle_id: Any) -> Program:
    """sRGB of albedo × shading, and coverage."""
    seen = (torch.from_dlpack(triangle_id) >= 0)[..., None]

    def program(albedo: Any, shading: Any) -> Any:
        light = albedo * shading
        curve = 1.055 * light.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
        colour = torch.where(light <= 0.0031308, 12.92 * light, curve)
        return torch.cat([colour * seen, seen.to(light.dtype)], -1)

    return program


def photo_composite(torch: Any, photo: Any, face_mask: Any) -> Program:
    """A layer over the photo, under the mask."""
    below, mask = torch.from_dlpack(photo), torch.from_dlpack(face_mask)[:, None]

    def program(layer: Any) -> Any:
        planes = layer.permute(0, 3, 1, 2)
        return below + mask * (planes[:, :3] - planes[:, 3:] * below)

    return program
