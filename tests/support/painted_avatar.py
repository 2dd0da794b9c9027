"""An avatar without a photo: a head model painted by its regions, for tests that need a fixed picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facewright.asset.gltf import write_glb
from facewright.asset.head_meshes import HeadMesh, MeshOptions, head_meshes, head_parts, head_skeleton
from facewright.core.mesh_part import MeshPart, Texture
from facewright.head.head_model import HeadModel
from facewright_kernels import interpolate, rasterize, vertex_normals

_SKIN = np.array([198, 152, 128.0])
_BROWN = (66, 46, 37)
_REGION_COLOURS = {"lips": (164, 88, 84), "brow_left": _BROWN, "brow_right": _BROWN, "scalp": _BROWN}
_PART_COLOURS = {
    "eye_left": (232, 228, 222),
    "eye_right": (232, 228, 222),
    "teeth_upper": (228, 220, 200),
    "teeth_lower": (228, 220, 200),
    "tongue": (178, 92, 92),
}
_IRIS, _PUPIL = (88, 112, 96), (18, 16, 16)


def painted_texture(head: HeadModel, size: int = 512) -> NDArray[np.uint8]:
    """sRGB u8 [size, size, 3]."""
    colours = np.tile(_SKIN, (head.vertex_count, 1))
    for region, colour in _REGION_COLOURS.items():
        share = head.region(region)[:, None]
        colours = colours * (1 - share) + np.asarray(colour) * share
    for part, colour in _PART_COLOURS.items():
        colours[head.triangles[head.part_triangles(part)].ravel()] = colour
    attributes = np.concatenate([colours, head.vertices_mean], axis=1)[head.uv_vertex].astype(np.float32)
    layout = np.concatenate(
        [head.uv * 2 - 1, np.tile(np.array([0, 1], np.float32), (len(head.uv), 1))], axis=1
    )
    raster = rasterize(layout[None], head.uv_triangles, size, size)
    painted = interpolate(attributes[None], head.uv_triangles, raster)[0]
    texture, points = painted[..., :3], painted[..., 3:]
    eyes = [list(head.part_names).index(name) for name in ("eye_left", "eye_right")]
    triangle = raster.triangle_id[0]
    for eye, centre, radius in zip(eyes, head.iris_centre, head.iris_radius, strict=True):
        distance = np.linalg.norm((points - centre)[..., :2], axis=-1)
        front = (triangle >= 0) & (head.triangle_part[triangle] == eye) & (points[..., 2] > centre[2] - 0.006)
        texture[front & (distance < radius)] = _IRIS
        texture[front & (distance < 0.4 * radius)] = _PUPIL
    texture[triangle < 0] = _SKIN
    codes: NDArray[np.uint8] = np.round(texture).astype(np.uint8)
    return codes


def encoded(texture: NDArray[np.uint8], texture_format: str = "png") -> Texture:
    """The texture as a file's bytes."""
    content = io.BytesIO()
    Image.fromarray(texture).save(content, texture_format, quality=90)
    return Texture("albedo", content.getvalue(), texture_format)


def avatar_parts(
    head: HeadModel, meshes: Sequence[HeadMesh], vertices: NDArray[np.float32], albedo: Texture
) -> list[MeshPart]:
    """The parts of neutral vertices f32 [V, 3], with their normals."""
    return head_parts(meshes, vertices, vertex_normals(vertices[None], head.triangles)[0], albedo)


def avatar_glb(
    head: HeadModel, meshes: Sequence[HeadMesh], vertices: NDArray[np.float32], albedo: Texture
) -> bytes:
    """Neutral vertices f32 [V, 3] as a GLB."""
    parts = avatar_parts(head, meshes, vertices, albedo)
    return write_glb(parts, head_skeleton(head, vertices), {"generator": "Facewright tests"})


def painted_glb(head: HeadModel, options: MeshOptions, albedo: Texture) -> bytes:
    """The mean head as a GLB."""
    return avatar_glb(head, head_meshes(head, options), head.vertices_mean, albedo)
