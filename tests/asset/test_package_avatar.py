"""Packaging: one GLB and one report out of all stages' results, typed refusal of what is not usable."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np
import numpy.typing as npt
import pygltflib
import pytest

from facewright.asset.package_avatar import AvatarPackager, PackedAvatar
from facewright.asset.report import AvatarSection, Report, build_report
from facewright.asset.visemes import VISEMES
from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.fit.fit_info import EyeFit, FitInfo, FitSection, HeadFit, LandmarkError
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo, PhotoSection
from facewright.pipelines.request import Request
from facewright.pipelines.section import sections_from_json, sections_to_json
from facewright.pipelines.twin import AVATAR_TWIN
from facewright.texture.texture_info import TextureInfo, TextureSection
from facewright_client.contract import ErrorCode
from tests.support.painted_avatar import encoded
from tests.support.synthetic_head import save_synthetic_head

DOCUMENT = Path(__file__).parents[2] / "docs/report.md"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def packager(head: HeadModel) -> AvatarPackager:
    return AvatarPackager(head)


MADE_WITH = Provenance("1.2.3", models={"head.npz": "ab" * 32}, licences={"head.npz": "CC0-1.0"})
PHOTO = PhotoInfo(
    photo_width=640,
    photo_height=480,
    face_box=(200.04, 100.0, 330.0, 260.0),
    face_score=0.98765432,
    face_count=2,
    face_index=1,
    face_roll=3.0,
    focal_px=None,
    crop_valid_box=(0, 0, 1024, 1024),
    warnings=["small face"],
    milliseconds={"decode": 12.0},
)
EYE = EyeFit((500.0, 480.0), 30.0, 0.9, 3.0, -1.0)
FIT = FitInfo(
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
    left_eye=EYE,
    right_eye=EYE,
    face_score=0.98,
    iterations=9,
    warnings=["small face", "profile"],
    milliseconds={"optimise": 20.0},
)
TEXTURE = TextureInfo(
    size=64,
    format="jpeg",
    skin_tone=(200, 150, 130),
    hair_tone=(60, 50, 40),
    hair_seen=0.5,
    visible_share=0.6,
    mirrored_share=0.2,
    excluded_share=0.01,
    light_contrast=1.7,
    light_residual=0.08,
    region_confidence={"face": 0.9, "nose": 0.4, "ears": 0.3},
    warnings=["half of the face is hidden"],
    milliseconds={"light": 100.0},
)
PIXELS = np.random.default_rng(2).integers(0, 255, (64, 64, 3), dtype=np.uint8)
SH_LIGHT = np.random.default_rng(3).standard_normal((9, 3)).astype(np.float32)


def _fit(head: HeadModel) -> HeadFit:
    identity = np.random.default_rng(2).standard_normal(160).astype(np.float32)
    neutral = head.neutral(identity)
    return HeadFit(
        landmarks=np.zeros((478, 2), np.float32),
        identity=identity,
        expression=np.linspace(0, 1, 52).astype(np.float32),
        eye_rotation=np.zeros((2, 2), np.float32),
        intrinsics=np.eye(3, dtype=np.float32),
        head_to_camera=np.eye(3, 4, dtype=np.float32),
        fitted_vertices=neutral,
        neutral_vertices=neutral,
        info=FIT,
    )


def _request(**options: Any) -> Request:
    return Request.accepted(AVATAR_TWIN, options, MADE_WITH)


def _package(packager: AvatarPackager, texture_format: str = "jpeg", **options: Any) -> PackedAvatar:
    fit = _fit(packager.head)
    return packager.package(
        fit.neutral_vertices, encoded(PIXELS, texture_format).content, _request(**options)
    )


def _report(packager: AvatarPackager) -> dict[str, Any]:
    """Of all stages of ``avatar_twin``."""
    fit = _fit(packager.head)
    names = [str(name) for name in packager.head.expression_names]
    sections = {
        "find_face": PHOTO.section(),
        "fit_head": fit.section(names),
        "bake_texture": TEXTURE.section(SH_LIGHT, 1234),
        "package_avatar": _package(packager, lods=1).section,
    }
    named = [dataclasses.replace(section, stage=stage) for stage, section in sections.items()]
    return build_report(_request(lods=1), sections_from_json(sections_to_json(named)))


def test_report_says_what_the_stages_found(packager: AvatarPackager, head: HeadModel) -> None:
    report, fit = _report(packager), _fit(head)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["photo"]["face_box"] == [200.0, 100.0, 330.0, 260.0]
    assert report["camera"]["focal_px"] == 750.0
    assert report["camera"]["focal_source"] == "exif"
    assert report["camera"]["pose"]["yaw"] == 12.35 or report["camera"]["pose"]["yaw"] == 12.34
    np.testing.assert_allclose(report["fit"]["identity"], fit.identity, atol=6e-5)
    assert list(report["fit"]["expression"]) == [str(name) for name in head.expression_names]
    np.testing.assert_allclose(list(report["fit"]["expression"].values()), fit.expression, atol=6e-5)
    np.testing.assert_allclose(report["texture"]["sh_light"], SH_LIGHT, atol=6e-6)
    assert report["confidence"] == {
        "face": {"shape_sigma_mm": 0.8, "texture": 0.9},
        "nose": {"shape_sigma_mm": 0.5, "texture": 0.4},
        "ears": {"texture": 0.3},
    }
    assert report["warnings"] == ["small face", "profile", "half of the face is hidden"]
    assert list(report["milliseconds"]) == [
        "find_face.decode",
        "fit_head.optimise",
        "bake_texture.light",
        "package_avatar.write",
        "package_avatar.since_accepted",
    ]
    assert report["texture"]["bytes"] == 1234
    assert report["avatar"]["triangles"] == [len(head.triangles), len(head.lod1_uv_triangles)]
    assert report["avatar"]["morph_targets"] == 67
    assert report["options"]["lods"] == 1
    assert report["models"] == {"head.npz": "ab" * 32}
    assert (report["pipeline"], report["facewright_version"]) == ("avatar_twin", "1.2.3")


#: What is in every report, and what the stages of ``avatar_twin`` put into it.
SCHEMAS = (Report, PhotoSection, FitSection, TextureSection, AvatarSection)


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


def test_report_has_exactly_the_schemas_members(packager: AvatarPackager) -> None:
    def check(value: Any, kinds: list[Any], at: str) -> None:
        """``kinds``: those that sections give a member; objects are merged."""
        if is_typeddict(kinds[0]):
            hints: dict[str, list[Any]] = {}
            for kind in kinds:
                for name, inner in get_type_hints(kind).items():
                    hints.setdefault(name, []).append(inner)
            assert (
                set(value) <= set(hints) if at.startswith("report.confidence.") else set(value) == set(hints)
            ), at
            for name in value:
                check(value[name], hints[name], f"{at}.{name}")
        elif get_origin(kinds[0]) is dict:
            for name, inner in value.items():
                check(inner, [get_args(kind)[1] for kind in kinds], f"{at}.{name}")
        elif kinds[0] in (int, str, bool):
            assert type(value) is kinds[0], at
        elif kinds[0] is float:
            assert isinstance(value, float), at

    check(_report(packager), list(SCHEMAS), "report")


def test_the_document_explains_every_member_and_no_other() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted({name for schema in SCHEMAS for name in _members(schema)})


def test_the_file_says_where_it_comes_from(packager: AvatarPackager) -> None:
    asset = pygltflib.GLTF2.load_from_bytes(_package(packager).glb).asset
    assert asset.generator == "Facewright 1.2.3"
    assert asset.extras["pipeline"] == "avatar_twin"
    assert asset.extras["models"] == {"head.npz": "ab" * 32}
    assert asset.extras["licences"] == {"head.npz": "CC0-1.0"}
    assert asset.extras["visemes"] == {name: dict(weights) for name, weights in VISEMES.items()}


def test_options_reach_the_file(packager: AvatarPackager) -> None:
    packed = _package(packager, "webp", visemes=False, lods=2)
    gltf = pygltflib.GLTF2.load_from_bytes(packed.glb)
    names = gltf.meshes[0].extras["targetNames"]
    assert len(names) == packed.section.members["avatar"]["morph_targets"] == 52
    assert sorted(gltf.extensionsUsed) == ["EXT_texture_webp", "MSFT_lod"]


def test_packaging_again_gives_the_same_bytes(packager: AvatarPackager) -> None:
    assert _package(packager).glb == _package(packager).glb


def test_the_meshes_are_built_once_for_all_avatars(
    packager: AvatarPackager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building it takes far longer than packing one avatar into it."""
    first = _package(packager).glb
    monkeypatch.delattr("facewright.asset.package_avatar.head_meshes")
    assert _package(packager).glb == first


