"""A texture whose colours at large are a given albedo's: what of it is the photo's, and what is not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.colour import linear_from_srgb
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.texture.bake_texture import BakedTexture, TextureBaker, TextureOptions
from facewright.texture.dressing import NetworkAlbedo
from facewright_client.contract import ErrorCode
from tests.support.rendered_photo import SKIN, RenderedPhoto, render_photo, side_light

Floats = NDArray[np.float32]

#: Of another person, and another exposure.
WANTED = np.array([0.2, 0.14, 0.11], np.float32)


@pytest.fixture(scope="module")
def baker(open_head: HeadModel) -> TextureBaker:
    return TextureBaker(open_head)


@pytest.fixture(scope="module")
def side_lit(open_head: HeadModel) -> RenderedPhoto:
    return render_photo(open_head, light=side_light(0.35))


@pytest.fixture(scope="module")
def core(open_head: HeadModel) -> NDArray[np.bool_]:
    """Texels of cheeks and forehead at 512², well away from the features, seen from the front."""
    points = TexelPoints(open_head, padded_texel_map(open_head, 512))
    mean = points.interpolate(open_head.vertices_mean)
    regions = np.clip(open_head.region("cheeks") + open_head.region("forehead"), 0, 1)
    others = ("brow_left", "brow_right", "eyelids", "lips", "nose", "ears")
    features = np.clip(sum(open_head.region(name) for name in others), 0, 1)
    skin = (points.interpolate(regions) > 0.8) & (points.interpolate(features) < 0.02)
    inside: NDArray[np.bool_] = skin & (np.abs(mean[:, 0]) < 0.045) & (mean[:, 1] < 0.03)
    return inside & (mean[:, 2] > 0.0)


def _plain(colour: Floats) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(colour[:, None, None], (3, 256, 256)), np.float32)


def _bake(
    baker: TextureBaker, photo: RenderedPhoto, albedo: Any, detail: float = 1.0, of_photo: bool = False
) -> BakedTexture:
    return baker.bake(
        photo.crop,
        photo.view.intrinsics,
        photo.view.head_to_camera,
        photo.vertices,
        photo.vertices,
        photo.eyes,
        TextureOptions(512, "png", 1.0, detail),
        albedo=NetworkAlbedo(albedo, of_photo),
    )


def test_colours_at_large_are_the_albedos_and_what_is_fine_is_the_photos(
    baker: TextureBaker, side_lit: RenderedPhoto, core: NDArray[np.bool_]
) -> None:
    texture = linear_from_srgb(_bake(baker, side_lit, _plain(WANTED)).texture).reshape(-1, 3)[core]
    assert np.median(texture, axis=0) == pytest.approx(WANTED, rel=0.04)
    # What light did to a cheek was twice as much; blotches a few millimetres wide are ±12 %.
    across = np.log(np.quantile(texture.mean(axis=1), [0.1, 0.9]))
    assert across[1] - across[0] < 0.24
    blotches = np.log(side_lit.albedo.reshape(-1, 3)[core].mean(axis=1))
    assert np.corrcoef(blotches, np.log(texture.mean(axis=1)))[0, 1] > 0.75


def test_without_detail_skin_is_the_albedo_alone_and_hair_and_eyes_are_the_photos(
    baker: TextureBaker, side_lit: RenderedPhoto, core: NDArray[np.bool_], open_head: HeadModel
) -> None:
    bare = _bake(baker, side_lit, _plain(WANTED), detail=0.0)
    texture = linear_from_srgb(bare.texture).reshape(-1, 3)
    # Pores of the fill's own, and rounding to bytes.
    assert np.abs(texture[core] / WANTED - 1).max() < 0.06
    points = TexelPoints(open_head, padded_texel_map(open_head, 512))
    scalp = points.interpolate(open_head.region("scalp")) > 0.99
    assert np.median(texture[scalp].mean(axis=1)) < 0.5 * WANTED.mean()
    assert bare.info.visible_share > 0.5


def test_what_no_light_explains_stays(
    baker: TextureBaker, side_lit: RenderedPhoto, core: NDArray[np.bool_], open_head: HeadModel
) -> None:
    """A beard that the albedo does not have is the person's."""
    points = TexelPoints(open_head, padded_texel_map(open_head, 512))
    chin = points.interpolate(open_head.region("chin")) > 0.9
    albedo = side_lit.albedo.reshape(-1, 3).copy()
    albedo[chin] *= 0.2
    bearded = dataclasses.replace(side_lit, albedo=albedo.reshape(512, 512, 3))
    painted = _photographed(open_head, bearded)
    texture = linear_from_srgb(_bake(baker, painted, _plain(WANTED)).texture).reshape(-1, 3)
    assert np.median(texture[chin].mean(axis=1)) < 0.5 * np.median(texture[core].mean(axis=1))
    knowing = linear_from_srgb(_bake(baker, painted, _plain(WANTED), of_photo=True).texture).reshape(-1, 3)
    assert np.median(knowing[chin], axis=0) == pytest.approx(WANTED, rel=0.1)


def _photographed(head: HeadModel, photo: RenderedPhoto) -> RenderedPhoto:
    from facewright.render.light import Light
    from facewright.render.render_head import HeadRenderer

    renderer = HeadRenderer(head, photo.albedo)
    picture = renderer.render(photo.vertices, photo.view, Light(side_light(0.35)), supersample=2)
    return dataclasses.replace(photo, crop=picture.over((0.9, 0.0, 0.9)))


def test_the_light_goes_with_the_albedo(baker: TextureBaker, side_lit: RenderedPhoto) -> None:
    """Half the albedo in twice the light is the same photo; hair, whose light is half known, blurs it."""
    bright = _bake(baker, side_lit, _plain(SKIN.astype(np.float32)))
    dark = _bake(baker, side_lit, _plain(0.5 * SKIN.astype(np.float32)))
    assert dark.sh_light[0] / bright.sh_light[0] == pytest.approx([2, 2, 2], rel=0.12)


@pytest.mark.parametrize(
    "albedo", [np.zeros((3, 128, 128), np.float32), np.full((3, 256, 256), np.nan, np.float32)]
)
def test_an_albedo_that_is_none_is_a_typed_error(
    baker: TextureBaker, side_lit: RenderedPhoto, albedo: Floats
) -> None:
    with pytest.raises(FacewrightError) as caught:
        _bake(baker, side_lit, albedo)
    assert caught.value.code is ErrorCode.INTERNAL
