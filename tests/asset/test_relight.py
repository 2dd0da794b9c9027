"""An avatar in another light: whose light it is, and what it does to a picture and a texture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from facewright.asset.relight import AskedLight, Relighter, light_of_environment
from facewright.code.avatar_code import AvatarCode
from facewright.code.code_file import written_code
from facewright.core.colour import linear_from_srgb
from facewright.core.errors import FacewrightError
from facewright.core.spherical_harmonics import sh_basis
from facewright.head.head_model import HeadModel
from facewright_client.contract import ErrorCode
from tests.support.codes import HEAD_SHA256, code_of

EVEN = np.zeros((9, 3), np.float32)
EVEN[0] = 1 / 0.282095


@pytest.fixture(scope="module")
def relighter(open_head: HeadModel) -> Relighter:
    return Relighter(open_head)


@pytest.fixture(scope="module")
def code(open_head: HeadModel) -> AvatarCode:
    return code_of(open_head, open_head.vertices_mean, 2 * EVEN)


def _environment(paint: Any) -> bytes:
    picture = np.zeros((64, 128, 3), np.uint8)
    paint(picture)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def _black(_picture: Any) -> None:
    """No light."""


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)))


def _at(light: NDArray[np.float32], direction: tuple[float, float, float]) -> float:
    value: float = float((sh_basis(np.array([direction], np.float32)) @ light)[0].mean())
    return value


def test_a_white_environment_is_even_light() -> None:
    def white(picture: Any) -> None:
        picture[:] = 255

    assert light_of_environment(_environment(white)) == pytest.approx(EVEN, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "columns", "direction"),
    [
        (slice(20, 44), slice(52, 76), (0, 0, 1)),
        (slice(0, 12), slice(None), (0, 1, 0)),
        (slice(20, 44), slice(20, 44), (1, 0, 0)),
    ],
    ids=["middle_is_before_the_face", "top_is_above", "left_is_the_subjects_left"],
)
def test_light_comes_from_where_it_is_in_the_picture(
    rows: slice, columns: slice, direction: tuple[float, float, float]
) -> None:
    def lamp(picture: Any) -> None:
        picture[rows, columns] = 255

    light = light_of_environment(_environment(lamp))
    x, y, z = direction
    others = [(-x, -y, -z), (y, z, x), (z, x, y)]
    assert all(_at(light, direction) > 3 * abs(_at(light, other)) for other in others)


def test_in_even_light_a_texture_is_itself(relighter: Relighter, code: AvatarCode) -> None:
    relit = relighter.relight(written_code(code), HEAD_SHA256, AskedLight(EVEN), 0.0, 256)
    texture = np.asarray(Image.open(io.BytesIO(code.texture))).astype(int)
    assert np.abs(_pixels(relit.texture).astype(int) - texture).max() <= 2
    assert _pixels(relit.picture).shape == (256, 256, 3)


def test_light_from_the_left_lights_the_left(relighter: Relighter, code: AvatarCode) -> None:
    light = 0.3 * EVEN
    light[3] = 0.6
    relit = relighter.relight(written_code(code), HEAD_SHA256, AskedLight(light), 0.0, 256)
    picture = linear_from_srgb(_pixels(relit.picture)).mean(axis=2)
    # The subject's left is right in a picture of the front.
    assert picture[100:140, 150:180].mean() > 1.5 * picture[100:140, 76:106].mean()


def test_a_second_code_lends_its_light(relighter: Relighter, code: AvatarCode, open_head: HeadModel) -> None:
    other = code_of(open_head, open_head.vertices_mean, 0.5 * EVEN)
    both = written_code(code) + written_code(other)
    own = relighter.relight(written_code(code), HEAD_SHA256, AskedLight(), 0.0, 256)
    lent = relighter.relight(both, HEAD_SHA256, AskedLight(), 0.0, 256)
    assert own.sh_light == pytest.approx(2 * EVEN)
    assert lent.sh_light == pytest.approx(0.5 * EVEN)


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        (AskedLight(EVEN, b"x"), ErrorCode.BAD_OPTION),
        (AskedLight(np.full((9, 3), np.nan, np.float32)), ErrorCode.BAD_OPTION),
        (AskedLight(environment=b"no picture"), ErrorCode.BAD_PHOTO),
        (AskedLight(environment=_environment(_black)[:60]), ErrorCode.BAD_PHOTO),
    ],
    ids=["two", "not_finite", "no_picture", "cut_off"],
)
def test_lights_that_are_none_are_refused(
    relighter: Relighter, code: AvatarCode, asked: AskedLight, wrong: ErrorCode
) -> None:
    with pytest.raises(FacewrightError) as caught:
        relighter.relight(written_code(code), HEAD_SHA256, asked, 0.0, 256)
    assert caught.value.code is wrong


def test_an_environment_has_its_form() -> None:
    file = io.BytesIO()
    Image.new("RGB", (128, 128), (200, 200, 200)).save(file, "PNG")
    with pytest.raises(FacewrightError, match="twice as wide"):
        light_of_environment(file.getvalue())
