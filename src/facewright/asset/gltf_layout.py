"""What is the same for everyone in an avatar's glTF: JSON tree, triangles, UVs, skinning, morph targets.

Built once per head model and set of options; `facewright.asset.gltf` adds what differs from person to person.
Specification: Khronos glTF 2.0, sections 3.6 (binary data), 3.7 (meshes, skins), 3.8 (textures); MSFT_lod.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.asset.gltf_buffer import (
    FLOAT32,
    INDICES,
    UINT8,
    UINT16,
    UINT32,
    VERTICES,
    BufferBuilder,
    Json,
    SparseVectors,
)
from facewright.asset.mesh_split import HEAD_MESH, MeshVertices, split_meshes
from facewright.asset.morph_targets import MorphTargets, morph_targets
from facewright.head.head_model import HeadModel
from facewright.head.mouth_shadow import mouth_shadow

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP = 9729, 9987, 33071
#: glTF's perceptual roughness: matt skin, a wet cornea, wet teeth and tongue.
_ROUGHNESS: Final = {"skin": 0.55, "eyes": 0.08, "mouth": 0.3}
#: MSFT_lod: share of the screen's height below which the next level is shown; 0 never hides the last one.
_SCREEN_COVERAGE: Final = ((0.0,), (0.35, 0.0), (0.35, 0.12, 0.0))


@dataclass(frozen=True)
class LayoutOptions:
    """What changes the layout of the file.

    Attributes:
        lods: lower levels of detail, 0-2.
        visemes: whether the visemes are morph targets of their own.
    """

    lods: int = 0
    visemes: bool = True


@dataclass(frozen=True)
class AvatarLayout:
    """A glTF without a person in it.

    Attributes:
        document: the JSON tree; positions' bounds, joints' translations, the texture and the metadata are
            still to be filled in.
        constant: the first bytes of the binary chunk, a multiple of four. Positions and normals of all
            vertices, the inverse bind matrices and the texture follow, in this order.
        vertex: i32 [N], the head model's vertex of each glTF vertex, all meshes one after the other.
        position_accessors: (accessor, first vertex, last vertex + 1) of each mesh.
        joint_nodes: node of each joint.
        joint_parents: parent joint of each joint, -1 for the root.
        texture_view: the texture's bufferView.
        triangle_counts: triangles of each level of detail, finest first.
        morph_names: morph targets of the head mesh.
    """

    document: Json
    constant: bytes
    vertex: I32
    position_accessors: tuple[tuple[int, int, int], ...]
    joint_nodes: tuple[int, ...]
    joint_parents: tuple[int, ...]
    texture_view: int
    triangle_counts: tuple[int, ...]
    morph_names: tuple[str, ...]


def avatar_layout(head: HeadModel, options: LayoutOptions) -> AvatarLayout:
    """Builds the layout for a head model.

    Raises:
        ValueError: another number of levels of detail than 0-2, or a level that does not fit the others.
    """
    if not 0 <= options.lods <= 2:
        raise ValueError(f"lods must be 0, 1 or 2, got {options.lods}")
    targets = morph_targets(head, options.visemes)
    meshes = split_meshes(head, options.lods)
    uv_vertices = np.concatenate([mesh.uv_vertices for mesh in meshes])
    vertex = head.uv_vertex[uv_vertices]
    buffer = BufferBuilder()

    index_accessors = [_add_triangles(buffer, mesh) for mesh in meshes]
    joints, weights = _four_strongest_joints(head.skin_weights[vertex])
    shared = {
        "TEXCOORD_0": buffer.add_view(head.uv[uv_vertices].astype("<f4").tobytes(), VERTICES, stride=8),
        "JOINTS_0": buffer.add_view(joints.tobytes(), VERTICES, stride=4),
        "WEIGHTS_0": buffer.add_view(weights.astype("<f4").tobytes(), VERTICES, stride=16),
        "COLOR_0": buffer.add_view(_shadow_colours(mouth_shadow(head)[vertex]), VERTICES, stride=4),
    }
    target_members = _add_morph_targets(buffer, head, meshes, targets)
    constant = buffer.content()

    shared["POSITION"] = buffer.reserve_view(len(vertex) * 12, VERTICES, stride=12)
    shared["NORMAL"] = buffer.reserve_view(len(vertex) * 12, VERTICES, stride=12)
    bind_view = buffer.reserve_view(len(head.joint_names) * 64)
    texture_view = buffer.reserve_view(0)
    bind_accessor = buffer.accessor(bind_view, 0, FLOAT32, "MAT4", len(head.joint_names))

    attributes = [_add_attributes(buffer, shared, mesh) for mesh in meshes]
    materials = list(dict.fromkeys(mesh.material for mesh in meshes))
    gltf_meshes: list[Json] = []
    levels = [
        (level, i)
        for level in range(options.lods + 1)
        for i, mesh in enumerate(meshes)
        if level < len(mesh.levels)
    ]
    for level, i in levels:
        primitive: Json = {
            "attributes": attributes[i],
            "indices": index_accessors[i][level],
            "material": materials.index(meshes[i].material),
            "mode": 4,
        }
        gltf_mesh: Json = {"name": _level_name(meshes[i].name, level), "primitives": [primitive]}
        names, primitive_targets = target_members[i]
        if names:
            primitive["targets"] = primitive_targets
            gltf_mesh["extras"] = {"targetNames": names}
        gltf_meshes.append(gltf_mesh)

    nodes, scene_nodes, joint_nodes = _nodes(head, meshes, levels)
    document: Json = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"name": "avatar", "nodes": scene_nodes}],
        "nodes": nodes,
        "meshes": gltf_meshes,
        "skins": [
            {
                "name": "skeleton",
                "inverseBindMatrices": bind_accessor,
                "joints": joint_nodes,
                "skeleton": joint_nodes[list(head.joint_parents).index(-1)],
            }
        ],
        "materials": [_material(name) for name in materials],
        "textures": [{"sampler": 0}],
        "images": [{"name": "albedo", "bufferView": texture_view}],
        "samplers": [
            {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR, "wrapS": _CLAMP, "wrapT": _CLAMP}
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": 0}],
    }
    if options.lods:
        document["extensionsUsed"] = ["MSFT_lod"]
    return AvatarLayout(
        document=document,
        constant=constant,
        vertex=vertex,
        position_accessors=tuple(
            (attribute["POSITION"], mesh.start, mesh.start + len(mesh.uv_vertices))
            for attribute, mesh in zip(attributes, meshes, strict=True)
        ),
        joint_nodes=tuple(joint_nodes),
        joint_parents=tuple(int(parent) for parent in head.joint_parents),
        texture_view=texture_view,
        triangle_counts=tuple(
            sum(len(mesh.levels[level]) for mesh in meshes if level < len(mesh.levels))
            for level in range(options.lods + 1)
        ),
        morph_names=targets.names,
    )


def _add_triangles(buffer: BufferBuilder, mesh: MeshVertices) -> list[int]:
    """Index accessors of a mesh's levels."""
    wide = len(mesh.uv_vertices) > 0xFFFF
    accessors: list[int] = []
    for triangles in mesh.levels:
        view = buffer.add_view(triangles.astype("<u4" if wide else "<u2").tobytes(), INDICES)
        accessors.append(buffer.accessor(view, 0, UINT32 if wide else UINT16, "SCALAR", triangles.size))
    return accessors


