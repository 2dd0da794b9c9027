"""A file with a part that is not the head's: its own material, textures, morph targets, levels and skin."""

from __future__ import annotations

import dataclasses
import gc
import io
import weakref

import numpy as np
import pygltflib
import pytest
import trimesh

from facewright.asset import gltf_mesh
from facewright.asset.gltf import write_glb
from facewright.asset.head_meshes import MeshOptions, head_meshes, head_skeleton
from facewright.core.mesh_part import MalformedPartError, Material, MeshPart, MeshTopology, Skeleton
from facewright.head.head_model import HeadModel
from tests.support.glb_reading import mesh_named, node_named, read_accessor
from tests.support.painted_avatar import avatar_parts, encoded
from tests.support.spectacles import HEAD_JOINT, spectacles
from tests.support.synthetic_head import save_synthetic_head


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def skeleton(head: HeadModel) -> Skeleton:
    return head_skeleton(head, head.vertices_mean)


@pytest.fixture(scope="module")
def heads_parts(head: HeadModel) -> list[MeshPart]:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    meshes = head_meshes(head, MeshOptions(lods=2))
    return avatar_parts(head, meshes, head.vertices_mean, encoded(pixels, "webp"))


def _gltf(parts: list[MeshPart], skeleton: Skeleton | None) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(write_glb(parts, skeleton, {}))


def _image(gltf: pygltflib.GLTF2, texture: int) -> bytes:
    """The bytes of the picture that a texture samples."""
    sampled = gltf.textures[texture]
    webp = sampled.extensions.get("EXT_texture_webp", {})
    image = gltf.images[webp.get("source", sampled.source)]
    view = gltf.bufferViews[image.bufferView]
    return gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]


@pytest.mark.parametrize("first", [False, True])
def test_every_part_is_what_it_was_given(
    heads_parts: list[MeshPart], skeleton: Skeleton, first: bool
) -> None:
    """Whichever of them comes first in the file's shared bufferViews."""
    parts = [spectacles(), *heads_parts] if first else [*heads_parts, spectacles()]
    gltf = _gltf(parts, skeleton)
    for part in parts:
        topology = part.topology
        mesh = mesh_named(gltf, part.name)
        primitive = mesh.primitives[0]
        attributes = primitive.attributes
        np.testing.assert_array_equal(read_accessor(gltf, attributes.POSITION), part.positions)
        np.testing.assert_array_equal(read_accessor(gltf, attributes.NORMAL), part.normals)
        if part.tangents is None:
            assert attributes.TANGENT is None
        else:
            np.testing.assert_array_equal(read_accessor(gltf, attributes.TANGENT), part.tangents)
        np.testing.assert_array_equal(read_accessor(gltf, attributes.TEXCOORD_0), topology.uv)
        assert topology.skin is not None
        np.testing.assert_array_equal(read_accessor(gltf, attributes.JOINTS_0), topology.skin.joints)
        np.testing.assert_array_equal(read_accessor(gltf, attributes.WEIGHTS_0), topology.skin.weights)
        if topology.colours is None:
            assert attributes.COLOR_0 is None
        else:
            np.testing.assert_array_equal(read_accessor(gltf, attributes.COLOR_0), topology.colours)
        assert mesh.extras["targetNames"] == [morph.name for morph in topology.morphs]
        for target, morph in zip(primitive.targets, topology.morphs, strict=True):
            for name, displacements in (("POSITION", morph.positions), ("NORMAL", morph.normals)):
                expected = np.zeros_like(part.positions)
                expected[morph.vertices] = displacements
                np.testing.assert_array_equal(read_accessor(gltf, target[name]), expected)
        lower = node_named(gltf, part.name).extensions["MSFT_lod"]["ids"]
        levels = [primitive, *(gltf.meshes[gltf.nodes[i].mesh].primitives[0] for i in lower)]
        for level, triangles in zip(levels, topology.levels, strict=True):
            np.testing.assert_array_equal(read_accessor(gltf, level.indices).reshape(-1, 3), triangles)
            assert gltf.materials[level.material].name == part.material.name


def test_a_material_has_its_textures_and_factors(heads_parts: list[MeshPart], skeleton: Skeleton) -> None:
    part = spectacles()
    gltf = _gltf([*heads_parts, part], skeleton)
    assert [material.name for material in gltf.materials] == ["skin", "eyes", "frame"]
    frame = gltf.materials[2]
    assert (frame.alphaMode, frame.alphaCutoff, frame.doubleSided) == ("MASK", 0.25, True)
    surface = frame.pbrMetallicRoughness
    assert (surface.metallicFactor, surface.roughnessFactor) == (1, 1)
    for found, texture in (
        (surface.baseColorTexture, part.material.base_colour),
        (surface.metallicRoughnessTexture, part.material.metallic_roughness),
        (frame.normalTexture, part.material.normal),
        (frame.occlusionTexture, part.material.occlusion),
        (gltf.materials[1].pbrMetallicRoughness.baseColorTexture, heads_parts[0].material.base_colour),
    ):
        assert texture is not None
        assert _image(gltf, found.index) == texture.content
    assert gltf.materials[0].alphaMode == "OPAQUE"
    assert gltf.materials[0].doubleSided is False


