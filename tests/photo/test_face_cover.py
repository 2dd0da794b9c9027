"""What covers a face is named: painted over the astronaut by its landmarks."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from facewright.core.errors import FacewrightError
from facewright.photo.face_quality import check_face
from facewright.photo.find_face import FaceNetworks, find_face
from facewright.photo.landmark_crop import sample_view
from facewright.photo.person_mask import FoundPerson
from facewright_client.contract import ErrorCode

F64 = npt.NDArray[np.float64]
Draw = ImageDraw.ImageDraw
#: Enlarged, so that what is painted has soft edges.
PORTRAIT = (
    Image.open(Path(__file__).parents[1] / "data" / "astronaut.jpg")
    .convert("RGB")
    .crop((100, 0, 350, 250))
    .resize((750, 750), Image.Resampling.BICUBIC)
)
_CHIN = (132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361)


@pytest.fixture(scope="module")
def networks() -> FaceNetworks:
    return FaceNetworks.load()


@pytest.fixture(scope="module")
def landmarks(networks: FaceNetworks) -> F64:
    found = find_face(_encoded(PORTRAIT), networks)
    points = networks.landmarks(found.landmark_input)[0][:, :2].astype(np.float64)
    for transform in (found.landmark_to_crop, found.crop_to_photo):
        points = points @ transform[:2, :2].T + transform[:2, 2]
    return points


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _disc(draw: Draw, centre: F64, radius: float, colour: tuple[int, ...]) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _area(draw: Draw, points: F64, colour: tuple[int, ...]) -> None:
    draw.polygon([(x, y) for x, y in points], fill=colour)


def _dark_glasses(draw: Draw, at: F64) -> None:
    for iris in (468, 473):
        _disc(draw, at[iris] + [0, 6], 52, (25, 22, 20, 255))
    draw.line([tuple(at[127]), tuple(at[356])], fill=(20, 20, 20, 255), width=12)


def _eye_patch(draw: Draw, at: F64) -> None:
    _disc(draw, at[473] + [0, 6], 55, (18, 18, 20, 255))


def _surgical_mask(draw: Draw, at: F64, colour: tuple[int, ...] = (120, 175, 205, 255)) -> None:
    _area(draw, at[[197, 118, *_CHIN, 347]], colour)


def _black_mask(draw: Draw, at: F64) -> None:
    _surgical_mask(draw, at, (25, 25, 28, 255))


def _microphone(draw: Draw, at: F64) -> None:
    _disc(draw, at[14] + [0, 18], 42, (40, 40, 42, 255))
    draw.line([tuple(at[14] + [0, 40]), tuple(at[14] + [80, 300])], fill=(25, 25, 25, 255), width=28)


def _hand_before_the_mouth(draw: Draw, at: F64) -> None:
    for finger in range(4):
        tip = at[13] + [70, 24 * (finger - 1.5)]
        draw.line([tuple(tip), tuple(tip - [240, 0])], fill=(150, 115, 95, 255), width=28)
        draw.line([tuple(tip), tuple(tip - [240, 0])], fill=(205, 160, 135, 255), width=22)


def _phone(draw: Draw, at: F64) -> None:
    left, top = at[468] - [75, 90]
    draw.rectangle((left, top, left + 110, top + 260), fill=(15, 15, 18, 255))


def _covered(paint: Callable[[Draw, F64], None], landmarks: F64) -> Image.Image:
    layer = Image.new("RGBA", PORTRAIT.size)
    paint(ImageDraw.Draw(layer), landmarks)
    picture = PORTRAIT.convert("RGBA")
    picture.alpha_composite(layer.filter(ImageFilter.GaussianBlur(1.5)))
    return picture.convert("RGB")


def _said(picture: Image.Image, networks: FaceNetworks) -> list[str]:
    return [line for line in find_face(_encoded(picture), networks).info.warnings if "covered" in line]


@pytest.mark.parametrize(
    ("paint", "part"),
    [
        (_dark_glasses, "Both eyes"),
        (_eye_patch, "The subject's left eye"),
        (_phone, "The subject's right eye"),
        (_surgical_mask, "Nose and mouth"),
        (_black_mask, "Nose and mouth"),
        (_microphone, "The mouth"),
        (_hand_before_the_mouth, "The mouth"),
    ],
)
def test_what_is_covered_is_named(
    paint: Callable[[Draw, F64], None], part: str, landmarks: F64, networks: FaceNetworks
) -> None:
    (said,) = _said(_covered(paint, landmarks), networks)
    assert said.startswith(part)


def _tinted(picture: Image.Image, *tint: float) -> Image.Image:
    grey = np.asarray(picture.convert("L"))[..., None]
    return Image.fromarray((grey * np.array(tint)).clip(0, 255).astype(np.uint8))


def _old_print(picture: Image.Image) -> Image.Image:
    paper = np.asarray(_tinted(picture, 1.05, 0.95, 0.75))
    grain = np.random.default_rng(0).normal(0, 8, (picture.height, picture.width, 1))
    return Image.fromarray((70 + 0.5 * paper + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "tone",
    [
        lambda picture: _tinted(picture, 1.07, 0.87, 0.62),
        lambda picture: _tinted(picture, 1.0, 0.97, 0.92),
        lambda picture: _tinted(picture, 0.98, 0.96, 1.0),
        _old_print,
        lambda picture: ImageEnhance.Color(picture).enhance(0.15),
        lambda picture: ImageEnhance.Color(picture).enhance(0.3),
        lambda picture: ImageEnhance.Color(picture).enhance(0.45),
        lambda picture: picture.quantize(32).convert("RGB"),
    ],
    ids=["sepia", "warm", "selenium", "old print", "hardly coloured", "pale", "muted", "32 colours"],
)
def test_what_has_few_colours_is_not_covered(
    tone: Callable[[Image.Image], Image.Image], landmarks: F64, networks: FaceNetworks
) -> None:
    assert _said(tone(PORTRAIT), networks) == []
    (eyes,) = _said(tone(_covered(_dark_glasses, landmarks)), networks)
    assert eyes.startswith("Both eyes")
    (mouth,) = _said(tone(_covered(_surgical_mask, landmarks)), networks)
    assert "outh seem" in mouth


def test_dark_glasses_in_a_photo_without_colours(landmarks: F64, networks: FaceNetworks) -> None:
    assert _said(PORTRAIT.convert("L"), networks) == []
    (said,) = _said(_covered(_dark_glasses, landmarks).convert("L"), networks)
    assert said.startswith("Both eyes")


def test_a_face_without_eyes_and_mouth_is_refused(landmarks: F64, networks: FaceNetworks) -> None:
    """Where the networks find a face all the same, as they find the veiled ones of films."""

    def veil(draw: Draw, at: F64) -> None:
        _surgical_mask(draw, at)
        _dark_glasses(draw, at)

    found = find_face(_encoded(PORTRAIT), networks)
    to_photo = found.crop_to_photo.astype(np.float64) @ found.landmark_to_crop
    view = sample_view(_covered(veil, landmarks), to_photo)
    to_view = np.linalg.inv(to_photo)
    in_view = landmarks @ to_view[:2, :2].T + to_view[:2, 2]
    seen = np.ones(view.shape[1:], np.bool_)
    with pytest.raises(FacewrightError, match="both eyes and the mouth are covered") as caught:
        check_face(view, in_view, 1.0, FoundPerson(found.person_mask, 1.0), seen)
    assert caught.value.code == ErrorCode.BAD_PHOTO
    assert "dark glasses" in caught.value.hint


def test_a_face_with_nothing_before_it(networks: FaceNetworks) -> None:
    for picture in (
        PORTRAIT,
        PORTRAIT.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        PORTRAIT.resize((250, 250)),
    ):
        assert _said(picture, networks) == []
    # Compressed until lips have nearly the skin's hue.
    compressed = Path(__file__).parents[1] / "data" / "astronaut.heic"
    assert find_face(compressed.read_bytes(), networks).info.warnings == []
