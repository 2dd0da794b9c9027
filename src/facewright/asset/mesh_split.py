"""A head model's parts as the meshes of a file: skin, eyes, teeth, tongue, each with its own vertices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.head.head_model import HeadModel

I32 = npt.NDArray[np.int32]

#: The mesh that has all morph targets, whether they move it or not.
HEAD_MESH: Final = "head_mesh"
#: Mesh -> (parts of the head model, material).
MESHES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    HEAD_MESH: (("skin",), "skin"),
    "eyes_mesh": (("eye_left", "eye_right"), "eyes"),
    "teeth_mesh": (("teeth_upper", "teeth_lower"), "mouth"),
    "tongue_mesh": (("tongue",), "mouth"),
}


@dataclass(frozen=True)
class MeshVertices:
    """One mesh of the file.

    Attributes:
        name: of its node and mesh.
        material: name of its material.
        uv_vertices: i32 [N], the head model's UV vertices that are its vertices.
        start: where they start among the vertices of all meshes.
        levels: i32 [F, 3] triangles of its own vertices, finest level first; levels in which the mesh has
            vanished are left out.
    """

    name: str
    material: str
    uv_vertices: I32
    start: int
    levels: tuple[I32, ...]


def split_meshes(head: HeadModel, lods: int) -> list[MeshVertices]:
    """The meshes of a file with ``lods`` lower levels of detail, without those that the head does not have.

    Raises:
        ValueError: a lower level has a vertex that the finest one lacks.
    """
    part_names = [str(name) for name in head.part_names]
    levels = [
        (head.uv_triangles, head.triangle_part),
        (head.lod1_uv_triangles, head.lod1_part),
        (head.lod2_uv_triangles, head.lod2_part),
    ][: lods + 1]
    meshes: list[MeshVertices] = []
    start = 0
    for name, (parts, material) in MESHES.items():
        ids = [part_names.index(part) for part in parts if part in part_names]
        triangles = [uv_triangles[np.isin(part, ids)] for uv_triangles, part in levels]
        if len(triangles[0]) == 0:
            continue
        uv_vertices = np.unique(triangles[0])
        local = np.full(len(head.uv), -1, np.int32)
        local[uv_vertices] = np.arange(len(uv_vertices), dtype=np.int32)
        own = tuple(local[level] for level in triangles if len(level))
        if min(int(level.min()) for level in own) < 0:
            raise ValueError(f"{name}: a lower level of detail has a vertex that the finest one lacks")
        meshes.append(MeshVertices(name, material, uv_vertices.astype(np.int32), start, own))
        start += len(uv_vertices)
    return meshes
