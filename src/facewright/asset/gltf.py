"""An avatar's parts as a binary glTF 2.0 file (GLB): any number of meshes, materials and textures.

What is the same for everyone comes first in the binary chunk. The vertices of all parts share a
bufferView for each attribute. Specification: Khronos glTF 2.0, sections 3.5 (scenes), 3.7 (meshes, skins),
4 (GLB); MSFT_lod.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from facewright.asset.gltf_buffer import FLOAT32, INDICES, UINT8, VERTICES, BufferBuilder, Json, Place
from facewright.asset.gltf_material import add_materials, required_extensions
from facewright.asset.gltf_mesh import EncodedMesh, encoded_mesh
from facewright.core.mesh_part import MalformedPartError, Material, MeshPart, Skeleton

_MAGIC: Final = 0x46546C67
_JSON_CHUNK: Final = 0x4E4F534A
_BINARY_CHUNK: Final = 0x004E4942

#: Vertex attribute -> bytes of a vertex, component type, accessor type.
_ATTRIBUTES: Final = {
    "POSITION": (12, FLOAT32, "VEC3"),
    "NORMAL": (12, FLOAT32, "VEC3"),
    "TANGENT": (16, FLOAT32, "VEC4"),
    "TEXCOORD_0": (8, FLOAT32, "VEC2"),
    "JOINTS_0": (4, UINT8, "VEC4"),
    "WEIGHTS_0": (16, FLOAT32, "VEC4"),
    "COLOR_0": (4, UINT8, "VEC4"),
}
#: MSFT_lod: share of the screen's height below which the next level is shown; 0 never hides the last one.
_SCREEN_COVERAGE: Final = ((0.0,), (0.35, 0.0), (0.35, 0.12, 0.0))


@dataclass(frozen=True)
class _Accessors:
    """Accessors of a part: vertex attributes, triangles of each level, attributes of each target."""

    attributes: dict[str, int]
    levels: list[int]
    targets: list[dict[str, int]]


def write_glb(parts: Sequence[MeshPart], skeleton: Skeleton | None, asset: Json) -> bytes:
    """The file's bytes.

    Args:
        parts: the meshes, in the file's order. Equal materials are written once, and so is a texture object.
        skeleton: whose joints the parts' skins name; None where no part has a skin.
        asset: members of the glTF ``asset`` object besides ``version``: generator, copyright, extras.

    Raises:
        MalformedPartError: no parts, two of one name, more than three levels of detail, or a skin that names
            a joint that the skeleton does not have.
    """
    _check(parts, skeleton)
    levels = [
        (level, i)
        for level in range(max(len(part.topology.levels) for part in parts))
        for i, part in enumerate(parts)
        if level < len(part.topology.levels)
    ]
    materials = list(dict.fromkeys(part.material for part in parts))
    nodes, scene_nodes = _nodes(parts, skeleton, levels)
    buffer = BufferBuilder()
    accessors, bind = _add_geometry(buffer, parts, skeleton)
    document: Json = {
        "asset": {"version": "2.0", **asset},
        "scene": 0,
        "scenes": [{"name": "avatar", "nodes": scene_nodes}],
        "nodes": nodes,
        "meshes": _meshes(parts, levels, accessors, materials),
    }
    if skeleton is not None:
        joints = [len(parts) + joint for joint in range(len(skeleton.names))]
        document["skins"] = [
            {"name": "skeleton", "inverseBindMatrices": bind, "joints": joints, "skeleton": joints[0]}
        ]
    document |= add_materials(buffer, materials)
    document["accessors"] = buffer.accessors
    document["bufferViews"] = buffer.views
    document["buffers"] = [{"byteLength": buffer.byte_length}]
    required = required_extensions(materials)
    used = (["MSFT_lod"] if len(levels) > len(parts) else []) + required
    if used:
        document["extensionsUsed"] = used
    if required:
        document["extensionsRequired"] = required
    return _container(document, buffer.chunks)


def _check(parts: Sequence[MeshPart], skeleton: Skeleton | None) -> None:
    names = [part.name for part in parts]
    if not parts:
        raise MalformedPartError("a file needs at least one part")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise MalformedPartError(f"two parts are named {', '.join(twice)}")
    joint_count = 0 if skeleton is None else len(skeleton.names)
    for part in parts:
        if len(part.topology.levels) > len(_SCREEN_COVERAGE):
            raise MalformedPartError(
                f"{part.name}: {len(part.topology.levels)} levels of detail; "
                f"a file has at most {len(_SCREEN_COVERAGE)}"
            )
        skin = part.topology.skin
        if skin is not None and int(skin.joints.max()) >= joint_count:
            raise MalformedPartError(
                f"{part.name}: its skin names joint {int(skin.joints.max())}, "
                f"the skeleton has {joint_count} joints"
            )


def _add_geometry(
    buffer: BufferBuilder, parts: Sequence[MeshPart], skeleton: Skeleton | None
) -> tuple[list[_Accessors], int | None]:
    """Accessors of each part, and that of the inverse bind matrices."""
    encoded = [encoded_mesh(part.topology) for part in parts]
    levels = [_add_triangles(buffer, mesh) for mesh in encoded]
    constant = _share_views(buffer, [mesh.attributes for mesh in encoded])
    targets = _add_targets(buffer, encoded)
    personal = _share_views(buffer, [_personal_attributes(part) for part in parts])
    bind = None if skeleton is None else _add_bind_matrices(buffer, skeleton)
    accessors = [
        _Accessors(_add_attributes(buffer, part, constant[i] | personal[i]), levels[i], targets[i])
        for i, part in enumerate(parts)
    ]
    return accessors, bind


def _add_triangles(buffer: BufferBuilder, mesh: EncodedMesh) -> list[int]:
    """Index accessors of a mesh's levels."""
    return [
        buffer.add_accessor(
            (buffer.add_view(content, target=INDICES), 0), mesh.index_component, "SCALAR", count
        )
        for content, count in mesh.levels
    ]


