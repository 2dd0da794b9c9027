"""What is the same for everyone in an avatar's glTF: JSON tree, triangles, UVs, skinning, morph targets.

Built once per head model and set of options; `facewright.gltf` adds what differs from person to person.
Specification: Khronos glTF 2.0, sections 3.6 (binary data), 3.7 (meshes, skins), 3.8 (textures); MSFT_lod.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facewright.gltf_buffer import (
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
from facewright.head_model import HeadModel
from facewright.morph_targets import MorphTargets, morph_targets

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP = 9729, 9987, 33071

#: Mesh -> (parts of the head model, material). The base name of its node, mesh and levels of detail.
MESHES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "head_mesh": (("skin",), "skin"),
    "eyes_mesh": (("eye_left", "eye_right"), "eyes"),
    "teeth_mesh": (("teeth_upper", "teeth_lower"), "mouth"),
    "tongue_mesh": (("tongue",), "mouth"),
}
#: glTF's perceptual roughness: matt skin, a wet cornea, wet teeth and tongue.
_ROUGHNESS: Final = {"skin": 0.55, "eyes": 0.08, "mouth": 0.3}
#: MSFT_lod: share of the screen's height below which the next level is shown; the last one culls.
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
        constant: the first bytes of the binary chunk, a multiple of four.
        vertex: i32 [N], the head model's vertex of each glTF vertex, all meshes one after the other.
        position_accessors: accessor index and range of glTF vertices of each mesh.
        joint_nodes: node index of each joint.
        joint_parents: parent joint of each joint, -1 for the root.
        position_view, normal_view, bind_view, texture_view: bufferViews that the person fills, in this order
            after ``constant``.
        triangle_counts: triangles of each level of detail, finest first.
        morph_names: names of the morph targets of the head mesh.
    """

    document: Json
    constant: bytes
    vertex: I32
    position_accessors: tuple[tuple[int, int, int], ...]
    joint_nodes: tuple[int, ...]
    joint_parents: tuple[int, ...]
    position_view: int
    normal_view: int
    bind_view: int
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
    return _Layout(head, options).build()


@dataclass(frozen=True)
class _MeshVertices:
    """Which UV vertices of the head model one mesh has (they are its glTF vertices) and where they start."""

    name: str
    uv_vertices: I32
    start: int
    levels: tuple[I32, ...]  # [F, 3] triangles of each level, of glTF vertices within the mesh