def _with_nan(vertices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    broken = vertices.copy()
    broken[7, 1] = np.nan
    return broken


@pytest.mark.parametrize(
    ("change", "texture", "message"),
    [
        (lambda vertices: vertices[:3], encoded(PIXELS, "png").content, "NEUTRAL_VERTICES has shape"),
        (_with_nan, encoded(PIXELS, "png").content, "NEUTRAL_VERTICES has 1 values that are not finite"),
        (lambda vertices: vertices, b"GIF89a", "6 bytes are no jpeg, png, webp picture"),
    ],
)
def test_unusable_results_of_earlier_stages_are_typed(
    packager: AvatarPackager, change: Any, texture: bytes, message: str
) -> None:
    with pytest.raises(FacewrightError, match=message) as caught:
        packager.package(change(_fit(packager.head).neutral_vertices), texture, _request())
    assert caught.value.code == ErrorCode.INTERNAL
    assert caught.value.stage == "package_avatar"


def test_coefficients_that_are_not_finite_do_not_reach_a_report(head: HeadModel) -> None:
    names = [str(name) for name in head.expression_names]
    broken = dataclasses.replace(_fit(head), identity=np.full(160, np.nan, np.float32))
    with pytest.raises(ValueError, match="not JSON compliant"):
        sections_to_json([broken.section(names)])


def test_provenance_fingerprints_files(tmp_path: Path) -> None:
    (tmp_path / "head.npz").write_bytes(b"abc")
    found = Provenance.of_files({"head.npz": tmp_path / "head.npz"}, {"head.npz": "CC0-1.0"})
    assert found.models == {"head.npz": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert found.licences == {"head.npz": "CC0-1.0"}
