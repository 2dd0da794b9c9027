"""The GLB read back: container, geometry, morph targets, skin, textures, levels of detail."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from facewright.asset.gltf import EncodedTexture, write_glb
from facewright.asset.gltf_buffer import BufferBuilder, SparseVectors
from facewright.asset.gltf_layout import LayoutOptions, avatar_layout
from facewright.asset.mesh_split import split_meshes
from facewright.asset.morph_targets import morph_targets
from facewright.asset.visemes import VISEMES, viseme_matrix
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.head.mouth_shadow import mouth_shadow
from facewright_kernels import vertex_normals
from tests.support.painted_avatar import avatar_geometry, encoded, painted_glb
from tests.support.synthetic_head import save_synthetic_head

_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_DTYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def texture() -> EncodedTexture:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return encoded(pixels, "jpeg")


@pytest.fixture(scope="module")
def glb(head: HeadModel, texture: EncodedTexture) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(painted_glb(head, LayoutOptions(lods=2), texture))


def _read(gltf: pygltflib.GLTF2, index: int) -> NDArray[Any]:
    """An accessor's values [count, components], dense or sparse."""
    accessor = gltf.accessors[index]
    blob = gltf.binary_blob()
    width = _COMPONENTS[accessor.type]
    values = np.zeros((accessor.count, width), _DTYPES[accessor.componentType])
    if accessor.bufferView is not None:
        view = gltf.bufferViews[accessor.bufferView]
        start = view.byteOffset + accessor.byteOffset
        assert (view.byteStride or values.strides[0]) == values.strides[0]
        values[:] = np.frombuffer(blob, values.dtype, values.size, start).reshape(values.shape)
    if accessor.sparse is not None:
        sparse = accessor.sparse
        view = gltf.bufferViews[sparse.indices.bufferView]
        start = view.byteOffset + sparse.indices.byteOffset
        rows = np.frombuffer(blob, _DTYPES[sparse.indices.componentType], sparse.count, start)
        view = gltf.bufferViews[sparse.values.bufferView]
        start = view.byteOffset + sparse.values.byteOffset
        values[rows] = np.frombuffer(blob, values.dtype, sparse.count * width, start).reshape(-1, width)
    return values


def _mesh(gltf: pygltflib.GLTF2, name: str) -> pygltflib.Mesh:
    return next(mesh for mesh in gltf.meshes if mesh.name == name)


def _node(gltf: pygltflib.GLTF2, name: str) -> pygltflib.Node:
    return next(node for node in gltf.nodes if node.name == name)


def test_container_lengths_and_alignment(head: HeadModel, texture: EncodedTexture) -> None:
    content = painted_glb(head, LayoutOptions(), texture)
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
        primitive = _mesh(glb, name).primitives[0]
        corners = _read(glb, primitive.indices).reshape(-1, 3)
        position = _read(glb, primitive.attributes.POSITION)
        uv = _read(glb, primitive.attributes.TEXCOORD_0)
        found.append(np.concatenate([position[corners], uv[corners]], axis=2))
    expected = np.concatenate([head.vertices_mean[head.triangles], head.uv[head.uv_triangles]], axis=2)
    order = [np.lexsort(rows.reshape(len(rows), -1).T) for rows in (np.concatenate(found), expected)]
    np.testing.assert_array_equal(np.concatenate(found)[order[0]], expected[order[1]])


def test_position_bounds_are_exact(glb: pygltflib.GLTF2) -> None:
    for mesh in glb.meshes:
        accessors = [mesh.primitives[0].attributes.POSITION]
        accessors += [target["POSITION"] for target in mesh.primitives[0].targets]
        for index in accessors:
            values = _read(glb, index)
            np.testing.assert_array_equal(np.float32(glb.accessors[index].min), values.min(axis=0))
            np.testing.assert_array_equal(np.float32(glb.accessors[index].max), values.max(axis=0))


