"""What is laid over a face is named: drawn over the astronaut."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw, ImageFont

from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import FoundFace
from tests.photo.pictures import found_in

Draw = ImageDraw.ImageDraw
#: Left, top, right, bottom of the face, in the photo enlarged three times.
_LEFT, _TOP, _RIGHT, _BOTTOM = 520, 190, 830, 540
_FONT = ImageFont.load_default(48)


def _tiled(colour: tuple[int, int, int, int]) -> Callable[[Draw], None]:
    def draw(draw: Draw) -> None:
        for row, y in enumerate(range(_TOP - 100, _BOTTOM + 100, 64)):
            draw.text((_LEFT - 200 - 40 * (row % 3), y), 5 * "stockpix ", font=_FONT, fill=colour)

    return draw


def _subtitle(draw: Draw) -> None:
    middle = ((_LEFT + _RIGHT) / 2, _BOTTOM - 40)
    draw.text(middle, "I told you.", "white", _FONT, anchor="mm", stroke_width=4, stroke_fill="black")


def _dots(draw: Draw) -> None:
    for y in range(_TOP - 60, _BOTTOM + 60, 36):
        for x in range(_LEFT - 60, _RIGHT + 60, 36):
            draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=(255, 255, 255, 220))


def _smiley(draw: Draw) -> None:
    draw.ellipse((_LEFT + 40, _BOTTOM - 180, _LEFT + 130, _BOTTOM - 90), fill="gold")


@pytest.mark.parametrize(
    "lay",
    [
        _tiled((0, 0, 0, 170)),
        _tiled((30, 60, 220, 170)),
        _tiled((20, 200, 60, 170)),
        _dots,
        _subtitle,
        _smiley,
    ],
    ids=["black text", "blue text", "green text", "dots", "subtitle", "sticker"],
)
def test_what_is_laid_over_a_face_is_named(
    lay: Callable[[Draw], None], networks: FaceNetworks, astronaut: Image.Image
) -> None:
    size = (3 * astronaut.width, 3 * astronaut.height)
    layer = Image.new("RGBA", size)
    lay(ImageDraw.Draw(layer))
    photo = Image.alpha_composite(astronaut.convert("RGBA").resize(size), layer).convert("RGB")
    (warning,) = found_in(photo, networks).info.warnings
    assert warning.startswith("Something seems to be laid over the face (a watermark")


def test_nothing_is_laid_over_the_astronaut(found: FoundFace) -> None:
    assert found.info.warnings == []
