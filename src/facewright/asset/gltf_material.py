"""Materials and their textures as a glTF's ``materials``, ``textures``, ``images`` and ``samplers``.

Specification: Khronos glTF 2.0, sections 3.8 (textures) and 3.9 (materials); EXT_texture_webp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from facewright.asset.gltf_buffer import BufferBuilder, Json
from facewright.core.mesh_part import Material, Texture

_WEBP: Final = "EXT_texture_webp"
_LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP = 9729, 9987, 33071
_SAMPLER: Final = {
    "magFilter": _LINEAR,
    "minFilter": _LINEAR_MIPMAP_LINEAR,
    "wrapS": _CLAMP,
    "wrapT": _CLAMP,
}


def add_materials(buffer: BufferBuilder, materials: Sequence[Material]) -> Json:
    """Embeds the materials' textures, each once; the members of the document that describe them."""
    textures = _textures(materials)
    members: Json = {"materials": [_material(material, textures) for material in materials]}
    if textures:
        members["textures"] = [_sampled(texture, image) for image, texture in enumerate(textures)]
        members["images"] = [
            {
                "name": texture.name,
                "bufferView": buffer.add_view(texture.content),
                "mimeType": f"image/{texture.format}",
            }
            for texture in textures
        ]
        members["samplers"] = [_SAMPLER]
    return members


def required_extensions(materials: Sequence[Material]) -> list[str]:
    """What a loader needs to understand besides glTF 2.0 to show the materials."""
    return [_WEBP] if any(texture.format == "webp" for texture in _textures(materials)) else []


def _textures(materials: Sequence[Material]) -> list[Texture]:
    """Each texture of the materials once, in the order of its first use."""
    used = (
        texture
        for material in materials
        for texture in (
            material.base_colour,
            material.normal,
            material.metallic_roughness,
            material.occlusion,
        )
    )
    return list(dict.fromkeys(texture for texture in used if texture is not None))


def _sampled(texture: Texture, image: int) -> Json:
    if texture.format == "webp":
        return {"sampler": 0, "extensions": {_WEBP: {"source": image}}}
    return {"sampler": 0, "source": image}


def _material(material: Material, textures: list[Texture]) -> Json:
    """A member of ``materials``, without what is glTF's default except for the two factors."""

    def reference(name: str, texture: Texture | None) -> Json:
        return {} if texture is None else {name: {"index": textures.index(texture)}}

    surface: Json = reference("baseColorTexture", material.base_colour)
    if material.base_colour_factor != (1, 1, 1, 1):
        surface["baseColorFactor"] = list(material.base_colour_factor)
    surface |= {"metallicFactor": material.metallic, "roughnessFactor": material.roughness}
    surface |= reference("metallicRoughnessTexture", material.metallic_roughness)
    members: Json = {"name": material.name, "pbrMetallicRoughness": surface}
    members |= reference("normalTexture", material.normal)
    members |= reference("occlusionTexture", material.occlusion)
    if material.alpha_mode != "OPAQUE":
        members["alphaMode"] = material.alpha_mode
    if material.alpha_mode == "MASK":
        members["alphaCutoff"] = material.alpha_cutoff
    if material.double_sided:
        members["doubleSided"] = True
    return members