def test_morph_targets_are_the_expressions_and_visemes(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    names = [str(name) for name in head.expression_names]
    mesh = _mesh(glb, "head_mesh")
    assert mesh.extras["targetNames"] == names + list(VISEMES)
    truth = {name: head.expression_basis[i] for i, name in enumerate(names)}
    combined = np.einsum("ve,enc->vnc", viseme_matrix(names), head.expression_basis)
    truth |= dict(zip(VISEMES, combined, strict=True))
    vertex = {part.name: head.uv_vertex[part.uv_vertices] for part in split_meshes(head, 0)}
    for part in ("head_mesh", "eyes_mesh"):
        mesh = _mesh(glb, part)
        for name, target in zip(mesh.extras["targetNames"], mesh.primitives[0].targets, strict=True):
            moved = _read(glb, target["POSITION"])
            np.testing.assert_allclose(moved, truth[name][vertex[part]], atol=1.001e-5)
    left_out = set(names) - set(_mesh(glb, "eyes_mesh").extras["targetNames"])
    eyes = vertex["eyes_mesh"]
    assert all(np.abs(truth[name][eyes]).max() <= 1e-5 for name in left_out)
    assert "eyeLookInLeft" not in left_out, "the eyeballs must follow the look shapes"


def test_morphed_normals_are_those_of_the_morphed_mean(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    mesh = _mesh(glb, "head_mesh")
    k = mesh.extras["targetNames"].index("jawOpen")
    part = split_meshes(head, 0)[0]
    open_jaw = head.vertices_mean + head.expression_basis[list(head.expression_names).index("jawOpen")]
    truth = vertex_normals(open_jaw[None], head.triangles)[0][head.uv_vertex[part.uv_vertices]]
    primitive = mesh.primitives[0]
    morphed = _read(glb, primitive.attributes.NORMAL) + _read(glb, primitive.targets[k]["NORMAL"])
    np.testing.assert_allclose(morphed, truth, atol=0.0101)


def test_without_visemes_only_the_52_remain(head: HeadModel, texture: EncodedTexture) -> None:
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(head, LayoutOptions(visemes=False), texture))
    assert _mesh(gltf, "head_mesh").extras["targetNames"] == [str(name) for name in head.expression_names]


def test_skin_binds_at_rest_and_follows_the_joints(glb: pygltflib.GLTF2, head: HeadModel) -> None:
    skin = glb.skins[0]
    assert [glb.nodes[joint].name for joint in skin.joints] == [str(name) for name in head.joint_names]
    bind = _read(glb, skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
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
        joints, weights = _read(glb, attributes.JOINTS_0), _read(glb, attributes.WEIGHTS_0)
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        assert (joints[weights == 0] == 0).all()
    eyes = _mesh(glb, "eyes_mesh").primitives[0].attributes
    used = _read(glb, eyes.JOINTS_0)[_read(glb, eyes.WEIGHTS_0) > 0]
    assert {str(head.joint_names[joint]) for joint in used} == {"eye_left", "eye_right"}


def test_vertex_colours_darken_the_inside_of_the_mouth_only(texture: EncodedTexture) -> None:
    head = HeadModel.load(asset_path("head.npz"))
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(head, LayoutOptions(), texture))
    inside = head.region("mouth_inside")
    shadow = mouth_shadow(head)
    colours = {}
    for part in split_meshes(head, 0):
        attributes = _mesh(gltf, part.name).primitives[0].attributes
        assert gltf.accessors[attributes.COLOR_0].normalized
        found = _read(gltf, attributes.COLOR_0)
        vertex = head.uv_vertex[part.uv_vertices]
        np.testing.assert_array_equal(found[:, 0], np.round(255 * shadow[vertex]))
        np.testing.assert_array_equal(found[:, 3], 255)
        colours[part.name] = found[:, 0], inside[vertex]
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
    ids = _node(glb, "head_mesh").extensions["MSFT_lod"]["ids"]
    assert [glb.nodes[i].name for i in ids] == ["head_mesh_LOD1", "head_mesh_LOD2"]
    finest = _mesh(glb, "head_mesh").primitives[0]
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
        uv = _read(glb, primitive.attributes.TEXCOORD_0)[_read(glb, primitive.indices)[:, 0]]
        np.testing.assert_array_equal(uv, head.uv[triangles[part == skin].ravel()])


def test_a_level_without_eyes_leaves_only_them_out(
    head: HeadModel, texture: EncodedTexture, tmp_path: Path
) -> None:
    path = save_synthetic_head(tmp_path / "head.npz")
    arrays = dict(np.load(path))
    skin = arrays["lod2_part"] == 0
    arrays["lod2_part"], arrays["lod2_uv_triangles"] = (
        arrays["lod2_part"][skin],
        arrays["lod2_uv_triangles"][skin],
    )
    np.savez(path, **arrays)
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(HeadModel.load(path), LayoutOptions(lods=2), texture))
    names = {node.name for node in gltf.nodes if node.mesh is not None}
    assert names == {"head_mesh", "eyes_mesh", "head_mesh_LOD1", "eyes_mesh_LOD1", "head_mesh_LOD2"}
    for node in gltf.nodes:
        if node.mesh is not None:
            assert gltf.meshes[node.mesh].name == node.name