def _personal_attributes(part: MeshPart) -> dict[str, bytes]:
    attributes = {"POSITION": part.positions, "NORMAL": part.normals, "TANGENT": part.tangents}
    return {
        name: values.astype("<f4", copy=False).tobytes()
        for name, values in attributes.items()
        if values is not None
    }


def _share_views(buffer: BufferBuilder, contents: list[dict[str, bytes]]) -> list[dict[str, Place]]:
    """Adds a bufferView for each attribute that a part has; where each part's values are."""
    places: list[dict[str, Place]] = [{} for _ in contents]
    for name, (stride, _, _) in _ATTRIBUTES.items():
        own = [attributes.get(name, b"") for attributes in contents]
        for i, place in enumerate(buffer.add_shared_view(own, VERTICES, stride)):
            if own[i]:
                places[i][name] = place
    return places


def _add_targets(buffer: BufferBuilder, encoded: list[EncodedMesh]) -> list[list[dict[str, int]]]:
    """Accessors of each mesh's morph targets by attribute."""
    indices = buffer.add_shared_view([mesh.sparse_indices for mesh in encoded])
    values = buffer.add_shared_view([mesh.sparse_values for mesh in encoded])
    targets: list[list[dict[str, int]]] = []
    for mesh, index_place, value_place in zip(encoded, indices, values, strict=True):
        targets.append([])
        for target in mesh.placed_targets(index_place, value_place):
            first = len(buffer.accessors)
            buffer.accessors += target.values()
            targets[-1].append({name: first + k for k, name in enumerate(target)})
    return targets


def _add_bind_matrices(buffer: BufferBuilder, skeleton: Skeleton) -> int:
    """Accessor of the joints' inverse bind matrices: at rest, joints are moved but not turned."""
    count = len(skeleton.names)
    bind = np.zeros((count, 4, 4), "<f4")
    bind[:, range(4), range(4)] = 1
    bind[:, 3, :3] = -skeleton.positions  # column-major: the last column is the translation
    return buffer.add_accessor((buffer.add_view(bind.tobytes()), 0), FLOAT32, "MAT4", count)