def test_a_shared_texture_is_embedded_once(heads_parts: list[MeshPart], skeleton: Skeleton) -> None:
    gltf = _gltf([*heads_parts, spectacles()], skeleton)
    names = ["albedo", "spectacles", "spectacles_normal", "spectacles_orm"]
    assert [image.name for image in gltf.images] == names
    assert len(gltf.textures) == 4
    assert gltf.extensionsRequired == ["EXT_texture_webp"]
    assert gltf.materials[2].occlusionTexture.index == 3


def test_equal_materials_are_written_once(heads_parts: list[MeshPart], skeleton: Skeleton) -> None:
    skin = heads_parts[0].material
    eyes = dataclasses.replace(heads_parts[1], material=dataclasses.replace(skin))
    gltf = _gltf([heads_parts[0], eyes], skeleton)
    assert [material.name for material in gltf.materials] == ["skin"]


def test_a_part_follows_one_joint_or_none(heads_parts: list[MeshPart], skeleton: Skeleton) -> None:
    gltf = _gltf([*heads_parts, spectacles()], skeleton)
    attributes = mesh_named(gltf, "spectacles").primitives[0].attributes
    used = read_accessor(gltf, attributes.JOINTS_0)[read_accessor(gltf, attributes.WEIGHTS_0) > 0]
    assert {gltf.nodes[gltf.skins[0].joints[joint]].name for joint in used} == {"head"}
    assert skeleton.names[HEAD_JOINT] == "head"

    gltf = _gltf([*heads_parts, spectacles(skinned=False)], skeleton)
    attributes = mesh_named(gltf, "spectacles").primitives[0].attributes
    assert attributes.JOINTS_0 is attributes.WEIGHTS_0 is None
    assert node_named(gltf, "spectacles").skin is None
    assert node_named(gltf, "spectacles_LOD1").skin is None
    assert node_named(gltf, "head_mesh").skin == 0


def test_a_file_needs_neither_skeleton_nor_texture() -> None:
    worn = spectacles(skinned=False)
    plain = MeshPart(
        MeshTopology("plain", worn.topology.uv, worn.topology.levels[:1]),
        worn.positions,
        None,
        Material("grey", base_colour_factor=(0.2, 0.2, 0.2, 0.5), alpha_mode="BLEND"),
    )
    gltf = _gltf([plain], None)
    assert gltf.skins == gltf.textures == gltf.images == gltf.samplers == []
    assert [gltf.nodes[i].name for i in gltf.scenes[0].nodes] == ["plain"]
    assert gltf.materials[0].pbrMetallicRoughness.baseColorFactor == [0.2, 0.2, 0.2, 0.5]
    assert gltf.materials[0].alphaMode == "BLEND"
    primitive = gltf.meshes[0].primitives[0]
    assert primitive.attributes.NORMAL is None
    assert primitive.targets == []


def test_trimesh_reads_the_part_and_its_material(heads_parts: list[MeshPart], skeleton: Skeleton) -> None:
    part = spectacles()
    content = write_glb([*heads_parts, part], skeleton, {})
    scene = trimesh.load(io.BytesIO(content), file_type="glb", process=False)
    assert set(scene.geometry) >= {"head_mesh", "eyes_mesh", "spectacles"}
    mesh = scene.geometry["spectacles"]
    np.testing.assert_array_equal(np.float32(mesh.vertices), part.positions)
    np.testing.assert_array_equal(mesh.faces, part.topology.levels[0])
    material = mesh.visual.material
    assert (material.alphaMode, material.alphaCutoff, material.doubleSided) == ("MASK", 0.25, True)
    assert material.baseColorTexture.mode == "RGBA"
    assert material.normalTexture.size == (16, 16)


def test_a_topology_is_encoded_once_and_forgotten_with_its_owner(
    skeleton: Skeleton, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = spectacles()
    first = write_glb([part], skeleton, {})
    topology = weakref.ref(part.topology)
    with monkeypatch.context() as patched:
        patched.delattr(gltf_mesh, "_encode")
        assert write_glb([dataclasses.replace(part)], skeleton, {}) == first
    del part
    gc.collect()
    assert topology() is None


def test_what_a_file_cannot_hold_is_refused(heads_parts: list[MeshPart], skeleton: Skeleton) -> None:
    part = spectacles()
    with pytest.raises(MalformedPartError, match="at least one part"):
        write_glb([], skeleton, {})
    with pytest.raises(MalformedPartError, match="two parts are named spectacles"):
        write_glb([*heads_parts, part, part], skeleton, {})
    with pytest.raises(MalformedPartError, match="skin names joint 2, the skeleton has 0 joints"):
        write_glb([part], None, {})
    short = Skeleton(("root",), (-1,), np.zeros((1, 3), np.float32))
    with pytest.raises(MalformedPartError, match="skin names joint 2, the skeleton has 1 joints"):
        write_glb([part], short, {})
    many = dataclasses.replace(part.topology, levels=part.topology.levels * 2)
    with pytest.raises(MalformedPartError, match="spectacles: 4 levels of detail; a file has at most 3"):
        write_glb([dataclasses.replace(part, topology=many)], skeleton, {})