@pytest.mark.parametrize("texture_format", ["jpeg", "png", "webp"])
def test_texture_is_embedded_byte_for_byte(head: HeadModel, texture_format: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    texture = encoded(pixels, texture_format)
    gltf = pygltflib.GLTF2.load_from_bytes(painted_glb(head, LayoutOptions(), texture))
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


def test_a_texture_in_another_format_is_refused(texture: EncodedTexture) -> None:
    with pytest.raises(ValueError, match="are not a png picture"):
        EncodedTexture(texture.content, "png")
    with pytest.raises(ValueError, match="must be one of"):
        EncodedTexture(texture.content, "gif")


def test_people_differ_only_in_their_own_part(head: HeadModel, texture: EncodedTexture) -> None:
    """The layout is not changed by writing a file: a second person's file is as if it were the first."""
    layout = avatar_layout(head, LayoutOptions())
    someone = head.neutral(np.random.default_rng(3).standard_normal(160))
    mean = write_glb(layout, avatar_geometry(head, head.vertices_mean), texture, {})
    write_glb(layout, avatar_geometry(head, someone), encoded(np.zeros((8, 8, 3), np.uint8), "webp"), {})
    again = write_glb(layout, avatar_geometry(head, head.vertices_mean), texture, {})
    assert mean == again
    other = pygltflib.GLTF2.load_from_bytes(write_glb(layout, avatar_geometry(head, someone), texture, {}))
    part = split_meshes(head, 0)[0]
    np.testing.assert_array_equal(
        _read(other, _mesh(other, "head_mesh").primitives[0].attributes.POSITION),
        someone[head.uv_vertex[part.uv_vertices]],
    )


def test_trimesh_reads_geometry_uv_and_texture(head: HeadModel, texture: EncodedTexture) -> None:
    content = painted_glb(head, LayoutOptions(), texture)
    scene = trimesh.load(io.BytesIO(content), file_type="glb", process=False)
    assert set(scene.geometry) == {"head_mesh", "eyes_mesh"}
    part = split_meshes(head, 0)[0]
    mesh = scene.geometry["head_mesh"]
    np.testing.assert_array_equal(
        np.float32(mesh.vertices), head.vertices_mean[head.uv_vertex[part.uv_vertices]]
    )
    np.testing.assert_array_equal(mesh.faces, part.levels[0])
    flipped = head.uv[part.uv_vertices] * [1, -1] + [0, 1]  # trimesh has v upwards
    np.testing.assert_allclose(mesh.visual.uv, flipped, atol=1e-6)
    with Image.open(io.BytesIO(texture.content)) as picture:
        assert mesh.visual.material.baseColorTexture.size == picture.size
    assert mesh.visual.material.metallicFactor == 0


def test_many_vertices_get_wide_sparse_indices() -> None:
    buffer = BufferBuilder()
    sparse = SparseVectors(buffer)
    ones = np.ones((1, 3), np.float32)
    position, normal = sparse.add(70000, np.array([69999]), ones, 2 * ones)
    sparse.finish()
    indices = buffer.accessors[position]["sparse"]["indices"]
    assert indices["componentType"] == 5125
    start = buffer.views[indices["bufferView"]]["byteOffset"] + indices["byteOffset"]
    assert np.frombuffer(buffer.content(), "<u4", 1, start)[0] == 69999
    assert buffer.accessors[position]["max"] == [1, 1, 1]
    assert buffer.accessors[position]["min"] == [0, 0, 0]
    assert buffer.accessors[normal]["sparse"]["indices"] == indices


def test_a_target_that_moves_nothing_is_all_zero() -> None:
    buffer = BufferBuilder()
    sparse = SparseVectors(buffer)
    nothing = np.zeros((0, 3), np.float32)
    position, _ = sparse.add(10, np.zeros(0, np.intp), nothing, nothing)
    sparse.finish()
    assert "sparse" not in buffer.accessors[position]
    assert buffer.accessors[position]["max"] == [0, 0, 0]
    assert buffer.views == []


def test_layout_refuses_what_it_cannot_do(head: HeadModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lods must be 0, 1 or 2, got 3"):
        avatar_layout(head, LayoutOptions(lods=3))
    path = save_synthetic_head(tmp_path / "head.npz")
    arrays = dict(np.load(path))
    arrays["lod1_part"] = np.where(arrays["lod1_part"] == 0, 1, 0).astype(np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="vertex that the finest one lacks"):
        avatar_layout(HeadModel.load(path), LayoutOptions(lods=1))


def test_morph_targets_mark_every_vertex_that_moves(head: HeadModel) -> None:
    targets = morph_targets(head, visemes=True)
    assert len(targets.names) == 67
    still = ~targets.moved
    assert np.linalg.norm(targets.positions[still], axis=1).max() <= 1e-5
    assert np.linalg.norm(targets.normals[still], axis=1).max() <= 0.01
