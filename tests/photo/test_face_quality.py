"""What is no usable face is refused, what is a poor photo of one is said, and photos of people pass."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from scipy.ndimage import gaussian_filter, uniform_filter1d

from facewright.core.errors import FacewrightError
from facewright.photo.face_crop import FaceCrop
from facewright.photo.face_quality import check_face
from facewright.photo.find_face import FaceNetworks, FoundFace, find_face
from facewright.photo.person_mask import FoundPerson, find_person
from facewright_client.contract import ErrorCode

ASTRONAUT = Image.open(Path(__file__).parents[1] / "data" / "astronaut.jpg").convert("RGB")
Draw = ImageDraw.ImageDraw
Colour = tuple[int, int, int]


@pytest.fixture(scope="module")
def networks() -> FaceNetworks:
    return FaceNetworks.load()


def _find(picture: Image.Image, networks: FaceNetworks) -> FoundFace:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return find_face(file.getvalue(), networks)


def _drawn(draw: Callable[[Draw], None], ground: Colour = (200, 200, 195), blur: float = 1.5) -> Image.Image:
    picture = Image.new("RGB", (600, 600), ground)
    draw(ImageDraw.Draw(picture))
    return picture.filter(ImageFilter.GaussianBlur(blur))


def _smiley(draw: Draw) -> None:
    ink = (40, 30, 0)
    draw.ellipse((100, 100, 500, 500), fill=(250, 210, 60), outline=ink, width=8)
    draw.ellipse((210, 220, 250, 290), fill=ink)
    draw.ellipse((350, 220, 390, 290), fill=ink)
    draw.arc((200, 250, 400, 430), 20, 160, fill=ink, width=14)


def _socket(draw: Draw) -> None:
    hole = (30, 30, 30)
    draw.rounded_rectangle((150, 150, 450, 450), 30, fill=(240, 240, 238), outline=(150, 150, 150), width=6)
    draw.ellipse((220, 230, 260, 270), fill=hole)
    draw.ellipse((340, 230, 380, 270), fill=hole)
    draw.rectangle((270, 340, 330, 370), fill=hole)


def _doodle(draw: Draw, ink: Colour = (120, 120, 120), width: int = 3) -> None:
    draw.ellipse((140, 90, 460, 510), outline=ink, width=width)
    for x in (240, 360):
        draw.ellipse((x - 25, 230, x + 25, 262), outline=ink, width=width)
        draw.ellipse((x - 9, 237, x + 9, 257), fill=ink)
        draw.arc((x - 35, 190, x + 35, 240), 200, 340, fill=ink, width=width)
    draw.line([(300, 260), (280, 350), (318, 352)], fill=ink, width=width)
    draw.arc((240, 380, 360, 440), 10, 170, fill=ink, width=width)


def _cartoon(draw: Draw, skin: Colour = (240, 200, 170), hair: Colour = (90, 50, 30)) -> None:
    draw.ellipse((130, 60, 470, 420), fill=hair)
    draw.ellipse((160, 110, 440, 520), fill=skin)
    for x in (235, 365):
        draw.ellipse((x - 38, 255, x + 38, 300), fill="white", outline=(40, 20, 10), width=3)
        draw.ellipse((x - 16, 258, x + 16, 298), fill=(70, 110, 60))
        draw.ellipse((x - 8, 268, x + 8, 288), fill="black")
        draw.arc((x - 48, 205, x + 48, 270), 200, 340, fill=hair, width=10)
    draw.line([(300, 290), (285, 370), (315, 372)], fill=(200, 150, 120), width=4)
    draw.chord((245, 400, 355, 460), 0, 180, fill=(190, 70, 80))


def _photographed(picture: Image.Image) -> Image.Image:
    """Paper in light that falls off, with a sensor's noise."""
    rng = np.random.default_rng(0)
    height, width = picture.height, picture.width
    light = np.linspace(0.8, 1, width)[None, :, None] * np.array([1, 0.97, 0.9])
    seen = 0.92 * np.asarray(picture) * light + rng.normal(0, 3, (height, width, 1))
    return Image.fromarray(seen.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "picture",
    [
        _drawn(_smiley),
        _drawn(_socket),
        _drawn(_doodle, ground=(245, 243, 238)),
        _drawn(lambda draw: _doodle(draw, (230, 230, 230), 6), ground=(40, 70, 50)),
        _drawn(lambda draw: _doodle(draw, (0, 0, 0), 12), ground=(255, 255, 255)),
        _drawn(_cartoon),
        _drawn(_cartoon, blur=5),
        _drawn(lambda draw: _cartoon(draw, (110, 75, 55), (20, 15, 10))),
        _photographed(_drawn(_smiley)),
        _photographed(_drawn(_socket)),
        _photographed(_drawn(_doodle, ground=(245, 243, 238))),
        _photographed(_drawn(_cartoon)),
    ],
    ids=[
        *("smiley", "socket", "pencil", "chalk", "ink", "cartoon", "blurred cartoon", "dark cartoon"),
        *("photo of a smiley", "of a socket", "of a pencil drawing", "of a cartoon"),
    ],
)
def test_drawings_and_things_are_no_faces(picture: Image.Image, networks: FaceNetworks) -> None:
    with pytest.raises(
        FacewrightError, match=r"drawn|drawing|even patches|nobody|resembles one is none"
    ) as caught:
        _find(picture, networks)
    assert caught.value.code in (ErrorCode.NO_FACE, ErrorCode.BAD_PHOTO)
    assert "photo of a person" in caught.value.hint