def _add_attributes(buffer: BufferBuilder, part: MeshPart, places: dict[str, Place]) -> dict[str, int]:
    """Accessors of the part's vertex attributes."""
    attributes = {
        name: buffer.add_accessor(places[name], component, kind, len(part.positions))
        for name, (_, component, kind) in _ATTRIBUTES.items()
        if name in places
    }
    position = buffer.accessors[attributes["POSITION"]]
    position["min"] = part.positions.min(axis=0).tolist()
    position["max"] = part.positions.max(axis=0).tolist()
    if "COLOR_0" in attributes:
        buffer.accessors[attributes["COLOR_0"]]["normalized"] = True
    return attributes


def _meshes(
    parts: Sequence[MeshPart],
    levels: list[tuple[int, int]],
    accessors: list[_Accessors],
    materials: list[Material],
) -> list[Json]:
    """One mesh for each of ``levels`` (level, part)."""
    meshes: list[Json] = []
    for level, i in levels:
        primitive: Json = {
            "attributes": accessors[i].attributes,
            "indices": accessors[i].levels[level],
            "material": materials.index(parts[i].material),
            "mode": 4,
        }
        mesh: Json = {"name": _level_name(parts[i], level), "primitives": [primitive]}
        if accessors[i].targets:
            primitive["targets"] = accessors[i].targets
            mesh["extras"] = {"targetNames": [morph.name for morph in parts[i].topology.morphs]}
        meshes.append(mesh)
    return meshes


def _nodes(
    parts: Sequence[MeshPart], skeleton: Skeleton | None, levels: list[tuple[int, int]]
) -> tuple[list[Json], list[int]]:
    """All nodes, and those of the scene: a node for each part, then the joints, then the lower levels.

    glTF mesh m is ``levels[m]`` (level, part). Parts stand at the top of the scene (skinning ignores the
    transforms of skinned meshes). Lower levels are reached through MSFT_lod only, so loaders that do not know
    it show the finest level alone.
    """
    joints = [] if skeleton is None else _joint_nodes(skeleton, first=len(parts))
    lower_levels: list[Json] = []
    ids: list[list[int]] = [[] for _ in parts]
    for m, (level, i) in enumerate(levels):
        if level:
            ids[i].append(len(parts) + len(joints) + len(lower_levels))
            lower_levels.append(_part_node(parts[i], level, m))
    finest = [_part_node(part, 0, i) for i, part in enumerate(parts)]
    for node, lower in zip(finest, ids, strict=True):
        if lower:
            node["extensions"] = {"MSFT_lod": {"ids": lower}}
            node["extras"] = {"MSFT_screencoverage": list(_SCREEN_COVERAGE[len(lower)])}
    scene_nodes = list(range(len(parts) + (skeleton is not None)))  # the first joint is the root
    return finest + joints + lower_levels, scene_nodes


def _part_node(part: MeshPart, level: int, mesh: int) -> Json:
    node: Json = {"name": _level_name(part, level), "mesh": mesh}
    if part.topology.skin is not None:
        node["skin"] = 0
    return node


def _joint_nodes(skeleton: Skeleton, first: int) -> list[Json]:
    """The joints, each with its translation from its parent; joint 0 is node ``first``."""
    nodes: list[Json] = []
    for joint, (name, parent) in enumerate(zip(skeleton.names, skeleton.parents, strict=True)):
        offset = skeleton.positions[joint]
        if parent >= 0:
            offset = offset - skeleton.positions[parent]
            nodes[parent].setdefault("children", []).append(first + joint)
        nodes.append({"name": name, "translation": offset.tolist()})
    return nodes


def _level_name(part: MeshPart, level: int) -> str:
    return part.name if level == 0 else f"{part.name}_LOD{level}"


def _container(document: Json, chunks: list[bytes]) -> bytes:
    """The GLB of a JSON tree and its buffer, whose chunks are a multiple of four bytes together."""
    tree = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    tree += b" " * (-len(tree) % 4)
    binary_length = sum(map(len, chunks))
    total = 12 + 8 + len(tree) + 8 + binary_length
    return b"".join(
        [
            struct.pack("<3I", _MAGIC, 2, total),
            struct.pack("<2I", len(tree), _JSON_CHUNK),
            tree,
            struct.pack("<2I", binary_length, _BINARY_CHUNK),
            *chunks,
        ]
    )
