"""The GLB read back: container, geometry, morph targets, skin, textures, levels of detail."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image

from facewright.asset.gltf_mesh import encoded_mesh
from facewright.asset.head_meshes import MeshOptions, head_meshes
from facewright.asset.morph_targets import morph_targets
from facewright.asset.visemes import VISEMES, viseme_matrix
from facewright.core.assets import asset_path
from facewright.core.mesh_part import MeshTopology, MorphTarget, Texture
from facewright.head.head_model import HeadModel
from facewright.head.mouth_shadow import mouth_shadow
from facewright_kernels import vertex_normals
from tests.support.glb_reading import mesh_named, node_named, read_accessor
from tests.support.painted_avatar import avatar_glb, encoded, painted_glb
from tests.support.synthetic_head import save_synthetic_head


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def texture() -> Texture:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return encoded(pixels, "jpeg")


@pytest.fixture(scope="module")
def glb(head: HeadModel, texture: Texture) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(painted_glb(head, MeshOptions(lods=2), texture))


def test_container_lengths_and_alignment(head: HeadModel, texture: Texture) -> None:
    content = painted_glb(head, MeshOptions(), texture)
    magic, version, total, tree_length, tree_kind = struct.unpack_from("<4s2I I4s", content)
    assert (magic, version, total, tree_kind) == (b"glTF", 2, len(content), b"JSON")
    tree = json.loads(content[20 : 20 + tree_length])
    binary_length, binary_kind = struct.unpack_from("<I4s", content, 20 + tree_length)
    assert binary_kind == b"BIN\0"
    assert tree_length % 4 == binary_length % 4 == 0
    assert 28 + tree_length + binary_length == total
    assert 0 <= binary_length - tree["buffers"][0]["byteLength"] < 4
    ends = [view["byteOffset"] + view["byteLength"] for view in tree["bufferViews"]]
    assert max(ends) == tree["buffers"][0]["byteLength"]
    assert all(view["byteOffset"] % 4 == 0 for view in tree["bufferViews"])


def test_meshes_hold_the_head_models_surface(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    """Every triangle of the head model is there once, at its place, with its UVs and its winding."""
    found = []
    for name in ("head_mesh", "eyes_mesh"):
        primitive = mesh_named(glb, name).primitives[0]
        corners = read_accessor(glb, primitive.indices).reshape(-1, 3)
        position = read_accessor(glb, primitive.attributes.POSITION)
        uv = read_accessor(glb, primitive.attributes.TEXCOORD_0)
        found.append(np.concatenate([position[corners], uv[corners]], axis=2))
    expected = np.concatenate([head.vertices_mean[head.triangles], head.uv[head.uv_triangles]], axis=2)
    order = [np.lexsort(rows.reshape(len(rows), -1).T) for rows in (np.concatenate(found), expected)]
    np.testing.assert_array_equal(np.concatenate(found)[order[0]], expected[order[1]])


def test_position_bounds_are_exact(glb: pygltflib.GLTF2) -> None:
    for mesh in glb.meshes:
        accessors = [mesh.primitives[0].attributes.POSITION]
        accessors += [target["POSITION"] for target in mesh.primitives[0].targets]
        for index in accessors:
            values = read_accessor(glb, index)
            np.testing.assert_array_equal(np.float32(glb.accessors[index].min), values.min(axis=0))
            np.testing.assert_array_equal(np.float32(glb.accessors[index].max), values.max(axis=0))


def test_morph_targets_are_the_expressions_and_visemes(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    names = [str(name) for name in head.expression_names]
    mesh = mesh_named(glb, "head_mesh")
    assert mesh.extras["targetNames"] == names + list(VISEMES)
    truth = {name: head.expression_basis[i] for i, name in enumerate(names)}
    combined = np.einsum("ve,enc->vnc", viseme_matrix(names), head.expression_basis)
    truth |= dict(zip(VISEMES, combined, strict=True))
    vertex = {mesh.topology.name: mesh.vertices for mesh in head_meshes(head, MeshOptions())}
    for part in ("head_mesh", "eyes_mesh"):
        mesh = mesh_named(glb, part)
        for name, target in zip(mesh.extras["targetNames"], mesh.primitives[0].targets, strict=True):
            moved = read_accessor(glb, target["POSITION"])
            np.testing.assert_allclose(moved, truth[name][vertex[part]], atol=1.001e-5)
    left_out = set(names) - set(mesh_named(glb, "eyes_mesh").extras["targetNames"])
    eyes = vertex["eyes_mesh"]
    assert all(np.abs(truth[name][eyes]).max() <= 1e-5 for name in left_out)
    assert all(np.abs(truth[name][eyes]).max() > 1e-5 for name in set(names) - left_out)
    assert "eyeLookInLeft" not in left_out, "the eyeballs must follow the look shapes"


def test_morphed_normals_are_those_of_the_morphed_mean(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    mesh = mesh_named(glb, "head_mesh")
    k = mesh.extras["targetNames"].index("jawOpen")
    vertices = head_meshes(head, MeshOptions())[0].vertices
    open_jaw = head.vertices_mean + head.expression_basis[list(head.expression_names).index("jawOpen")]
    truth = vertex_normals(open_jaw[None], head.triangles)[0][vertices]
    primitive = mesh.primitives[0]
    morphed = read_accessor(glb, primitive.attributes.NORMAL) + read_accessor(
        glb, primitive.targets[k]["NORMAL"]
    )
    np.testing.assert_allclose(morphed, truth, atol=0.0101)


def test_without_visemes_only_the_52_remain(head: HeadModel, texture: Texture) -> None:
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(head, MeshOptions(visemes=False), texture))
    assert mesh_named(gltf, "head_mesh").extras["targetNames"] == [
        str(name) for name in head.expression_names
    ]


def test_skin_binds_at_rest_and_follows_the_joints(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    skin = glb.skins[0]
    assert [glb.nodes[joint].name for joint in skin.joints] == [str(name) for name in head.joint_names]
    bind = read_accessor(glb, skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
    parents = {child: i for i, node in enumerate(glb.nodes) for child in node.children or []}
    expected = head.joints(head.vertices_mean)
    for k, joint in enumerate(skin.joints):
        place = np.zeros(3)
        node = joint
        while node is not None:
            place += glb.nodes[node].translation
            node = parents.get(node)
        np.testing.assert_allclose(place, expected[k], atol=1e-6)
        rest = np.eye(4)
        rest[:3, 3] = place
        np.testing.assert_allclose(rest @ bind[k], np.eye(4), atol=1e-6)
    for mesh in glb.meshes:
        attributes = mesh.primitives[0].attributes
        joints, weights = read_accessor(glb, attributes.JOINTS_0), read_accessor(glb, attributes.WEIGHTS_0)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        assert (joints[weights == 0] == 0).all()
    eyes = mesh_named(glb, "eyes_mesh").primitives[0].attributes
    used = read_accessor(glb, eyes.JOINTS_0)[read_accessor(glb, eyes.WEIGHTS_0) > 0]
    assert {str(head.joint_names[joint]) for joint in used} == {"eye_left", "eye_right"}


def test_vertex_colours_darken_the_inside_of_the_mouth_only(texture: Texture) -> None:
    head = HeadModel.load(asset_path("head.npz"))
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(head, MeshOptions(), texture))
    inside = head.region("mouth_inside")
    shadow = mouth_shadow(head)
    colours = {}
    for part in head_meshes(head, MeshOptions()):
        name = part.topology.name
        attributes = mesh_named(gltf, name).primitives[0].attributes
        assert gltf.accessors[attributes.COLOR_0].normalized
        found = read_accessor(gltf, attributes.COLOR_0)
        np.testing.assert_array_equal(found[:, 0], np.round(255 * shadow[part.vertices]))
        np.testing.assert_array_equal(found[:, 3], 255)
        colours[name] = found[:, 0], inside[part.vertices]
    grey, share = colours["head_mesh"]
    assert (grey[share == 0] == 255).all()
    assert grey[share == 1].mean() < 100
    assert (colours["eyes_mesh"][0] == 255).all()
    assert 150 < colours["teeth_mesh"][0].mean() < 240
    assert colours["tongue_mesh"][0].mean() < 180


def test_all_skinned_nodes_stand_at_the_top_of_the_scene(glb: pygltflib.GLTF2) -> None:
    names = [glb.nodes[i].name for i in glb.scenes[0].nodes]
    assert names == ["head_mesh", "eyes_mesh", "root"]


def test_lower_levels_share_vertices_and_hang_on_msft_lod(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    ids = node_named(glb, "head_mesh").extensions["MSFT_lod"]["ids"]
    assert [glb.nodes[i].name for i in ids] == ["head_mesh_LOD1", "head_mesh_LOD2"]
    finest = mesh_named(glb, "head_mesh").primitives[0]
    skin = list(head.part_names).index("skin")
    for level, triangles, part in (
        (1, head.lod1_uv_triangles, head.lod1_part),
        (2, head.lod2_uv_triangles, head.lod2_part),
    ):
        mesh = glb.meshes[glb.nodes[ids[level - 1]].mesh]
        primitive = mesh.primitives[0]
        assert vars(primitive.attributes) == vars(finest.attributes)
        assert primitive.targets == finest.targets
        assert glb.accessors[primitive.indices].count == 3 * np.count_nonzero(part == skin)
        uv = read_accessor(glb, primitive.attributes.TEXCOORD_0)[read_accessor(glb, primitive.indices)[:, 0]]
        np.testing.assert_array_equal(uv, head.uv[triangles[part == skin].ravel()])


def test_a_level_without_eyes_leaves_only_them_out(texture: Texture, tmp_path: Path) -> None:
    path = save_synthetic_head(tmp_path / "head.npz")
    arrays = dict(np.load(path))
    skin = arrays["lod2_part"] == 0
    arrays["lod2_part"], arrays["lod2_uv_triangles"] = (
        arrays["lod2_part"][skin],
        arrays["lod2_uv_triangles"][skin],
    )
    np.savez(path, **arrays)
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(HeadModel.load(path), MeshOptions(lods=2), texture))
    names = {node.name for node in gltf.nodes if node.mesh is not None}
    assert names == {"head_mesh", "eyes_mesh", "head_mesh_LOD1", "eyes_mesh_LOD1", "head_mesh_LOD2"}
    for node in gltf.nodes:
        if node.mesh is not None:
            assert gltf.meshes[node.mesh].name == node.name


@pytest.mark.parametrize("texture_format", ["jpeg", "png", "webp"])
def test_texture_is_embedded_byte_for_byte(head: HeadModel, texture_format: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    texture = encoded(pixels, texture_format)
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(head, MeshOptions(), texture))
    image = gltf.images[0]
    view = gltf.bufferViews[image.bufferView]
    content = gltf.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
    assert content == texture.content
    assert image.mimeType == f"image/{texture_format}"
    if texture_format == "webp":
        assert gltf.textures[0].extensions == {"EXT_texture_webp": {"source": 0}}
        assert gltf.extensionsRequired == ["EXT_texture_webp"]
    else:
        assert gltf.textures[0].source == 0
        assert not gltf.extensionsUsed


def test_a_texture_in_another_format_is_refused(texture: Texture) -> None:
    with pytest.raises(ValueError, match="are not a png picture"):
        Texture("albedo", texture.content, "png")
    with pytest.raises(ValueError, match="must be one of"):
        Texture("albedo", texture.content, "gif")


def test_people_differ_only_in_their_own_part(head: HeadModel, texture: Texture) -> None:
    """The meshes are not changed by writing a file: a second person's file is as if it were the first."""
    meshes = head_meshes(head, MeshOptions())
    someone = head.neutral(np.random.default_rng(3).standard_normal(160))
    mean = avatar_glb(head, meshes, head.vertices_mean, texture)
    avatar_glb(head, meshes, someone, encoded(np.zeros((8, 8, 3), np.uint8), "webp"))
    assert avatar_glb(head, meshes, head.vertices_mean, texture) == mean
    other = pygltflib.GLTF2.load_from_bytes(avatar_glb(head, meshes, someone, texture))
    np.testing.assert_array_equal(
        read_accessor(other, mesh_named(other, "head_mesh").primitives[0].attributes.POSITION),
        someone[meshes[0].vertices],
    )


