"""One person's avatar as a binary glTF 2.0 file (GLB): the constant layout plus what is the person's own."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.gltf_layout import AvatarLayout

F32 = npt.NDArray[np.float32]

_MAGIC: Final = 0x46546C67
_JSON_CHUNK: Final = 0x4E4F534A
_BINARY_CHUNK: Final = 0x004E4942


@dataclass(frozen=True)
class AvatarGeometry:
    """The person's neutral head.

    Attributes:
        vertices: f32 [V, 3], head space, metres.
        normals: f32 [V, 3], unit.
        joints: f32 [J, 3], head space, metres.
    """

    vertices: F32
    normals: F32
    joints: F32


def write_glb(layout: AvatarLayout, geometry: AvatarGeometry, texture: bytes, asset: dict[str, Any]) -> bytes:
    """The file's bytes.

    Args:
        layout: from `facewright.gltf_layout.avatar_layout` for the same head model.
        geometry: the person's neutral head.
        texture: encoded picture in the layout's texture format, embedded as it is.
        asset: members of the glTF ``asset`` object besides ``version``: generator, copyright, extras.
    """
    positions = np.ascontiguousarray(geometry.vertices[layout.vertex], "<f4")
    normals = np.ascontiguousarray(geometry.normals[layout.vertex], "<f4")
    bind = np.zeros((len(geometry.joints), 4, 4), "<f4")
    bind[:, range(4), range(4)] = 1
    bind[:, 3, :3] = -geometry.joints  # column-major: the last column is the translation

    parts = [layout.constant, positions.tobytes(), normals.tobytes(), bind.tobytes(), texture]
    binary_length = sum(map(len, parts))
    padding = -binary_length % 4

    document = _document(layout, geometry.joints, positions, len(texture), binary_length, asset)
    tree = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    tree += b" " * (-len(tree) % 4)
    total = 12 + 8 + len(tree) + 8 + binary_length + padding
    return b"".join(
        [
            struct.pack("<3I", _MAGIC, 2, total),
            struct.pack("<2I", len(tree), _JSON_CHUNK),
            tree,
            struct.pack("<2I", binary_length + padding, _BINARY_CHUNK),
            *parts,
            bytes(padding),
        ]
    )


def _document(
    layout: AvatarLayout,
    joints: F32,
    positions: F32,
    texture_length: int,
    binary_length: int,
    asset: dict[str, Any],
) -> dict[str, Any]:
    """The layout's JSON tree with the placeholders filled; nothing of the layout is changed."""
    document = dict(layout.document)
    document["asset"] = {**document["asset"], **asset}
    accessors = list(document["accessors"])
    for accessor, first, last in layout.position_accessors:
        own = positions[first:last]
        accessors[accessor] = {
            **accessors[accessor],
            "min": own.min(axis=0).tolist(),
            "max": own.max(axis=0).tolist(),
        }
    document["accessors"] = accessors
    nodes = list(document["nodes"])
    for joint, (node, parent) in enumerate(zip(layout.joint_nodes, layout.joint_parents, strict=True)):
        offset = joints[joint] - (joints[parent] if parent >= 0 else 0)
        nodes[node] = {**nodes[node], "translation": np.asarray(offset, float).tolist()}
    document["nodes"] = nodes
    views = list(document["bufferViews"])
    views[layout.texture_view] = {**views[layout.texture_view], "byteLength": texture_length}
    document["bufferViews"] = views
    document["buffers"] = [{"byteLength": binary_length}]
    return document
