"""A part that is not the head's: two lenses with all that a part can have of its own."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from facewright.core.mesh_part import Material, MeshPart, MeshTopology, MorphTarget, Skin, Texture

#: Of the head's skeleton.
HEAD_JOINT = 2

_QUAD = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
_QUAD_TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def spectacles(skinned: bool = True) -> MeshPart:
    """Two lenses of 40 mm in front of the eyes, with a lower level of detail of one triangle each.

    Their base colour has holes, cut by alpha; normals, roughness and occlusion come from textures, the last
    two from the same one; ``slideDown`` moves them 10 mm down and tilts them, ``winkLeft`` the left one only.
    """
    corners = (_QUAD - 0.5) * 0.04
    lenses = [np.insert(corners + np.array([x, 0]), 2, 0.03, axis=1) for x in (0.032, -0.032)]
    positions = np.concatenate(lenses).astype(np.float32)
    count = len(positions)
    tilt = np.tile(np.array([0, -0.1, 0], np.float32), (count, 1))
    lower = np.concatenate([_QUAD_TRIANGLES[:1], _QUAD_TRIANGLES[:1] + 4])
    topology = MeshTopology(
        name="spectacles",
        uv=np.tile(_QUAD, (2, 1)) * np.float32([1, -1]) + np.float32([0, 1]),
        levels=(np.concatenate([_QUAD_TRIANGLES, _QUAD_TRIANGLES + 4]), lower),
        morphs=(
            MorphTarget("slideDown", np.arange(count, dtype=np.int32), tilt / 10, tilt),
            MorphTarget("winkLeft", np.arange(4, dtype=np.int32), -tilt[:4] / 10, 0 * tilt[:4]),
        ),
        skin=_skin(count) if skinned else None,
    )
    orm = _texture("spectacles_orm", (255, 40, 200), "jpeg")
    material = Material(
        "frame",
        base_colour=_holed_texture(),
        normal=_texture("spectacles_normal", (128, 128, 255), "png"),
        metallic_roughness=orm,
        occlusion=orm,
        metallic=1.0,
        alpha_mode="MASK",
        alpha_cutoff=0.25,
        double_sided=True,
    )
    normals = np.tile(np.array([0, 0, 1], np.float32), (count, 1))
    tangents = np.tile(np.array([1, 0, 0, 1], np.float32), (count, 1))
    return MeshPart(topology, positions, normals, material, tangents)


def _skin(count: int) -> Skin:
    joints = np.zeros((count, 4), np.uint8)
    weights = np.zeros((count, 4), np.float32)
    joints[:, 0], weights[:, 0] = HEAD_JOINT, 1
    return Skin(joints, weights)


def _texture(name: str, colour: tuple[int, ...], texture_format: str) -> Texture:
    return _encoded(name, Image.new("RGB", (16, 16), colour), texture_format)


def _holed_texture() -> Texture:
    pixels = np.full((32, 32, 4), 255, np.uint8)
    pixels[8:24, 8:24, 3] = 0
    return _encoded("spectacles", Image.fromarray(pixels), "png")


def _encoded(name: str, picture: Image.Image, texture_format: str) -> Texture:
    content = io.BytesIO()
    picture.save(content, texture_format)
    return Texture(name, content.getvalue(), texture_format)
