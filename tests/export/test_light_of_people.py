"""What a bake says of the light on people whose light is known."""

from __future__ import annotations

import numpy as np
import pytest

from facewright.core.colour import luminance, srgb_from_linear
from facewright.head.head_model import HeadModel
from facewright.render.light import Light as SceneLight
from facewright.render.render_head import View as RenderView
from facewright.texture.bake_texture import TextureBaker, TextureOptions
from facewright_export.people import Lamp, Light, PeopleGenerator, View
from tests.support.relit import skin_error
from tests.support.rendered_photo import SIZE, seen_eye

_SCALE = SIZE / 0.34


@pytest.fixture(scope="module")
def people(open_head: HeadModel) -> PeopleGenerator:
    return PeopleGenerator(open_head, seed=3)


@pytest.fixture(scope="module")
def baker(open_head: HeadModel) -> TextureBaker:
    return TextureBaker(open_head)


@pytest.mark.parametrize("index", [0, 5])
def test_a_person_in_its_own_light_is_the_photo(
    open_head: HeadModel, people: PeopleGenerator, baker: TextureBaker, index: int
) -> None:
    towards = np.array([0.8, 0.4, 0.6], np.float32)
    lamp = Lamp(towards / np.linalg.norm(towards), np.array([0.9, 0.85, 0.8], np.float32), 0.01)
    even = np.zeros((9, 3), np.float32)
    even[0] = 0.5 / 0.282095
    camera = (
        np.array([[_SCALE, 0, SIZE / 2], [0, _SCALE, SIZE / 2], [0, 0, 1]], np.float32),
        np.array([[1, 0, 0, 0], [0, -1, 0, -0.03], [0, 0, -1, 1]], np.float32),
    )
    person = people.draw(index).plain()
    picture, truth = people.portrait(person, View(*camera), Light(even, (lamp,)), SIZE)
    crop = srgb_from_linear(picture)
    view = RenderView(*camera, SIZE, SIZE)
    eyes = seen_eye(open_head, 0, view), seen_eye(open_head, 1, view)
    baked = baker.bake(crop, *camera, truth.vertices, truth.vertices, eyes, TextureOptions(512, "png"))
    own, unlit = (
        skin_error(open_head, truth.vertices, baked.texture, crop, camera, light)
        for light in (SceneLight(baked.sh_light), SceneLight.even())
    )
    assert own < 0.6 * unlit
    lit = luminance(baked.sh_light[[3, 1, 2]]) @ lamp.direction
    assert lit > 0.8 * np.linalg.norm(luminance(baked.sh_light[[3, 1, 2]]))
