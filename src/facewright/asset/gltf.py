"""One person's avatar as a binary glTF 2.0 file (GLB): the constant layout plus what is the person's own.

Specification: Khronos glTF 2.0, section 4 (GLB); EXT_texture_webp for WebP textures.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facewright.asset.gltf_layout import AvatarLayout

F32 = npt.NDArray[np.float32]
Json = dict[str, Any]

_MAGIC: Final = 0x46546C67
_JSON_CHUNK: Final = 0x4E4F534A
_BINARY_CHUNK: Final = 0x004E4942

#: Texture format -> its first bytes, at an offset.
_SIGNATURES: Final = {"jpeg": (0, b"\xff\xd8\xff"), "png": (0, b"\x89PNG\r\n\x1a\n"), "webp": (8, b"WEBP")}


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


@dataclass(frozen=True)
class EncodedTexture:
    """The albedo texture as it is embedded: the file's bytes, and ``jpeg``, ``png`` or ``webp``."""

    content: bytes
    format: str

    def __post_init__(self) -> None:
        if self.format not in _SIGNATURES:
            raise ValueError(f"texture format must be one of {sorted(_SIGNATURES)}, got {self.format!r}")
        start, signature = _SIGNATURES[self.format]
        if self.content[start : start + len(signature)] != signature:
            raise ValueError(f"the texture's {len(self.content)} bytes are not a {self.format} picture")


def picture_format(content: bytes) -> str:
    """``jpeg``, ``png`` or ``webp``, told from the first bytes.

    Raises:
        ValueError: it is none of them.
    """
    for name, (start, signature) in _SIGNATURES.items():
        if content[start : start + len(signature)] == signature:
            return name
    raise ValueError(f"the texture's {len(content)} bytes are no {', '.join(_SIGNATURES)} picture")


def write_glb(layout: AvatarLayout, geometry: AvatarGeometry, texture: EncodedTexture, asset: Json) -> bytes:
    """The file's bytes.

    Args:
        layout: from `facewright.asset.gltf_layout.avatar_layout` for the same head model.
        geometry: the person's neutral head.
        texture: the albedo.
        asset: members of the glTF ``asset`` object besides ``version``: generator, copyright, extras.
    """
    positions = np.ascontiguousarray(geometry.vertices[layout.vertex], "<f4")
    normals = np.ascontiguousarray(geometry.normals[layout.vertex], "<f4")
    bind = np.zeros((len(geometry.joints), 4, 4), "<f4")
    bind[:, range(4), range(4)] = 1
    bind[:, 3, :3] = -geometry.joints  # column-major: the last column is the translation

    parts = [layout.constant, positions.tobytes(), normals.tobytes(), bind.tobytes(), texture.content]
    binary_length = sum(map(len, parts))
    padding = -binary_length % 4

    document = {
        **layout.document,
        "asset": {**layout.document["asset"], **asset},
        "accessors": _bounded_accessors(layout, positions),
        "nodes": _placed_joints(layout, geometry.joints),
        "buffers": [{"byteLength": binary_length}],
    }
    _embed(document, layout, texture)
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


def _bounded_accessors(layout: AvatarLayout, positions: F32) -> list[Json]:
    """The layout's accessors, with the bounds that the specification wants for positions."""
    accessors: list[Json] = list(layout.document["accessors"])
    for accessor, first, last in layout.position_accessors:
        own = positions[first:last]
        bounds = {"min": own.min(axis=0).tolist(), "max": own.max(axis=0).tolist()}
        accessors[accessor] = {**accessors[accessor], **bounds}
    return accessors


def _placed_joints(layout: AvatarLayout, joints: F32) -> list[Json]:
    """The layout's nodes, with each joint's translation from its parent."""
    nodes: list[Json] = list(layout.document["nodes"])
    for joint, (node, parent) in enumerate(zip(layout.joint_nodes, layout.joint_parents, strict=True)):
        offset = joints[joint] - (joints[parent] if parent >= 0 else np.float32(0))
        nodes[node] = {**nodes[node], "translation": offset.tolist()}
    return nodes


def _embed(document: Json, layout: AvatarLayout, texture: EncodedTexture) -> None:
    """Writes the texture's length and format into ``document`` (whose members are replaced, not changed)."""
    views = list(document["bufferViews"])
    views[layout.texture_view] = {**views[layout.texture_view], "byteLength": len(texture.content)}
    document["bufferViews"] = views
    document["images"] = [{**document["images"][0], "mimeType": f"image/{texture.format}"}]
    sampled = dict(document["textures"][0])
    if texture.format == "webp":
        sampled["extensions"] = {"EXT_texture_webp": {"source": 0}}
        document["extensionsUsed"] = [*document.get("extensionsUsed", []), "EXT_texture_webp"]
        document["extensionsRequired"] = ["EXT_texture_webp"]
    else:
        sampled["source"] = 0
    document["textures"] = [sampled]