def _lit(factor: float, tint: tuple[float, float, float] = (1, 1, 1)) -> Image.Image:
    """The astronaut in other light, as a linear sensor sees it."""
    light = (np.asarray(ASTRONAUT) / 255) ** 2.2 * factor * np.array(tint)
    return Image.fromarray((255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8))


def _contrast(factor: float) -> Image.Image:
    return Image.fromarray((128 + (np.asarray(ASTRONAUT) - 128.0) * factor).astype(np.uint8))


def _mosaic(cells: int) -> Image.Image:
    return ASTRONAUT.resize((cells, cells), Image.Resampling.BOX).resize((512, 512), Image.Resampling.NEAREST)


def _noisy(picture: Image.Image, deviation: float = 8) -> Image.Image:
    pixels = np.asarray(picture).astype(float)
    noise = np.random.default_rng(0).normal(0, deviation, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def _portrait(side: int) -> Image.Image:
    return ASTRONAUT.crop((100, 0, 350, 250)).resize((side, side), Image.Resampling.BICUBIC)


def _blurred(share: float) -> Image.Image:
    """The face is about 430 pixels high."""
    return _portrait(1000).filter(ImageFilter.GaussianBlur(430 * share))


def _large_cells() -> Image.Image:
    cells = _portrait(750).resize((28, 28), Image.Resampling.BOX)
    return cells.resize((750, 750), Image.Resampling.NEAREST)


def _stencil() -> Image.Image:
    """As cut from paper: two greys, with a soft edge and noise."""
    two = (
        _portrait(750)
        .convert("L")
        .filter(ImageFilter.GaussianBlur(5))
        .point(lambda code: 230 if code > 150 else 30)
    )
    return _noisy(two.convert("RGB"), 5)


def _thermal() -> Image.Image:
    grey = np.asarray(ASTRONAUT.convert("L")) / 255
    jet = [np.clip(1.5 - np.abs(4 * grey - peak), 0, 1) for peak in (3, 2, 1)]
    return Image.fromarray((255 * np.stack(jet, axis=2)).astype(np.uint8))


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (_lit(1 / 250), "too dark"),
        (_lit(4), "blown out"),
        (_lit(16), "blown out"),
        (_contrast(0.1), "no contrast"),
        (_thermal(), "false colours"),
        (ImageOps.invert(ASTRONAUT), "negative"),
        (ImageOps.invert(ASTRONAUT.convert("L")), "negative"),
        (_mosaic(64), "pixelated"),
        (_noisy(_large_cells()), "as pixelated pictures do"),
        (_stencil(), "with noise"),
    ],
    ids=[
        *("dark", "bright", "white", "grey", "thermal", "negative", "grey negative", "mosaic"),
        *("noisy mosaic", "stencil"),
    ],
)
def test_photos_that_show_no_usable_face(picture: Image.Image, said: str, networks: FaceNetworks) -> None:
    with pytest.raises(FacewrightError, match=said) as caught:
        _find(picture, networks)
    assert caught.value.code in (ErrorCode.BAD_PHOTO, ErrorCode.NO_FACE)
    assert caught.value.hint