def test_trimesh_reads_geometry_uv_and_texture(head: HeadModel, texture: Texture) -> None:
    content = painted_glb(head, MeshOptions(), texture)
    scene = trimesh.load(io.BytesIO(content), file_type="glb", process=False)
    assert set(scene.geometry) == {"head_mesh", "eyes_mesh"}
    part = head_meshes(head, MeshOptions())[0]
    mesh = scene.geometry["head_mesh"]
    np.testing.assert_array_equal(np.float32(mesh.vertices), head.vertices_mean[part.vertices])
    np.testing.assert_array_equal(mesh.faces, part.topology.levels[0])
    flipped = part.topology.uv * [1, -1] + [0, 1]  # trimesh has v upwards
    np.testing.assert_allclose(mesh.visual.uv, flipped, atol=1e-6)
    with Image.open(io.BytesIO(texture.content)) as picture:
        assert mesh.visual.material.baseColorTexture.size == picture.size
    assert mesh.visual.material.metallicFactor == 0


def test_many_vertices_get_wide_sparse_indices() -> None:
    ones = np.ones((1, 3), np.float32)
    morph = MorphTarget("nod", np.array([69999], np.int32), ones, 2 * ones)
    triangle = np.array([[0, 1, 69999]], np.int32)
    mesh = encoded_mesh(MeshTopology("long", np.zeros((70000, 2), np.float32), (triangle,), (morph,)))
    target = mesh.targets[0]
    indices = target["POSITION"]["sparse"]["indices"]
    assert mesh.index_component == indices["componentType"] == 5125
    assert np.frombuffer(mesh.sparse_indices, "<u4", 1, indices["byteOffset"])[0] == 69999
    assert np.frombuffer(mesh.levels[0][0], "<u4").tolist() == [0, 1, 69999]
    assert target["POSITION"]["max"] == [1, 1, 1]
    assert target["POSITION"]["min"] == [0, 0, 0]
    assert target["NORMAL"]["sparse"]["indices"] == indices