def _add_attributes(buffer: BufferBuilder, views: dict[str, int], mesh: MeshVertices) -> dict[str, int]:
    """Vertex attributes of a mesh: its slice of the views that all meshes share."""
    layouts = (
        ("POSITION", 12, FLOAT32, "VEC3"),
        ("NORMAL", 12, FLOAT32, "VEC3"),
        ("TEXCOORD_0", 8, FLOAT32, "VEC2"),
        ("JOINTS_0", 4, UINT8, "VEC4"),
        ("WEIGHTS_0", 16, FLOAT32, "VEC4"),
        ("COLOR_0", 4, UINT8, "VEC4"),
    )
    attributes = {
        name: buffer.accessor(views[name], mesh.start * stride, component, kind, len(mesh.uv_vertices))
        for name, stride, component, kind in layouts
    }
    buffer.accessors[attributes["COLOR_0"]]["normalized"] = True
    return attributes


def _add_morph_targets(
    buffer: BufferBuilder, head: HeadModel, meshes: list[MeshVertices], targets: MorphTargets
) -> list[tuple[list[str], list[Json]]]:
    """Per mesh its targets' names and attributes: on the head all, elsewhere those that move it."""
    sparse = SparseVectors(buffer)
    members: list[tuple[list[str], list[Json]]] = []
    for mesh in meshes:
        vertex = head.uv_vertex[mesh.uv_vertices]
        names: list[str] = []
        attributes: list[Json] = []
        for k, name in enumerate(targets.names):
            moved = np.flatnonzero(targets.moved[k][vertex])
            if len(moved) == 0 and mesh.name != HEAD_MESH:
                continue
            at = vertex[moved]
            position, normal = sparse.add(
                len(vertex), moved, targets.positions[k][at], targets.normals[k][at]
            )
            names.append(name)
            attributes.append({"POSITION": position, "NORMAL": normal})
        members.append((names, attributes))
    sparse.finish()
    return members