class _Layout:
    def __init__(self, head: HeadModel, options: LayoutOptions) -> None:
        self.head = head
        self.options = options
        self.buffer = BufferBuilder()

    def build(self) -> AvatarLayout:
        head = self.head
        targets = morph_targets(head, self.options.visemes)
        meshes = self._split_vertices()
        uv_vertices = np.concatenate([mesh.uv_vertices for mesh in meshes])
        vertex = head.uv_vertex[uv_vertices]

        index_accessors = self._add_triangles(meshes)
        joints, weights = _four_strongest_joints(head.skin_weights[vertex])
        uv_view = self.buffer.add_view(head.uv[uv_vertices].astype("<f4").tobytes(), VERTICES, stride=8)
        joint_view = self.buffer.add_view(joints.tobytes(), VERTICES, stride=4)
        weight_view = self.buffer.add_view(weights.astype("<f4").tobytes(), VERTICES, stride=16)
        mesh_targets = self._add_morph_targets(meshes, targets)
        constant = self.buffer.content()

        count = len(vertex)
        position_view = self.buffer.reserve_view(count * 12, VERTICES, stride=12)
        normal_view = self.buffer.reserve_view(count * 12, VERTICES, stride=12)
        bind_view = self.buffer.reserve_view(len(head.joint_names) * 64)
        texture_view = self.buffer.reserve_view(0)
        bind_accessor = self.buffer.accessor(bind_view, 0, FLOAT32, "MAT4", len(head.joint_names))

        positions: list[tuple[int, int, int]] = []
        gltf_meshes: list[list[Json]] = []  # [level][mesh]
        attributes: list[Json] = []
        for mesh in meshes:
            first, number = mesh.start, len(mesh.uv_vertices)
            positions.append((len(self.buffer.accessors), first, first + number))
            attributes.append(
                {
                    "POSITION": self.buffer.accessor(position_view, first * 12, FLOAT32, "VEC3", number),
                    "NORMAL": self.buffer.accessor(normal_view, first * 12, FLOAT32, "VEC3", number),
                    "TEXCOORD_0": self.buffer.accessor(uv_view, first * 8, FLOAT32, "VEC2", number),
                    "JOINTS_0": self.buffer.accessor(joint_view, first * 4, UINT8, "VEC4", number),
                    "WEIGHTS_0": self.buffer.accessor(weight_view, first * 16, FLOAT32, "VEC4", number),
                }
            )
        material_names = list(_ROUGHNESS)
        for level in range(self.options.lods + 1):
            row: list[Json] = []
            for i, mesh in enumerate(meshes):
                names, target_attributes = mesh_targets[i]
                primitive: Json = {
                    "attributes": attributes[i],
                    "indices": index_accessors[level][i],
                    "material": material_names.index(MESHES[mesh.name][1]),
                    "mode": 4,
                }
                gltf_mesh: Json = {"name": _level_name(mesh.name, level), "primitives": [primitive]}
                if names:
                    primitive["targets"] = target_attributes
                    gltf_mesh["extras"] = {"targetNames": names}
                row.append(gltf_mesh)
            gltf_meshes.append(row)

        nodes, scene_nodes, joint_nodes = self._nodes(meshes)
        document = self._document(nodes, scene_nodes, gltf_meshes, texture_view)
        document["skins"] = [
            {
                "name": "skeleton",
                "inverseBindMatrices": bind_accessor,
                "joints": joint_nodes,
                "skeleton": joint_nodes[list(head.joint_parents).index(-1)],
            }
        ]
        return AvatarLayout(
            document=document,
            constant=constant,
            vertex=vertex,
            position_accessors=tuple(positions),
            joint_nodes=tuple(joint_nodes),
            joint_parents=tuple(int(parent) for parent in head.joint_parents),
            position_view=position_view,
            normal_view=normal_view,
            bind_view=bind_view,
            texture_view=texture_view,
            triangle_counts=tuple(
                sum(len(mesh.levels[level]) for mesh in meshes) for level in range(self.options.lods + 1)
            ),
            morph_names=targets.names,
        )

    def _split_vertices(self) -> list[_MeshVertices]:
        """Each mesh gets the UV vertices of its parts; lower levels use a subset of them."""
        head = self.head
        part_names = [str(name) for name in head.part_names]
        levels = [(head.uv_triangles, head.triangle_part)]
        levels += [
            (head.lod1_uv_triangles, head.lod1_part),
            (head.lod2_uv_triangles, head.lod2_part),
        ][: self.options.lods]
        meshes: list[_MeshVertices] = []
        start = 0
        for name, (parts, _) in MESHES.items():
            ids = [part_names.index(part) for part in parts if part in part_names]
            triangles = [uv_triangles[np.isin(part, ids)] for uv_triangles, part in levels]
            uv_vertices = np.unique(triangles[0])
            local = np.full(len(head.uv), -1, np.int32)
            local[uv_vertices] = np.arange(len(uv_vertices), dtype=np.int32)
            local_triangles = tuple(local[triangle] for triangle in triangles)
            if any(len(triangle) == 0 or triangle.min() < 0 for triangle in local_triangles):
                raise ValueError(
                    f"{name}: a level of detail is empty or has vertices that the finest one lacks"
                )
            meshes.append(_MeshVertices(name, uv_vertices.astype(np.int32), start, local_triangles))
            start += len(uv_vertices)
        return meshes

    def _add_triangles(self, meshes: list[_MeshVertices]) -> list[list[int]]:
        """Index accessors [level][mesh]."""
        wide = any(len(mesh.uv_vertices) > 0xFFFF for mesh in meshes)
        dtype, component = ("<u4", UINT32) if wide else ("<u2", UINT16)
        accessors: list[list[int]] = []
        for level in range(self.options.lods + 1):
            indices = [mesh.levels[level].astype(dtype).ravel() for mesh in meshes]
            view = self.buffer.add_view(np.concatenate(indices).tobytes(), INDICES)
            row: list[int] = []
            offset = 0
            for index in indices:
                row.append(self.buffer.accessor(view, offset, component, "SCALAR", len(index)))
                offset += index.nbytes
            accessors.append(row)
        return accessors

    def _add_morph_targets(
        self, meshes: list[_MeshVertices], targets: MorphTargets
    ) -> list[tuple[list[str], list[Json]]]:
        """Per mesh its targets' names and attributes: on the head all, elsewhere those that move it."""
        sparse = SparseVectors(self.buffer)
        result: list[tuple[list[str], list[Json]]] = []
        for mesh in meshes:
            vertex = self.head.uv_vertex[mesh.uv_vertices]
            names: list[str] = []
            attributes: list[Json] = []
            for k, name in enumerate(targets.names):
                moved = np.flatnonzero(targets.moved[k][vertex])
                if len(moved) == 0 and MESHES[mesh.name][0] != ("skin",):
                    continue
                position, normal = sparse.add(
                    len(vertex), moved, targets.positions[k][vertex[moved]], targets.normals[k][vertex[moved]]
                )
                names.append(name)
                attributes.append({"POSITION": position, "NORMAL": normal})
            result.append((names, attributes))
        sparse.finish()
        return result

    def _nodes(self, meshes: list[_MeshVertices]) -> tuple[list[Json], list[int], list[int]]:
        """Nodes, those of the scene, and those of the joints.

        Skinned meshes stand at the top of the scene (their own transforms are ignored by skinning). Lower
        levels of detail are reached through MSFT_lod only, so loaders that do not know it show the finest
        level alone.
        """
        head, lods = self.head, self.options.lods
        joints_start = len(meshes)
        lods_start = joints_start + len(head.joint_names)
        nodes: list[Json] = []
        for i, mesh in enumerate(meshes):
            node: Json = {"name": mesh.name, "mesh": i, "skin": 0}
            if lods:
                ids = [lods_start + level * len(meshes) + i for level in range(lods)]
                node["extensions"] = {"MSFT_lod": {"ids": ids}}
                node["extras"] = {"MSFT_screencoverage": list(_SCREEN_COVERAGE[lods])}
            nodes.append(node)
        for name in head.joint_names:
            nodes.append({"name": str(name), "translation": [0.0, 0.0, 0.0]})
        for joint, parent in enumerate(head.joint_parents):
            if parent >= 0:
                nodes[joints_start + parent].setdefault("children", []).append(joints_start + joint)
        for level in range(1, lods + 1):
            for i, mesh in enumerate(meshes):
                nodes.append(
                    {"name": _level_name(mesh.name, level), "mesh": level * len(meshes) + i, "skin": 0}
                )
        joints = list(range(joints_start, lods_start))
        roots = [joint for joint, parent in zip(joints, head.joint_parents, strict=True) if parent < 0]
        return nodes, [*range(len(meshes)), *roots], joints

    def _document(
        self, nodes: list[Json], scene_nodes: list[int], meshes: list[list[Json]], texture_view: int
    ) -> Json:
        document: Json = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"name": "avatar", "nodes": scene_nodes}],
            "nodes": nodes,
            "meshes": [mesh for level in meshes for mesh in level],
            "materials": [
                {
                    "name": name,
                    "pbrMetallicRoughness": {
                        "baseColorTexture": {"index": 0},
                        "metallicFactor": 0.0,
                        "roughnessFactor": roughness,
                    },
                }
                for name, roughness in _ROUGHNESS.items()
            ],
            "textures": [{"sampler": 0}],
            "images": [{"name": "albedo", "bufferView": texture_view}],
            "samplers": [
                {
                    "magFilter": _LINEAR,
                    "minFilter": _LINEAR_MIPMAP_LINEAR,
                    "wrapS": _CLAMP,
                    "wrapT": _CLAMP,
                }
            ],
            "accessors": self.buffer.accessors,
            "bufferViews": self.buffer.views,
            "buffers": [{"byteLength": 0}],
        }
        if self.options.lods:
            document["extensionsUsed"] = ["MSFT_lod"]
        return document


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