def test_a_face_blurred_beyond_recognition_is_refused(networks: FaceNetworks) -> None:
    """Where the networks find a face all the same: blurred over a tenth of its height in their view."""
    found = _find(ASTRONAUT, networks)
    landmarks = networks.landmarks(found.landmark_input)[0][:, :2].astype(np.float64)
    person = FoundPerson(found.person_mask, 1.0)
    blurred = gaussian_filter(found.landmark_input, (0, 13, 13))
    seen = np.ones(blurred.shape[1:], np.bool_)
    assert check_face(found.landmark_input, landmarks, 1.0, person, seen) == []
    with pytest.raises(FacewrightError, match="blurred beyond recognition") as caught:
        check_face(blurred, landmarks, 1.0, person, seen)
    assert caught.value.code == ErrorCode.BAD_PHOTO


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (ASTRONAUT, ""),
        (ASTRONAUT.transpose(Image.Transpose.FLIP_LEFT_RIGHT), ""),
        (_lit(1.4), ""),
        (_lit(1 / 2), ""),
        (_lit(1 / 10), "under-exposed"),
        (_lit(3), "over-exposed"),
        (_contrast(0.25), "little contrast"),
        (ASTRONAUT.filter(ImageFilter.GaussianBlur(3)), "blurred"),
        (_blurred(1 / 35), "blurred"),
        (Image.fromarray(uniform_filter1d(np.array(ASTRONAUT), 14, axis=1)), "in one direction"),
        (_blurred(1 / 25), "blurred"),
        (ASTRONAUT.convert("L"), "no colours"),
        (ImageOps.colorize(ASTRONAUT.convert("L"), (40, 20, 10), (250, 235, 200)), "toned or faded"),
        (_lit(1, (0.12, 0.25, 1)), "colour cast"),
        (_lit(1, (1, 0.15, 0.12)), "colour cast"),
        (_lit(1, (1, 0.4, 0.6)), "colour cast"),
        (_lit(1, (0.2, 1, 0.2)), "colour cast"),
    ],
    ids=[
        *(
            "as it is",
            "mirrored",
            "brighter",
            "darker",
            "dark",
            "bright",
            "pale",
            "blurred",
            "more blurred",
            "much blurred",
            "moved",
            "grey",
            "sepia",
        ),
        *("blue", "red", "reddish", "green"),
    ],
)
def test_poor_photos_of_people_pass_and_are_said(
    picture: Image.Image, said: str, networks: FaceNetworks
) -> None:
    warnings = _find(picture, networks).info.warnings
    assert len(warnings) == bool(said), warnings
    assert said in " ".join(warnings)


@pytest.mark.parametrize("box", [(186, 90, 274, 160), (178, 90, 268, 160), (160, 60, 300, 200)])
def test_in_a_tight_crop_the_face_is_the_person(
    box: tuple[int, int, int, int], networks: FaceNetworks
) -> None:
    """The network alone takes nothing of the first crop for a person, and less than half of the second."""
    found = _find(ASTRONAUT.crop(box), networks)
    landmarks = networks.landmarks(found.landmark_input)[0][:468, :2]
    crop = landmarks @ found.landmark_to_crop[:2, :2].T + found.landmark_to_crop[:2, 2]
    middle = crop.mean(axis=0)
    inside = ((middle + 0.95 * (crop - middle)) / 4).astype(int)
    column, row = inside[(inside >= 0).all(axis=1) & (inside < 256).all(axis=1)].T
    assert (found.person_mask[row, column] == 255).all()
    assert all(said.startswith("The face is cut off") for said in found.info.warnings)


class _Blind(FaceNetworks):
    """Sees no person anywhere."""

    def __init__(self) -> None:
        pass

    def person_mask(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return np.zeros(picture.shape[:2], np.uint8)


def test_a_person_that_the_network_misses_is_said() -> None:
    rng = np.random.default_rng(0)
    landmarks = 512 + 100 * rng.normal(size=(478, 2)).clip(-2, 2)
    crop = FaceCrop(np.zeros((1024, 1024, 3), np.uint8), (0, 0, 1024, 1024), None)
    person = find_person(crop, landmarks, _Blind())
    assert person.agreement == 0
    assert "could not be told from the background" in person.warnings()[0]
    assert person.mask[128, 128] == 255
    assert person.mask[10, 10] == 0


def test_beside_a_drawing_another_face_can_be_asked_for(networks: FaceNetworks) -> None:
    picture = Image.new("RGB", (1000, 600), (200, 200, 195))
    picture.paste(_drawn(_cartoon), (0, 0))
    picture.paste(ASTRONAUT.crop((100, 20, 350, 270)).resize((390, 390)), (610, 210))
    with pytest.raises(FacewrightError, match="even patches") as caught:
        _find(picture, networks)
    assert "another of the 2 faces by face_index" in caught.value.hint