def _nodes(
    head: HeadModel, meshes: list[MeshVertices], levels: list[tuple[int, int]]
) -> tuple[list[Json], list[int], list[int]]:
    """All nodes, those of the scene, and those of the joints; glTF mesh m is ``levels[m]`` (level, mesh).

    Skinned meshes stand at the top of the scene (their own transforms are ignored by skinning). Lower levels
    are reached through MSFT_lod only, so loaders that do not know it show the finest level alone.
    """
    first_joint = len(meshes)
    first_lower = first_joint + len(head.joint_names)
    nodes: list[Json] = []
    for i, mesh in enumerate(meshes):
        node: Json = {"name": mesh.name, "mesh": i, "skin": 0}
        lower = [first_lower - len(meshes) + m for m, (level, of) in enumerate(levels) if level and of == i]
        if lower:
            node["extensions"] = {"MSFT_lod": {"ids": lower}}
            node["extras"] = {"MSFT_screencoverage": list(_SCREEN_COVERAGE[len(lower)])}
        nodes.append(node)
    nodes += [{"name": str(name), "translation": [0.0, 0.0, 0.0]} for name in head.joint_names]
    for joint, parent in enumerate(head.joint_parents):
        if parent >= 0:
            nodes[first_joint + parent].setdefault("children", []).append(first_joint + joint)
    for m, (level, i) in enumerate(levels):
        if level:
            nodes.append({"name": _level_name(meshes[i].name, level), "mesh": m, "skin": 0})
    joints = list(range(first_joint, first_lower))
    roots = [joint for joint, parent in zip(joints, head.joint_parents, strict=True) if parent < 0]
    return nodes, [*range(len(meshes)), *roots], joints


def _material(name: str) -> Json:
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0},
            "metallicFactor": 0.0,
            "roughnessFactor": _ROUGHNESS[name],
        },
    }


def _shadow_colours(shadow: F32) -> bytes:
    """Vertex colours u8 [N, 4]: grey of the shadow (a factor on the texture, linear), opaque."""
    colours = np.full((len(shadow), 4), 255, np.uint8)
    colours[:, :3] = np.round(np.clip(shadow, 0, 1) * 255).astype(np.uint8)[:, None]
    return colours.tobytes()


def _level_name(name: str, level: int) -> str:
    return name if level == 0 else f"{name}_LOD{level}"


def _four_strongest_joints(weights: F32) -> tuple[npt.NDArray[np.uint8], F32]:
    """Joint indices u8 [N, 4] and weights f32 [N, 4] that sum to 1; unused places hold joint 0, weight 0."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    strongest = np.take_along_axis(weights, order, axis=1)
    strongest = strongest / strongest.sum(axis=1, keepdims=True)
    joints = np.where(strongest > 0, order, 0)
    padding = ((0, 0), (0, 4 - joints.shape[1]))
    return np.pad(joints, padding).astype(np.uint8), np.pad(strongest, padding).astype(np.float32)