def test_a_target_that_moves_nothing_is_all_zero() -> None:
    nothing = np.zeros((0, 3), np.float32)
    morph = MorphTarget("nothing", np.zeros(0, np.int32), nothing, nothing)
    triangle = np.array([[0, 1, 2]], np.int32)
    mesh = encoded_mesh(MeshTopology("still", np.zeros((3, 2), np.float32), (triangle,), (morph,)))
    position = mesh.targets[0]["POSITION"]
    assert "sparse" not in position
    assert position["max"] == [0, 0, 0]
    assert mesh.sparse_indices == mesh.sparse_values == b""


def test_levels_that_do_not_fit_are_refused(head: HeadModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lods must be 0, 1 or 2, got 3"):
        head_meshes(head, MeshOptions(lods=3))
    path = save_synthetic_head(tmp_path / "head.npz")
    arrays = dict(np.load(path))
    arrays["lod1_part"] = np.where(arrays["lod1_part"] == 0, 1, 0).astype(np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="vertex that the finest one lacks"):
        head_meshes(HeadModel.load(path), MeshOptions(lods=1))


def test_morph_targets_mark_every_vertex_that_moves(head: HeadModel) -> None:
    targets = morph_targets(head, visemes=True)
    assert len(targets.names) == 67
    still = ~targets.moved
    assert np.linalg.norm(targets.positions[still], axis=1).max() <= 1e-5
    assert np.linalg.norm(targets.normals[still], axis=1).max() <= 0.01
