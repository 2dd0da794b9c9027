"""Baking photos whose truth is known, and what must never happen in a texture."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facewright.appearance.evidence import ZoneSettings, vertex_zones
from facewright.appearance.head_template import TemplateSettings, head_template
from facewright.appearance.surface_diffusion import SurfaceDiffusion
from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.assets import asset_path
from facewright.core.colour import linear_from_srgb, srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.hair.cover import HairCoverSettings, hair_line
from facewright.hair.strands import StrandSettings
from facewright.head.head_model import HeadModel
from facewright.pipelines.section import sections_to_json
from facewright.pipelines.tensors import PERSON_MASK
from facewright.render.light import Light
from facewright.texture.bake_texture import BakedTexture, TextureBaker, TextureOptions
from facewright.texture.fine_detail import FineDetailSettings, fine_detail
from facewright.texture.layers import DelightSettings, interpolated_zones, light_gain
from facewright_client.contract import ErrorCode
from tests.support.relit import skin_error
from tests.support.rendered_photo import (
    HAIR,
    IRIS,
    SKIN,
    RenderedPhoto,
    facing_and_visible,
    paint_ellipse,
    render_photo,
    side_light,
)

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="module")
def baker(head: HeadModel) -> TextureBaker:
    return TextureBaker(head)


@pytest.fixture(scope="module")
def points(head: HeadModel) -> TexelPoints:
    return TexelPoints(head, padded_texel_map(head, 512))


@pytest.fixture(scope="module")
def frontal(head: HeadModel) -> RenderedPhoto:
    return render_photo(head)


def bake(baker: TextureBaker, photo: RenderedPhoto, crop: NDArray[np.uint8] | None = None) -> BakedTexture:
    return baker.bake(
        photo.crop if crop is None else crop,
        photo.view.intrinsics,
        photo.view.head_to_camera,
        photo.vertices,
        photo.vertices,
        photo.eyes,
        photo.options,
    )


def face_core(head: HeadModel, points: TexelPoints) -> NDArray[np.bool_]:
    """Texels of cheeks, nose and forehead, well away from hair, brows, lids and lips."""
    keep = points.interpolate(
        np.clip(head.region("cheeks") + head.region("forehead") + head.region("nose"), 0, 1)
    )
    drop = points.interpolate(
        np.clip(sum(head.region(n) for n in ("brow_left", "brow_right", "eyelids", "lips", "ears")), 0, 1)
    )
    mean = points.interpolate(head.vertices_mean)
    return (keep > 0.8) & (drop < 0.02) & (mean[:, 2] > 0.0) & (mean[:, 1] < 0.045)


@pytest.mark.parametrize("strength", [0.0, 0.35])
def test_albedo_is_recovered(
    head: HeadModel, baker: TextureBaker, points: TexelPoints, strength: float
) -> None:
    photo = render_photo(head, light=side_light(strength), options=TextureOptions(512, "png", 1.0))
    baked = bake(baker, photo)
    core = face_core(head, points)
    albedo = linear_from_srgb(baked.texture).reshape(-1, 3)[core]
    truth = photo.albedo.reshape(-1, 3)[core]
    # Exposure is not observable: compare up to one factor.
    ratio = albedo / truth
    error = np.abs(ratio / np.median(ratio) - 1)
    assert np.median(error) < 0.04, np.median(error)
    assert np.quantile(error, 0.95) < 0.16, np.quantile(error, 0.95)
    # The blotches are still there: neither smoothed away nor taken for an occluder.
    pattern = np.log(truth.mean(axis=1))
    assert np.corrcoef(pattern, np.log(albedo.mean(axis=1)))[0, 1] > 0.8


def test_delight_removes_the_share_asked_for(
    head: HeadModel, baker: TextureBaker, points: TexelPoints
) -> None:
    mean = points.interpolate(head.vertices_mean)
    core = face_core(head, points)
    contrast = []
    for delight in (0.0, 0.5, 1.0):
        photo = render_photo(head, light=side_light(0.35), options=TextureOptions(512, "png", delight))
        light = linear_from_srgb(bake(baker, photo).texture).reshape(-1, 3).mean(axis=1)
        left, right = core & (mean[:, 0] > 0.03), core & (mean[:, 0] < -0.03)
        contrast.append(np.log(np.median(light[left]) / np.median(light[right])))
    assert contrast[0] > 0.2
    assert contrast[0] > contrast[1] > contrast[2]
    assert abs(contrast[1] / contrast[0] - 0.5) < 0.2
    assert abs(contrast[2]) < 0.25 * contrast[0]


def test_light_that_both_sides_share_is_divided_out_less() -> None:
    shade = np.array([[1.2, 1.2, 1.2], [0.8, 0.8, 0.8]], np.float32)
    here, there = light_gain(shade, shade[::-1], 0.5, DelightSettings())[:, 0]
    assert here / there == pytest.approx((0.8 / 1.2) ** 0.5, rel=1e-5)
    assert here * there == pytest.approx((0.8 * 1.2) ** -0.125, rel=1e-5)
    assert light_gain(shade, shade[::-1], 1.0, DelightSettings()) == pytest.approx(1 / shade, rel=1e-5)
    assert light_gain(shade, shade[::-1], 0.0, DelightSettings()) == pytest.approx(1.0)


def test_light_is_returned_in_head_space(head: HeadModel, baker: TextureBaker) -> None:
    photo = render_photo(head, light=side_light(0.35))
    coefficients = bake(baker, photo).sh_light
    direction = coefficients[[3, 1, 2]].mean(axis=1)
    expected = np.array([1.0, 0.5, 0.5])
    cosine = direction @ expected / np.linalg.norm(direction) / np.linalg.norm(expected)
    assert cosine > 0.85, direction


@pytest.mark.parametrize("delight", [0.0, 0.5, 1.0])
def test_a_texture_in_its_own_light_is_the_photo(
    head: HeadModel, baker: TextureBaker, delight: float
) -> None:
    photo = render_photo(head, yaw=15.0, light=side_light(0.35), options=TextureOptions(512, "png", delight))
    baked = bake(baker, photo)
    camera = photo.view.intrinsics, photo.view.head_to_camera
    own, even = (
        skin_error(head, photo.vertices, baked.texture, photo.crop, camera, light)
        for light in (Light(baked.sh_light), Light.even())
    )
    assert own < 0.05
    assert own < 0.5 * even or delight == 0.0


def test_a_cheek_that_darkens_towards_the_outline_is_no_smear_from_the_side(
    head: HeadModel, baker: TextureBaker
) -> None:
    light = np.zeros((9, 3), np.float32)
    light[0], light[2] = 0.05 / 0.282095, 0.9 / 0.488603  # a flash
    photo = render_photo(head, light=light)
    points = TexelPoints(head, padded_texel_map(head, 512))
    cheeks = points.interpolate(head.region("cheeks")) > 0.7
    facing = points.interpolate(facing_and_visible(head, photo))
    shown = (
        linear_from_srgb(bake(baker, photo).texture).reshape(-1, 3)[:, 1] / photo.albedo.reshape(-1, 3)[:, 1]
    )
    slanted, front = cheeks & (facing > 0.3) & (facing < 0.4), cheeks & (facing > 0.8)
    share = np.median(shown[slanted]) / np.median(shown[front])
    assert share > 0.56, share  # 0.52 where nothing is lifted


def test_occluder_on_the_cheek_is_left_out(
    head: HeadModel, baker: TextureBaker, points: TexelPoints, frontal: RenderedPhoto
) -> None:
    cheek = head.vertices_mean[np.argmin(np.linalg.norm(head.vertices_mean - [0.035, -0.04, 0.01], axis=1))]
    crop = paint_ellipse(frontal, cheek, 37.0, (0.004, 0.004, 0.005))
    clean, covered = bake(baker, frontal), bake(baker, frontal, crop)
    distance = np.linalg.norm(points.interpolate(head.vertices_mean) - cheek, axis=1)
    under = (distance < 0.008) & points.covered
    before = linear_from_srgb(clean.texture).reshape(-1, 3)[under]
    after = linear_from_srgb(covered.texture).reshape(-1, 3)[under]
    # The disc is 100 times darker than the skin; the other cheek stands in.
    assert np.median(np.abs(after / before - 1)) < 0.1
    assert covered.info.excluded_share > clean.info.excluded_share + 0.01


def test_half_a_face_in_hard_shadow_is_the_person(
    head: HeadModel, baker: TextureBaker, points: TexelPoints, frontal: RenderedPhoto
) -> None:
    # Seven times darker on the subject's right, redder as skin in shadow is, with a border of a few pixels.
    lit = 1 / (1 + np.exp(-(np.arange(len(frontal.crop)) - len(frontal.crop) / 2) / 4))[None, :, None]
    shadow = lit + (1 - lit) * np.array([0.17, 0.14, 0.135])
    crop = srgb_from_linear((linear_from_srgb(frontal.crop) * shadow).astype(np.float32))
    clean, shaded = bake(baker, frontal), bake(baker, frontal, crop)
    assert shaded.info.light_contrast > 3.0
    # Nothing of it is an occluder, and nothing is filled in patches: one gain on the whole side.
    assert shaded.info.excluded_share < clean.info.excluded_share + 0.03
    mean = points.interpolate(head.vertices_mean)
    side = face_core(head, points) & (mean[:, 0] < -0.02)
    before, after = (
        linear_from_srgb(baked.texture).reshape(-1, 3)[side].mean(axis=1) for baked in (clean, shaded)
    )
    gain = after / before
    assert np.median(gain) < 0.6
    assert np.quantile(gain, 0.95) < 2.5 * np.median(gain)


def test_symmetric_beard_stays(head: HeadModel, baker: TextureBaker, points: TexelPoints) -> None:
    photo = render_photo(head)
    crop = photo.crop
    for side in (1, -1):
        jaw = np.array([side * 0.03, -0.085, 0.0], np.float32)
        nearest = head.vertices_mean[np.argmin(np.linalg.norm(head.vertices_mean - jaw, axis=1))]
        crop = paint_ellipse(dataclasses.replace(photo, crop=crop), nearest, 40.0, tuple(HAIR))
    baked = bake(baker, photo, crop)
    distance = np.linalg.norm(points.interpolate(head.vertices_mean) - nearest, axis=1)
    under = (distance < 0.006) & points.covered
    assert np.median(linear_from_srgb(baked.texture).reshape(-1, 3)[under].mean(axis=1)) < 0.09


@pytest.mark.parametrize("yaw", [0.0, 35.0, -60.0])
def test_background_never_leaks(head: HeadModel, baker: TextureBaker, yaw: float) -> None:
    baked = bake(baker, render_photo(head, yaw=yaw))
    red, green, blue = (baked.texture[..., k].astype(int) for k in range(3))
    magenta = (np.minimum(red, blue) - green) > 60
    assert not magenta.any(), f"{int(magenta.sum())} magenta texels"
    tinted = (blue - np.maximum(red, green)) > 25
    # The irises are blue; nothing else is.
    assert tinted.mean() < 0.01


def test_sides_of_the_uv_cut_agree(head: HeadModel, baker: TextureBaker, frontal: RenderedPhoto) -> None:
    texture = bake(baker, frontal).texture.astype(int)
    order = np.argsort(head.uv_vertex, kind="stable")
    same = head.uv_vertex[order][1:] == head.uv_vertex[order][:-1]
    first, second = order[:-1][same], order[1:][same]
    assert len(first) > 20
    size = len(texture)
    at = np.clip((head.uv * size).astype(int), 0, size - 1)
    colours = texture[at[:, 1], at[:, 0]]
    difference = np.abs(colours[first] - colours[second]).max(axis=1)
    assert np.median(difference) <= 4, difference
    # Single strands that end at the nape are thinner than the two texels between the sides.
    assert np.quantile(difference, 0.95) <= 12, difference


def test_far_side_is_mirrored(head: HeadModel, baker: TextureBaker, points: TexelPoints) -> None:
    photo = render_photo(head, yaw=-50.0)
    baked = bake(baker, photo)
    assert baked.info.mirrored_share > 0.2
    core = face_core(head, points)
    albedo = linear_from_srgb(baked.texture).reshape(-1, 3)[core]
    truth = photo.albedo.reshape(-1, 3)[core]
    ratio = albedo / truth
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.08
    # The pattern is symmetric, so the far side must show it, too.
    far = points.interpolate(head.vertices_mean)[core][:, 0] > 0.02
    pattern = np.corrcoef(np.log(truth[far].mean(axis=1)), np.log(albedo[far].mean(axis=1)))[0, 1]
    assert pattern > 0.6, pattern


def test_hair_skin_and_irises_come_from_the_photo(
    head: HeadModel, baker: TextureBaker, points: TexelPoints, frontal: RenderedPhoto
) -> None:
    baked = bake(baker, frontal)
    linear = linear_from_srgb(baked.texture).reshape(-1, 3)
    mean = points.interpolate(head.vertices_mean)
    back = points.covered & (mean[:, 2] < -0.14) & (mean[:, 1] > 0.0)
    neck = points.covered & (points.interpolate(head.region("neck")) > 0.9)
    assert np.abs(np.median(linear[back], axis=0) / HAIR - 1).max() < 0.5
    assert np.abs(np.median(linear[neck], axis=0) / (0.8 * SKIN) - 1).max() < 0.35
    assert baked.info.hair_seen > 0.5
    part = head.triangle_part[points.texels.triangle_id.ravel()]
    left = points.covered & (part == list(head.part_names).index("eye_left"))
    away = np.linalg.norm(mean - head.iris_centre[0], axis=1) / head.iris_radius[0]
    iris = np.median(linear[left & (away > 0.6) & (away < 0.8)], axis=0)
    assert iris[2] > 1.5 * iris[0], iris  # blue, as in the photo
    assert iris[2] > 0.3 * IRIS[2]
    pupil = np.median(linear[left & (away < 0.25)], axis=0)
    assert pupil.max() < 0.03


def test_bald_head_gets_no_hair(head: HeadModel, baker: TextureBaker, points: TexelPoints) -> None:
    photo = render_photo(head)
    # Everything above the forehead in the photo turns to skin.
    crop = photo.crop.copy()
    hair = (crop.max(axis=2) < 90) & (np.arange(1024)[:, None] < 330)
    crop[hair] = np.median(photo.crop[500:560, 440:480].reshape(-1, 3), axis=0).astype(np.uint8)
    baked = bake(baker, photo, crop)
    mean = points.interpolate(head.vertices_mean)
    back = points.covered & (mean[:, 2] < -0.14) & (mean[:, 1] > 0.0)
    linear = linear_from_srgb(baked.texture).reshape(-1, 3)
    assert np.median(linear[back].mean(axis=1)) > 0.1
    assert baked.info.hair_seen < 0.3


def long_hair(photo: RenderedPhoto, sides: tuple[int, ...]) -> NDArray[np.uint8]:
    """The crop with hair from above the ears down to the neck, on the left (1) or the right (-1)."""
    crop = photo.crop
    for side in sides:
        for x, y in ((0.083, 0.0), (0.083, -0.03), (0.08, -0.06), (0.072, -0.09)):
            place = np.array([side * x, y, -0.06], np.float32)
            crop = paint_ellipse(dataclasses.replace(photo, crop=crop), place, 62.0, tuple(HAIR))
    return crop


@pytest.mark.parametrize("covered", [(1, -1), (1,)])
def test_hair_over_an_ear_falls_down_the_neck(
    head: HeadModel,
    baker: TextureBaker,
    points: TexelPoints,
    frontal: RenderedPhoto,
    covered: tuple[int, ...],
) -> None:
    mean = points.interpolate(head.vertices_mean)
    ears = points.covered & (points.interpolate(head.region("ears")) > 0.8) & (mean[:, 1] < -0.024)
    nape = points.covered & (mean[:, 2] < -0.11) & (np.abs(mean[:, 1] + 0.11) < 0.01)
    throat = points.covered & (mean[:, 2] > -0.03) & (np.abs(mean[:, 1] + 0.11) < 0.01)
    cheeks = face_core(head, points)

    def tone(crop: NDArray[np.uint8], texels: NDArray[np.bool_]) -> float:
        return float(np.median(linear_from_srgb(bake(baker, frontal, crop).texture).reshape(-1, 3)[texels]))

    crop = long_hair(frontal, covered)
    hair, skin = float(np.median(HAIR)), float(np.median(SKIN))
    assert tone(frontal.crop, nape) > 0.6 * skin
    assert tone(crop, nape) < 2.0 * hair
    assert tone(crop, throat) > 0.6 * tone(frontal.crop, throat)
    assert tone(crop, cheeks) == pytest.approx(tone(frontal.crop, cheeks), rel=0.1)
    for side in (1, -1):
        ear = tone(crop, ears & (side * mean[:, 0] > 0))
        assert (ear < 2.0 * hair) == (side in covered), (side, ear)


@pytest.mark.parametrize(("sides", "masked"), [((1, -1), True), ((1,), True), ((1, -1), False)])
def test_hair_beside_the_neck_hangs_behind_it(
    head: HeadModel,
    baker: TextureBaker,
    points: TexelPoints,
    frontal: RenderedPhoto,
    sides: tuple[int, ...],
    masked: bool,
) -> None:
    crop = frontal.crop
    for side in sides:
        place = np.array([side * 0.095, -0.064, -0.065], np.float32)
        crop = paint_ellipse(dataclasses.replace(frontal, crop=crop), place, 60.0, tuple(HAIR))
    person = (crop != frontal.crop[0, 0]).any(axis=2)
    mask = np.asarray(Image.fromarray(person).resize(PERSON_MASK.shape), np.uint8) * np.uint8(255)
    view = frontal.view
    baked = baker.bake(
        crop,
        view.intrinsics,
        view.head_to_camera,
        frontal.vertices,
        frontal.vertices,
        frontal.eyes,
        frontal.options,
        mask if masked else None,
    )
    linear = linear_from_srgb(baked.texture).reshape(-1, 3).mean(axis=1)
    mean = points.interpolate(head.vertices_mean)
    nape = points.covered & (mean[:, 2] < -0.11) & (np.abs(mean[:, 1] + 0.11) < 0.01)
    ears = points.covered & (points.interpolate(head.region("ears")) > 0.8)
    # A collar or a person behind may be as dark on one side; and without a mask so may the background.
    hangs = len(sides) == 2 and masked
    assert (np.median(linear[nape]) < 2.0 * HAIR.mean()) == hangs
    assert np.median(linear[ears]) > 0.3 * SKIN.mean()


def test_curls_over_the_upper_ear_do_not_fall(
    head: HeadModel, baker: TextureBaker, points: TexelPoints, frontal: RenderedPhoto
) -> None:
    crop = frontal.crop
    for side in (1, -1):
        place = np.array([side * 0.085, 0.012, -0.06], np.float32)
        crop = paint_ellipse(dataclasses.replace(frontal, crop=crop), place, 45.0, tuple(HAIR))
    mean = points.interpolate(head.vertices_mean)
    nape = points.covered & (mean[:, 2] < -0.11) & (np.abs(mean[:, 1] + 0.11) < 0.01)
    clean, curly = (
        linear_from_srgb(baked.texture).reshape(-1, 3)[nape]
        for baked in (bake(baker, frontal), bake(baker, frontal, crop))
    )
    assert np.median(curly / clean) > 0.8


def test_lashes_do_not_cover_a_closed_eye(
    head: HeadModel, baker: TextureBaker, points: TexelPoints, frontal: RenderedPhoto
) -> None:
    template = head_template(head, TemplateSettings())
    lids = head.region("eyelids") > 0.05
    assert (template.folded[~lids] < 0.5).all()
    folded = points.interpolate(template.folded) > 0.9
    mean = points.interpolate(head.vertices_mean)
    crop = frontal.crop
    for side in (1, -1):
        line = np.median(mean[folded & (side * mean[:, 0] > 0)], axis=0)
        for step in np.linspace(-0.012, 0.012, 9):
            place = (line + np.array([step, 0, 0])).astype(np.float32)
            crop = paint_ellipse(dataclasses.replace(frontal, crop=crop), place, 7.0, (0.004, 0.004, 0.005))
    clean, lashes = (
        linear_from_srgb(baked.texture).reshape(-1, 3)[folded].mean(axis=1)
        for baked in (bake(baker, frontal), bake(baker, frontal, crop))
    )
    # The lashes are 50 times darker than skin, and as wide as what an open eye shows of the folds.
    assert np.median(lashes / clean) > 0.4


def test_hair_ends_at_the_ear_without_a_comb(head: HeadModel, points: TexelPoints) -> None:
    surface = SurfaceDiffusion(head.triangles[head.part_triangles("skin")], head.vertices_mean)
    zones = interpolated_zones(vertex_zones(head, surface, ZoneSettings()), points)
    line = hair_line(points.interpolate(head.vertices_canonical), zones, HairCoverSettings())
    assert (line[zones.pinna > 0.7] == 0.0).all()
    beside = points.covered & (zones.pinna > 0.05) & (zones.pinna < 0.3) & (zones.scalp > 0.8)
    assert beside.sum() > 50
    assert line[beside].min() > 0.9


def test_there_are_gaps_between_teeth(head: HeadModel, points: TexelPoints) -> None:
    detail = (
        fine_detail(head, points.texels, FineDetailSettings(), StrandSettings())
        .reshape(-1, 2)[:, 1]
        .astype(int)
    )
    mean = points.interpolate(head.vertices_mean)
    part = head.triangle_part[points.texels.triangle_id.ravel()]
    upper = points.covered & (part == list(head.part_names).index("teeth_upper")) & (mean[:, 2] > 0.0)
    # Two incisors of 8.5 mm side by side, in an arch of 58 mm.
    width = 0.0085  # of the middle incisors, in an arch of 58 mm; this one is 67 mm wide
    across = np.abs(mean[:, 0])
    assert np.median(detail[upper & (across < 0.0003)]) < 40
    assert np.median(detail[upper & (np.abs(across - 0.5 * width) < 0.001)]) > 110


def test_equal_inputs_give_equal_bytes(baker: TextureBaker, frontal: RenderedPhoto) -> None:
    first, second = bake(baker, frontal), bake(TextureBaker(baker.head), frontal)
    assert first.encode() == second.encode()
    assert np.array_equal(first.sh_light, second.sh_light)


@pytest.mark.parametrize("texture_format", ["jpeg", "webp", "png"])
@pytest.mark.parametrize("size", [512, 1024])
def test_size_and_format(head: HeadModel, baker: TextureBaker, size: int, texture_format: str) -> None:
    photo = render_photo(head, options=TextureOptions(size, texture_format))
    baked = bake(baker, photo)
    image = Image.open(io.BytesIO(baked.encode()))
    assert (image.size, str(image.format).lower(), image.mode) == ((size, size), texture_format, "RGB")
    difference = np.abs(np.asarray(image).astype(int) - baked.texture)
    assert difference.mean() < 3.0


def test_photo_that_shows_no_skin_still_gives_a_texture(baker: TextureBaker, frontal: RenderedPhoto) -> None:
    for level in (0, 255):
        baked = bake(baker, frontal, np.full_like(frontal.crop, level))
        assert baked.texture.shape == (512, 512, 3)
        assert np.isfinite(baked.sh_light).all()
        sections_to_json([baked.info.section(baked.sh_light, 1)])  # every number is finite


@pytest.mark.parametrize("unseen", ["outside the photo", "not the person"])
def test_a_face_of_which_nothing_is_seen_is_refused(
    baker: TextureBaker, frontal: RenderedPhoto, unseen: str
) -> None:
    pose = frontal.view.head_to_camera.copy()
    mask = np.full(PERSON_MASK.shape, 255, np.uint8)
    if unseen == "not the person":
        mask[:] = 0
    else:
        pose[0, 3] += 2.0
    with pytest.raises(FacewrightError, match="shows 0 % of the face") as caught:
        baker.bake(
            frontal.crop,
            frontal.view.intrinsics,
            pose,
            frontal.vertices,
            frontal.vertices,
            frontal.eyes,
            frontal.options,
            mask,
        )
    assert caught.value.code == ErrorCode.BAD_PHOTO
    assert "whole face" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("face_crop", np.zeros((512, 512, 3), np.uint8)),
        ("face_crop", np.zeros((1024, 1024, 3), np.float32)),
        ("intrinsics", np.full((3, 3), np.nan, np.float32)),
        ("head_to_camera", np.zeros((4, 4), np.float32)),
        ("fitted_vertices", np.zeros((7, 3), np.float32)),
        ("neutral_vertices", None),
    ],
)
def test_bad_input_is_a_typed_error(
    baker: TextureBaker, frontal: RenderedPhoto, name: str, value: NDArray[np.float32] | None
) -> None:
    if value is None:
        value = frontal.vertices.copy()
        value[3, 1] = np.inf
    arguments: dict[str, Any] = {
        "face_crop": frontal.crop,
        "intrinsics": frontal.view.intrinsics,
        "head_to_camera": frontal.view.head_to_camera,
        "fitted_vertices": frontal.vertices,
        "neutral_vertices": frontal.vertices,
        "eyes": frontal.eyes,
        name: value,
    }
    with pytest.raises(FacewrightError, match=name) as caught:
        baker.bake(**arguments)
    assert caught.value.code is ErrorCode.INTERNAL


def test_info_says_what_was_seen(baker: TextureBaker, frontal: RenderedPhoto) -> None:
    info = bake(baker, frontal).info
    assert set(info.region_confidence) == {str(name) for name in baker.head.region_names}
    assert info.region_confidence["nose"] > 0.7
    assert info.visible_share > 0.5


def test_work_that_nobody_waits_for_ends_at_the_next_step(
    baker: TextureBaker, frontal: RenderedPhoto
) -> None:
    steps = []

    def leave_after_the_second() -> None:
        steps.append(1)
        if len(steps) == 2:
            raise FacewrightError(ErrorCode.CANCELLED, "the client has left", "nothing to do")

    view = frontal.view
    with pytest.raises(FacewrightError) as caught:
        baker.bake(
            frontal.crop,
            view.intrinsics,
            view.head_to_camera,
            frontal.vertices,
            frontal.vertices,
            frontal.eyes,
            between_steps=leave_after_the_second,
        )
    assert caught.value.code is ErrorCode.CANCELLED
    assert len(steps) == 2
