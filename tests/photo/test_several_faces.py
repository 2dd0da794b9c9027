"""Which of several faces is chosen, how small they may be, and what is none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import find_face
from facewright_client.contract import ErrorCode
from tests.photo.pictures import encoded, found_in


@pytest.fixture(scope="module")
def group(astronaut: Image.Image) -> Image.Image:
    """Three faces: a small one at the left, a large one right of the middle, a middling one at the right."""
    face = astronaut.crop((120, 10, 330, 220))
    canvas = Image.new("RGB", (1400, 800), (120, 130, 140))
    canvas.paste(face.resize((150, 150)), (60, 80))
    canvas.paste(face.resize((420, 420)), (600, 200))
    canvas.paste(face.resize((240, 240)), (1120, 500))
    return canvas


def test_the_largest_most_central_face_is_chosen(group: Image.Image, networks: FaceNetworks) -> None:
    chosen = found_in(group, networks)
    x0, _, x1, _ = chosen.info.face_box
    assert 600 < x0 < x1 < 1020


@pytest.mark.parametrize(("index", "left", "right"), [(0, 60, 210), (1, 600, 1020), (2, 1120, 1360)])
def test_face_index(index: int, left: int, right: int, group: Image.Image, networks: FaceNetworks) -> None:
    chosen = found_in(group, networks, face_index=index)
    assert (chosen.info.face_count, chosen.info.face_index) == (3, index)
    assert left < chosen.info.face_box[0] < chosen.info.face_box[2] < right


_FACE = (120, 10, 330, 220)  # of the astronaut: 105 of 210 pixels are the face's width


_CROWDS: dict[str, tuple[tuple[int, int], list[tuple[int, int, int, int]]]] = {
    # size of the canvas, and of each face: x, y, side of the pasted square, degrees of roll
    "small beside large": ((1600, 1000), [(40, 60, 240, 0), (500, 100, 800, 0), (1350, 700, 240, 0)]),
    "smaller beside two": (
        (2000, 1000),
        [(20, 30, 160, 0), (300, 100, 700, 0), (1100, 200, 600, 0), (1800, 800, 150, 0)],
    ),
    "tilted": ((1500, 900), [(50, 80, 400, 25), (560, 300, 400, -30), (1050, 60, 380, 0)]),
    "at the borders": ((1500, 900), [(-90, -40, 420, 0), (600, 250, 400, 0), (1180, 560, 420, 0)]),
    "one above the other": ((700, 1500), [(100, 60, 420, 0), (140, 540, 420, 0), (60, 1030, 420, 0)]),
    "a row": ((2000, 500), [(20 + 500 * n, 120, 280, 0) for n in range(4)]),
    "one lying beside one upright": ((1400, 900), [(60, 60, 500, 0), (760, 200, 500, 90)]),
    "one alone": ((900, 900), [(200, 200, 500, 0)]),
}


@pytest.mark.parametrize("crowd", _CROWDS)
def test_the_reported_number_chooses_the_same_face(
    crowd: str, astronaut: Image.Image, networks: FaceNetworks
) -> None:
    """Whatever is asked for: the same count; each number another face, in order; the main face's is its
    own.
    """
    size, places = _CROWDS[crowd]
    canvas = Image.new("RGB", size, (120, 130, 140))
    for x, y, side, roll in places:
        face = (
            astronaut.crop(_FACE)
            .resize((side, side))
            .rotate(-roll, Image.Resampling.BICUBIC, fillcolor=(120, 130, 140))
        )
        canvas.paste(face, (x, y))
    photo = encoded(canvas, compress_level=1)
    main = find_face(photo, networks).info
    if crowd != "one lying beside one upright":  # what lies is looked for only where nothing stands
        assert main.face_count == len(places)
    boxes = []
    for index in range(main.face_count):
        info = find_face(photo, networks, index).info
        assert (info.face_count, info.face_index) == (main.face_count, index)
        assert not any("face_index" in warning for warning in info.warnings)
        boxes.append(info.face_box)
    assert boxes[main.face_index] == main.face_box
    centres = [((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0) for x0, y0, x1, y1 in boxes]
    assert sorted(centres, key=lambda centre: centre[0]) == centres
    for (ax, ay, width), (bx, by, _) in itertools.combinations(centres, 2):
        assert math.hypot(bx - ax, by - ay) > width / 2
    with pytest.raises(FacewrightError, match=f"the faces found in the photo are {main.face_count}"):
        find_face(photo, networks, main.face_count)


def test_several_faces_are_told(group: Image.Image, networks: FaceNetworks) -> None:
    (warning,) = [text for text in found_in(group, networks).info.warnings if "faces" in text]
    assert "3 faces" in warning
    assert "number 2 from the left" in warning
    assert "face_index" in warning
    assert "0 at the left to 2" in warning
    assert "this one is 1" in warning


def test_what_resembles_a_face_beside_one_is_not_counted(
    astronaut: Image.Image, networks: FaceNetworks
) -> None:
    """A colour wheel, which the detector takes for a face, beside a real one."""
    canvas = Image.new("RGB", (1200, 700), (120, 130, 140))
    canvas.paste(astronaut.crop(_FACE).resize((500, 500)), (640, 80))
    canvas.paste(_colour_wheel(), (60, 200))
    for face_index in (-1, 0):
        info = found_in(canvas, networks, face_index).info
        assert (info.face_count, info.face_index) == (1, 0)
        assert info.face_box[0] > 640


@pytest.mark.parametrize(
    "size", [(1600, 1200), (800, 1800), (2400, 600)], ids=["landscape", "portrait", "panorama"]
)
@pytest.mark.parametrize("face_index", [-1, 0])
def test_faces_as_small_as_the_hint_says(
    size: tuple[int, int], face_index: int, astronaut: Image.Image, networks: FaceNetworks
) -> None:
    """1/25 of the longer side, wherever they are."""
    with pytest.raises(FacewrightError) as caught:
        found_in(Image.new("RGB", size, (96, 100, 110)), networks)
    assert "1/25 of the photo's longer side" in caught.value.hint
    side = round(2 * max(size) / 25)
    face = astronaut.crop(_FACE).resize((side, side), Image.Resampling.LANCZOS)
    for x, y in ((0.02, 0.05), (0.35, 0.75)):
        canvas = Image.new("RGB", size, (96, 100, 110))
        place = (int(x * size[0]), min(int(y * size[1]), size[1] - side))
        canvas.paste(face, place)
        box = found_in(canvas, networks, face_index).info.face_box
        assert math.dist(box[:2], (place[0] + 0.25 * side, place[1] + 0.3 * side)) < 0.2 * side


def test_face_index_beyond_the_last(group: Image.Image, networks: FaceNetworks) -> None:
    with pytest.raises(
        FacewrightError, match="face_index is 3, but the faces found in the photo are 3"
    ) as caught:
        found_in(group, networks, face_index=3)
    assert caught.value.code == ErrorCode.NO_FACE


@pytest.mark.parametrize("size", [60, 100])
def test_a_small_face_is_found_in_tiles(size: int, astronaut: Image.Image, networks: FaceNetworks) -> None:
    face = astronaut.crop((120, 10, 330, 220))
    canvas = Image.new("RGB", (1400, 900), (120, 130, 140))
    scale = size / 44  # pupils are 44 pixels apart in the photo
    canvas.paste(face.resize((int(210 * scale * 0.5), int(210 * scale * 0.5))), (910, 610))
    chosen = found_in(canvas, networks)
    assert 900 < chosen.info.face_box[0] < chosen.info.face_box[2] < 920 + 210 * scale * 0.5
    assert ("small" in " ".join(chosen.info.warnings)) == (size * 0.5 < 40)


def test_a_face_too_small(astronaut: Image.Image, networks: FaceNetworks) -> None:
    face = astronaut.crop((120, 10, 330, 220)).resize((56, 56), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (300, 300), (120, 130, 140))
    canvas.paste(face, (120, 110))
    with pytest.raises(FacewrightError, match=r"1\d pixels between the pupils; the minimum is 16") as caught:
        found_in(canvas, networks)
    assert caught.value.code == ErrorCode.FACE_TOO_SMALL


def _stripes() -> Image.Image:
    return Image.fromarray(np.tile((np.arange(400) // 8 % 2 * 255).astype(np.uint8)[:, None], (1, 400)))


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))


@pytest.mark.parametrize(
    "picture",
    [Image.new("RGB", (640, 480)), Image.new("RGB", (640, 480), "white"), _stripes(), _noise()],
    ids=["black", "white", "stripes", "noise"],
)
def test_no_face(picture: Image.Image, networks: FaceNetworks) -> None:
    with pytest.raises(FacewrightError) as caught:
        found_in(picture, networks)
    assert caught.value.code == ErrorCode.NO_FACE


def test_what_only_resembles_a_face_is_refused(networks: FaceNetworks) -> None:
    """A colour wheel, which both networks take for a face at first; the landmarks find no hold on it."""
    with pytest.raises(FacewrightError, match="what resembles one is none") as caught:
        found_in(_colour_wheel(), networks)
    assert caught.value.code == ErrorCode.NO_FACE


def _colour_wheel() -> Image.Image:
    y, x = (np.mgrid[:370, :370] - 185) / 185
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    hue = np.where(radius < 1, (angle / (2 * np.pi)) % 1 * 255, 0)
    saturation = np.where(radius < 1, radius * 255, 0)
    wheel = np.stack([hue, saturation, np.full_like(hue, 255)], axis=2).astype(np.uint8)
    return Image.fromarray(wheel, "HSV").convert("RGB")
