"""A mesh's topology as glTF stores it: triangles, UVs, skin, colours, sparse morph targets.

Encoding takes far longer than copying the bytes into a file, so it is done once for a topology.
Specification: Khronos glTF 2.0, sections 3.6.2.3 (sparse accessors) and 3.7 (meshes, skins).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from facewright.asset.gltf_buffer import FLOAT32, UINT16, UINT32, Json, Place
from facewright.core.mesh_part import F32, I32, MeshTopology, MorphTarget

#: Numbers of a topology that is still in use, by its identity; its arrays are read-only.
_ENCODED: WeakKeyDictionary[MeshTopology, EncodedMesh] = WeakKeyDictionary()


@dataclass(frozen=True)
class EncodedMesh:
    """The bytes of a topology, little-endian.

    Attributes:
        index_component: component type of triangles.
        levels: vertex indices of each level of detail, and how many.
        attributes: vertex attribute -> its values; those that the mesh has.
        sparse_indices: which vertices the morph targets move, all targets one after the other.
        sparse_values: displacements of positions and normals there.
        targets: accessors of each morph target by attribute, whose sparse part has no bufferViews yet and
            offsets from the beginning of ``sparse_indices`` and ``sparse_values``.
    """

    index_component: int
    levels: tuple[tuple[bytes, int], ...]
    attributes: dict[str, bytes]
    sparse_indices: bytes
    sparse_values: bytes
    targets: tuple[dict[str, Json], ...]

    def placed_targets(self, indices: Place, values: Place) -> list[dict[str, Json]]:
        """The targets' accessors in a file that has the sparse bytes at these (bufferView, byteOffset)."""
        return [
            {name: _placed(accessor, indices, values) for name, accessor in target.items()}
            for target in self.targets
        ]


def encoded_mesh(topology: MeshTopology) -> EncodedMesh:
    """The topology's bytes; remembered as long as the topology lives."""
    found = _ENCODED.get(topology)
    if found is None:
        found = _ENCODED[topology] = _encode(topology)
    return found


def _encode(topology: MeshTopology) -> EncodedMesh:
    wide = len(topology.uv) > 0xFFFF
    attributes = {"TEXCOORD_0": _floats(topology.uv)}
    if topology.skin is not None:
        attributes["JOINTS_0"] = topology.skin.joints.tobytes()
        attributes["WEIGHTS_0"] = _floats(topology.skin.weights)
    if topology.colours is not None:
        attributes["COLOR_0"] = topology.colours.tobytes()
    indices: list[bytes] = []
    values: list[bytes] = []
    targets: list[dict[str, Json]] = []
    index_bytes = value_bytes = 0
    for morph in topology.morphs:
        target: dict[str, Json] = {}
        index = _indices(morph.vertices, wide)
        index += bytes(-len(index) % 4)
        for name, displacements in _displacements(morph):
            content = _floats(displacements)
            accessor: Json = {"componentType": FLOAT32, "count": len(topology.uv), "type": "VEC3"}
            if name == "POSITION":
                accessor |= _bounds(displacements, len(topology.uv))
            if content:
                accessor["sparse"] = {
                    "count": len(morph.vertices),
                    "indices": {"byteOffset": index_bytes, "componentType": UINT32 if wide else UINT16},
                    "values": {"byteOffset": value_bytes},
                }
            target[name] = accessor
            values.append(content)
            value_bytes += len(content)
        targets.append(target)
        indices.append(index)  # both accessors share them
        index_bytes += len(index)
    return EncodedMesh(
        index_component=UINT32 if wide else UINT16,
        levels=tuple((_indices(level, wide), level.size) for level in topology.levels),
        attributes=attributes,
        sparse_indices=b"".join(indices),
        sparse_values=b"".join(values),
        targets=tuple(targets),
    )


def _displacements(morph: MorphTarget) -> list[tuple[str, F32]]:
    found = [("POSITION", morph.positions)]
    if morph.normals is not None:
        found.append(("NORMAL", morph.normals))
    return found


def _bounds(displacements: F32, count: int) -> Json:
    """Least and greatest displacement of ``count`` vertices, of which the others stay where they are."""
    if len(displacements) < count:
        displacements = np.append(displacements, np.zeros((1, 3), np.float32), axis=0)
    return {"min": displacements.min(axis=0).tolist(), "max": displacements.max(axis=0).tolist()}


def _placed(accessor: Json, indices: Place, values: Place) -> Json:
    if "sparse" not in accessor:
        return accessor
    sparse = accessor["sparse"]
    return {
        **accessor,
        "sparse": {
            "count": sparse["count"],
            "indices": {
                "byteOffset": indices[1] + sparse["indices"]["byteOffset"],
                "componentType": sparse["indices"]["componentType"],
                "bufferView": indices[0],
            },
            "values": {"byteOffset": values[1] + sparse["values"]["byteOffset"], "bufferView": values[0]},
        },
    }


def _indices(vertices: I32, wide: bool) -> bytes:
    return vertices.astype("<u4" if wide else "<u2").tobytes()


def _floats(values: F32) -> bytes:
    return np.ascontiguousarray(values, "<f4").tobytes()
