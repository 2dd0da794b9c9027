"""A head model's parts as the meshes of a file: skin, eyes, teeth, tongue, each with its own vertices.

What is the same for everyone, `head_meshes`, is built once for a head model and a set of options;
`head_parts` gives it a person's geometry and texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from facewright.asset.morph_targets import MorphTargets, morph_targets
from facewright.core.mesh_part import (
    F32,
    I32,
    U8,
    Material,
    MeshPart,
    MeshTopology,
    MorphTarget,
    Skeleton,
    Skin,
    Texture,
)
from facewright.head.head_model import HeadModel
from facewright.head.mouth_shadow import mouth_shadow

#: The mesh that has all morph targets, whether they move it or not.
HEAD_MESH: Final = "head_mesh"
#: Mesh -> (parts of the head model, material).
MESHES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    HEAD_MESH: (("skin",), "skin"),
    "eyes_mesh": (("eye_left", "eye_right"), "eyes"),
    "teeth_mesh": (("teeth_upper", "teeth_lower"), "mouth"),
    "tongue_mesh": (("tongue",), "mouth"),
}
#: Perceptual roughness: matt skin, a wet cornea, wet teeth and tongue.
_ROUGHNESS: Final = {"skin": 0.55, "eyes": 0.08, "mouth": 0.3}


@dataclass(frozen=True)
class MeshOptions:
    """What changes the head's meshes.

    Attributes:
        lods: lower levels of detail, 0-2.
        visemes: whether the visemes are morph targets of their own.
    """

    lods: int = 0
    visemes: bool = True


@dataclass(frozen=True)
class HeadMesh:
    """One mesh of a head, without a person.

    Attributes:
        topology: the mesh; its vertices are UV vertices of the head model.
        vertices: i32 [N], the head model's vertex of each of them.
        material: name of its material.
    """

    topology: MeshTopology
    vertices: I32
    material: str


def head_meshes(head: HeadModel, options: MeshOptions) -> tuple[HeadMesh, ...]:
    """The meshes of a head; those of which it has no triangles are left out.

    Raises:
        ValueError: another number of levels of detail than 0-2, or a lower level has a vertex that the finest
            one lacks.
    """
    if not 0 <= options.lods <= 2:
        raise ValueError(f"lods must be 0, 1 or 2, got {options.lods}")
    targets = morph_targets(head, options.visemes)
    colours = _shadow_colours(mouth_shadow(head))
    joints, weights = _four_strongest_joints(head.skin_weights)
    meshes: list[HeadMesh] = []
    for name, (parts, material) in MESHES.items():
        triangles = _triangles(head, parts, options.lods)
        if len(triangles[0]) == 0:
            continue
        uv_vertices = np.unique(triangles[0]).astype(np.int32)
        vertices = head.uv_vertex[uv_vertices]
        topology = MeshTopology(
            name=name,
            uv=head.uv[uv_vertices],
            levels=_own_triangles(name, triangles, uv_vertices, len(head.uv)),
            morphs=_morphs(targets, vertices, keep_all=name == HEAD_MESH),
            skin=Skin(joints[vertices], weights[vertices]),
            colours=colours[vertices],
        )
        meshes.append(HeadMesh(topology, vertices, material))
    return tuple(meshes)


def head_parts(meshes: Sequence[HeadMesh], vertices: F32, normals: F32, albedo: Texture) -> list[MeshPart]:
    """The parts of a person's neutral head.

    Args:
        meshes: from `head_meshes`.
        vertices: f32 [V, 3], head space, metres.
        normals: f32 [V, 3], unit.
        albedo: of all parts.
    """
    return [
        MeshPart(
            mesh.topology,
            vertices[mesh.vertices],
            normals[mesh.vertices],
            Material(mesh.material, base_colour=albedo, roughness=_ROUGHNESS[mesh.material]),
        )
        for mesh in meshes
    ]


def head_skeleton(head: HeadModel, vertices: F32) -> Skeleton:
    """The joints of a person's neutral head, of ``vertices`` f32 [V, 3]."""
    return Skeleton(
        names=tuple(str(name) for name in head.joint_names),
        parents=tuple(int(parent) for parent in head.joint_parents),
        positions=head.joints(vertices),
    )


def _triangles(head: HeadModel, parts: tuple[str, ...], lods: int) -> list[I32]:
    """UV triangles i32 [F, 3] of some parts, of the finest and ``lods`` lower levels of detail."""
    part_names = [str(name) for name in head.part_names]
    ids = [part_names.index(part) for part in parts if part in part_names]
    levels = [
        (head.uv_triangles, head.triangle_part),
        (head.lod1_uv_triangles, head.lod1_part),
        (head.lod2_uv_triangles, head.lod2_part),
    ]
    return [uv_triangles[np.isin(part, ids)] for uv_triangles, part in levels[: lods + 1]]


def _own_triangles(name: str, levels: list[I32], uv_vertices: I32, uv_count: int) -> tuple[I32, ...]:
    """The levels in a mesh's own vertices; levels in which it has vanished are left out."""
    own = np.full(uv_count, -1, np.int32)
    own[uv_vertices] = np.arange(len(uv_vertices), dtype=np.int32)
    triangles = tuple(own[level] for level in levels if len(level))
    if min(int(level.min()) for level in triangles) < 0:
        raise ValueError(f"{name}: a lower level of detail has a vertex that the finest one lacks")
    return triangles


def _morphs(targets: MorphTargets, vertices: I32, keep_all: bool) -> tuple[MorphTarget, ...]:
    """A mesh's morph targets: those that move it, or all."""
    morphs: list[MorphTarget] = []
    for k, name in enumerate(targets.names):
        moved = np.flatnonzero(targets.moved[k][vertices])
        if len(moved) or keep_all:
            at = vertices[moved]
            morphs.append(
                MorphTarget(name, moved.astype(np.int32), targets.positions[k][at], targets.normals[k][at])
            )
    return tuple(morphs)


def _shadow_colours(shadow: F32) -> U8:
    """Vertex colours u8 [V, 4]: grey of the shadow (a factor on the texture, linear), opaque."""
    colours = np.full((len(shadow), 4), 255, np.uint8)
    colours[:, :3] = np.round(np.clip(shadow, 0, 1) * 255).astype(np.uint8)[:, None]
    return colours


def _four_strongest_joints(weights: F32) -> tuple[U8, F32]:
    """Joint indices u8 [V, 4] and weights f32 [V, 4] that sum to 1; unused places hold joint 0, weight 0."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    strongest = np.take_along_axis(weights, order, axis=1)
    strongest = strongest / strongest.sum(axis=1, keepdims=True)
    joints = np.where(strongest > 0, order, 0)
    padding = ((0, 0), (0, 4 - joints.shape[1]))
    return np.pad(joints, padding).astype(np.uint8), np.pad(strongest, padding).astype(np.float32)
