"""Unwrapping photos whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.appearance.photo_view import FacePhoto
from facewright.core.colour import srgb_from_linear
from facewright.core.errors import FacewrightError
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.head_model import HeadModel
from facewright.texture.unwrap_texture import NOISE_SIGMA, TextureUnwrapper, UnwrappedTexture
from facewright_kernels import vertex_normals
from tests.support.rendered_photo import RenderedPhoto, facing_and_visible, render_photo, side_light

Floats = NDArray[np.float32]


@pytest.fixture(scope="module")
def unwrapper(open_head: HeadModel) -> TextureUnwrapper:
    return TextureUnwrapper(open_head)


@pytest.fixture(scope="module")
def turned(open_head: HeadModel) -> RenderedPhoto:
    return render_photo(open_head, yaw=0.9, light=side_light(0.3))


def unwrap(
    unwrapper: TextureUnwrapper,
    photo: RenderedPhoto,
    albedo: Floats | None = None,
    mask: NDArray[np.uint8] | None = None,
) -> UnwrappedTexture:
    view = photo.view
    seen = FacePhoto(photo.crop, (0, 0, 1024, 1024), mask)
    return unwrapper.unwrap(seen, view.intrinsics, view.head_to_camera, photo.vertices, albedo)


def on_skin(unwrapper: TextureUnwrapper, of_vertices: Floats) -> Floats:
    """Per texel, 0 where there is no skin of the face."""
    points, head = unwrapper.points, unwrapper.head
    return points.interpolate(of_vertices * (head.region("cheeks") + head.region("forehead")))


def test_what_faces_the_camera_is_the_photo_and_the_far_cheek_is_noise(
    unwrapper: TextureUnwrapper, turned: RenderedPhoto
) -> None:
    unwrapped = unwrap(unwrapper, turned)
    skin = unwrapper.head.region("face") > 0.5
    facing = unwrapper.points.interpolate(facing_and_visible(unwrapper.head, turned) * skin)
    texels = unwrapped.texture.reshape(3, -1)
    seen, far = texels[:, facing > 0.7], texels[:, facing < -0.1]
    assert seen.shape[1] > 1000
    assert far.shape[1] > 500
    assert abs(far.std() - NOISE_SIGMA) < 0.03
    # skin in this light: redder than green, nowhere noise
    assert (seen[0] > seen[1] + 0.05).mean() > 0.99
    assert 0.3 < unwrapped.seen_share < 0.8


def test_equal_photos_give_equal_textures(unwrapper: TextureUnwrapper, turned: RenderedPhoto) -> None:
    first, second = (unwrap(unwrapper, turned) for _ in range(2))
    assert first.texture.tobytes() == second.texture.tobytes()
    assert first.sh_light.tobytes() == second.sh_light.tobytes()


def test_light_is_the_lamp_that_shone(unwrapper: TextureUnwrapper, turned: RenderedPhoto) -> None:
    light = unwrap(unwrapper, turned).sh_light
    normals = vertex_normals(turned.vertices[None], unwrapper.head.triangles)[0]
    where = unwrapper.head.region("cheeks") + unwrapper.head.region("forehead") > 0.5
    where &= facing_and_visible(unwrapper.head, turned) > 0.3
    found, true = (sh_basis(normals[where]) @ own for own in (light, side_light(0.3)))
    assert np.corrcoef(found[:, 0], true[:, 0])[0, 1] > 0.95


def test_a_prior_is_encoded_and_without_one_it_has_the_skins_tone(
    unwrapper: TextureUnwrapper, turned: RenderedPhoto
) -> None:
    given = np.tile(np.float32([0.5, 0.2, 0.1]), (unwrapper.head.vertex_count, 1))
    covered = unwrapper.points.covered
    prior = unwrap(unwrapper, turned, given).prior_albedo.reshape(3, -1)[:, covered]
    assert np.abs(prior * 255 - srgb_from_linear(given[0])[:, None]).max() < 1.01
    cheeks = on_skin(unwrapper, unwrapper.head.region("cheeks")) > 0.9
    red, green, blue = unwrap(unwrapper, turned).prior_albedo.reshape(3, -1)[:, cheeks].mean(axis=1)
    assert red > green > blue


def test_nobody_in_the_photo_is_noise_everywhere(unwrapper: TextureUnwrapper, turned: RenderedPhoto) -> None:
    unwrapped = unwrap(unwrapper, turned, mask=np.zeros((256, 256), np.uint8))
    assert unwrapped.seen_share == 0.0
    assert np.isfinite(unwrapped.sh_light).all()
    assert abs(unwrapped.texture.std() - NOISE_SIGMA) < 0.02


def test_what_is_no_number_or_of_another_head_is_refused(
    unwrapper: TextureUnwrapper, turned: RenderedPhoto
) -> None:
    for albedo, said in (
        (np.full((unwrapper.head.vertex_count, 3), np.nan, np.float32), "not finite"),
        (np.zeros((7, 3), np.float32), r"vertex_albedo has shape \[7, 3\]"),
    ):
        with pytest.raises(FacewrightError, match=said):
            unwrap(unwrapper, turned, albedo)
