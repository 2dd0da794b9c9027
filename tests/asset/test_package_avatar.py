"""Packaging: one GLB and one report out of all stages' results, typed refusal of what is not usable."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import pygltflib
import pytest

from facewright.asset.package_avatar import AvatarPackager, AvatarParts
from facewright.asset.report import Report
from facewright.asset.visemes import VISEMES
from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.fit.fit_info import EyeFit, FitInfo, LandmarkError
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.texture.texture_info import TextureInfo
from facewright_client.contract import OPTIONS, ErrorCode
from tests.support.painted_avatar import encoded
from tests.support.synthetic_head import save_synthetic_head

DOCUMENT = Path(__file__).parents[2] / "docs/report.md"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def packager(head: HeadModel) -> AvatarPackager:
    return AvatarPackager(head, Provenance(models={"head.npz": "ab" * 32}, licences={"head.npz": "CC0-1.0"}))


def _parts(head: HeadModel, **options: Any) -> AvatarParts:
    rng = np.random.default_rng(2)
    identity = rng.standard_normal(160).astype(np.float32)
    chosen = {name: option.default for name, option in OPTIONS.items()} | options
    photo = PhotoInfo(
        photo_width=640,
        photo_height=480,
        face_box=(200.04, 100.0, 330.0, 260.0),
        face_score=0.98765432,
        face_count=2,
        face_index=1,
        face_roll=3.0,
        focal_px=None,
        crop_valid_box=(0, 0, 1024, 1024),
        accepted_unix_s=0.0,
        deadline_unix_s=0.0,
        options=chosen,
        warnings=["small face"],
        milliseconds={"find_face.decode": 12.0},
    )
    eye = EyeFit((500.0, 480.0), 30.0, 0.9, 3.0, -1.0)
    fit = FitInfo(
        yaw=12.345,
        pitch=-3.0,
        roll=1.0,
        focal_px=1500.0,
        focal_photo_px=750.0,
        focal_source="exif",
        pupil_distance_px=200.0,
        error_before=LandmarkError(1.7, 5.8),
        error_after=LandmarkError(0.7, 3.0),
        region_sigma_mm={"face": 0.8, "nose": 0.5},
        left_eye=eye,
        right_eye=eye,
        face_score=0.98,
        iterations=9,
        warnings=["small face", "profile"],
        milliseconds={"find_face.decode": 12.0, "optimise": 20.0},
        photo=dataclasses.asdict(photo),
    )
    texture = TextureInfo(
        size=64,
        format=str(chosen["texture_format"]),
        skin_tone=(200, 150, 130),
        hair_tone=(60, 50, 40),
        hair_seen=0.5,
        visible_share=0.6,
        mirrored_share=0.2,
        excluded_share=0.01,
        light_contrast=1.7,
        light_residual=0.08,
        region_confidence={"face": 0.9, "ears": 0.3},
        warnings=["half of the face is hidden"],
        milliseconds={"light": 100.0},
    )
    pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    return AvatarParts(
        neutral_vertices=head.neutral(identity),
        identity=identity,
        expression=np.linspace(0, 1, 52).astype(np.float32),
        texture=encoded(pixels, texture.format).content,
        sh_light=rng.standard_normal((9, 3)).astype(np.float32),
        photo_info=photo,
        fit_info=fit,
        texture_info=texture,
    )


def test_report_says_what_the_stages_found(packager: AvatarPackager, head: HeadModel) -> None:
    parts = _parts(head, lods=1)
    glb, report = packager.package(parts)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["photo"]["face_box"] == [200.0, 100.0, 330.0, 260.0]
    assert report["camera"]["focal_px"] == 750.0
    assert report["camera"]["focal_source"] == "exif"
    assert report["camera"]["pose"]["yaw"] == 12.35 or report["camera"]["pose"]["yaw"] == 12.34
    np.testing.assert_allclose(report["fit"]["identity"], parts.identity, atol=6e-5)
    assert list(report["fit"]["expression"]) == [str(name) for name in head.expression_names]
    np.testing.assert_allclose(list(report["fit"]["expression"].values()), parts.expression, atol=6e-5)
    np.testing.assert_allclose(report["texture"]["sh_light"], parts.sh_light, atol=6e-6)
    assert report["confidence"] == {
        "face": {"shape_sigma_mm": 0.8, "texture": 0.9},
        "nose": {"shape_sigma_mm": 0.5, "texture": None},
        "ears": {"shape_sigma_mm": None, "texture": 0.3},
    }
    assert report["warnings"] == ["small face", "profile", "half of the face is hidden"]
    assert list(report["milliseconds"]) == [
        "find_face.decode",
        "fit_head.optimise",
        "bake_texture.light",
        "package_avatar.write",
        "package_avatar.since_accepted",
    ]
    assert report["avatar"]["bytes"] == len(glb)
    assert report["avatar"]["triangles"] == [len(head.triangles), len(head.lod1_uv_triangles)]
    assert report["avatar"]["morph_targets"] == 67
    assert report["options"]["lods"] == 1
    assert report["models"] == {"head.npz": "ab" * 32}


def _members(kind: Any, prefix: str = "") -> list[str]:
    """Dotted names of all members of a TypedDict; ``*`` stands for a name that is data."""
    if is_typeddict(kind):
        found = []
        for name, inner in get_type_hints(kind).items():
            found += [prefix + name, *_members(inner, f"{prefix}{name}.")]
        return found
    if get_origin(kind) is dict and is_typeddict(get_args(kind)[1]):
        return _members(get_args(kind)[1], f"{prefix}*.")
    return []


def test_report_has_exactly_the_schemas_members(packager: AvatarPackager, head: HeadModel) -> None:
    def check(value: Any, kind: Any, at: str) -> None:
        if is_typeddict(kind):
            hints = get_type_hints(kind)
            assert set(value) == set(hints), at
            for name, inner in hints.items():
                check(value[name], inner, f"{at}.{name}")
        elif get_origin(kind) is dict:
            for name, inner in value.items():
                check(inner, get_args(kind)[1], f"{at}.{name}")
        elif kind in (int, str, bool):
            assert type(value) is kind, at
        elif kind is float:
            assert isinstance(value, float), at

    check(packager.package(_parts(head))[1], Report, "report")


def test_the_document_explains_every_member_and_no_other() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(_members(Report))


def test_the_file_says_where_it_comes_from(packager: AvatarPackager, head: HeadModel) -> None:
    glb, _ = packager.package(_parts(head))
    asset = pygltflib.GLTF2.load_from_bytes(glb).asset
    assert re.fullmatch(r"Facewright \d+\.\d+\.\d+", asset.generator)
    assert asset.extras["pipeline"] == "avatar_twin"
    assert asset.extras["models"] == {"head.npz": "ab" * 32}
    assert asset.extras["licences"] == {"head.npz": "CC0-1.0"}
    assert asset.extras["visemes"] == {name: dict(weights) for name, weights in VISEMES.items()}


def test_options_reach_the_file(packager: AvatarPackager, head: HeadModel) -> None:
    glb, report = packager.package(_parts(head, visemes=False, lods=2, texture_format="webp"))
    gltf = pygltflib.GLTF2.load_from_bytes(glb)
    assert len(gltf.meshes[0].extras["targetNames"]) == report["avatar"]["morph_targets"] == 52
    assert sorted(gltf.extensionsUsed) == ["EXT_texture_webp", "MSFT_lod"]


def test_packaging_again_gives_the_same_bytes(packager: AvatarPackager, head: HeadModel) -> None:
    parts = _parts(head)
    assert packager.package(parts)[0] == packager.package(parts)[0]


def test_the_meshes_are_built_once_for_all_avatars(
    packager: AvatarPackager, head: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building it takes far longer than packing one avatar into it."""
    first, _ = packager.package(_parts(head))
    monkeypatch.delattr("facewright.asset.package_avatar.head_meshes")
    assert packager.package(_parts(head))[0] == first


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("neutral_vertices", np.zeros((3, 3), np.float32), "NEUTRAL_VERTICES has shape"),
        ("identity", np.full(160, np.nan, np.float32), "IDENTITY has 160 values that are not finite"),
        ("sh_light", np.full((9, 3), np.inf, np.float32), "SH_LIGHT has 27 values"),
        ("texture", b"GIF89a", "6 bytes are not a jpeg picture"),
    ],
)
def test_unusable_results_of_earlier_stages_are_typed(
    packager: AvatarPackager, head: HeadModel, field: str, value: Any, message: str
) -> None:
    with pytest.raises(FacewrightError, match=message) as caught:
        packager.package(dataclasses.replace(_parts(head), **{field: value}))
    assert caught.value.code == ErrorCode.INTERNAL
    assert caught.value.stage == "package_avatar"


def test_nan_vertices_are_refused(packager: AvatarPackager, head: HeadModel) -> None:
    parts = _parts(head)
    vertices = parts.neutral_vertices.copy()
    vertices[7, 1] = np.nan
    with pytest.raises(FacewrightError, match="NEUTRAL_VERTICES has 1 values that are not finite"):
        packager.package(dataclasses.replace(parts, neutral_vertices=vertices))


def test_provenance_fingerprints_the_open_assets_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "head.npz").write_bytes(b"abc")
    found = Provenance.of_open_assets(tmp_path)
    assert found.models == {"head.npz": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert found.licences == {"head.npz": "CC0-1.0"}
