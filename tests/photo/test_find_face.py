"""Finding a face, on the one real photo that is in the repository and on what is made from it."""

from __future__ import annotations

import io
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.find_face import FaceNetworks, FoundFace, PhotoInfo, find_face
from facewright.photo.landmark_crop import FaceView, sample_view
from facewright.pipelines import tensors
from facewright_client import contract
from facewright_client.contract import ErrorCode

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
F64 = npt.NDArray[np.float64]
# In the photo, by eye to the pixel: the pupils (the subject's right, left) and the corners of the mouth.
PUPILS = np.array([[203.6, 100.9], [246.6, 103.0]])
MOUTH_CORNERS = np.array([[202.0, 139.3], [246.0, 140.5]])


@pytest.fixture(scope="module")
def networks() -> FaceNetworks:
    return FaceNetworks.load()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.open(ASTRONAUT).convert("RGB")


@pytest.fixture(scope="module")
def found(networks: FaceNetworks) -> FoundFace:
    return find_face(ASTRONAUT.read_bytes(), networks)


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _find(image: Image.Image, networks: FaceNetworks, face_index: int = -1) -> FoundFace:
    return find_face(_encoded(image), networks, face_index)


def _moved(points: npt.NDArray[Any], transform: npt.NDArray[Any]) -> F64:
    moved = np.c_[points, np.ones(len(points))] @ np.asarray(transform, np.float64).T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def _landmarks(found: FoundFace, networks: FaceNetworks) -> F64:
    """[478, 2] in photo pixels, as the server's next stage finds them."""
    landmarks, score = networks.landmarks(found.landmark_input)
    assert score > 0.9
    return _moved(_moved(landmarks[:, :2], found.landmark_to_crop), found.crop_to_photo)


def test_outputs_are_what_the_contract_says(found: FoundFace) -> None:
    for tensor, array in (
        (contract.FACE_CROP, found.face_crop),
        (tensors.CROP_TO_PHOTO, found.crop_to_photo),
        (tensors.LANDMARK_INPUT, found.landmark_input),
        (tensors.LANDMARK_TO_CROP, found.landmark_to_crop),
        (tensors.PERSON_MASK, found.person_mask),
    ):
        assert array.shape == tensor.shape
        assert array.dtype == {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}[tensor.dtype]
        assert array.flags.c_contiguous
    assert 0 <= found.landmark_input.min() < found.landmark_input.max() <= 1


def test_info(found: FoundFace) -> None:
    info = found.info
    assert (info.photo_width, info.photo_height, info.face_count, info.face_index) == (512, 512, 1, 0)
    x0, y0, x1, y1 = info.face_box
    assert (np.array([x0, y0]) < PUPILS).all()
    assert (np.array([x1, y1]) > MOUTH_CORNERS).all()
    assert info.face_score > 0.99
    assert info.focal_px is None
    assert info.warnings == []
    assert PhotoInfo.from_json(info.to_json()) == info


def test_landmarks_lie_on_the_face(found: FoundFace, networks: FaceNetworks) -> None:
    landmarks = _landmarks(found, networks)
    np.testing.assert_allclose(landmarks[[468, 473]], PUPILS, atol=1.5)
    np.testing.assert_allclose(landmarks[[61, 291]], MOUTH_CORNERS, atol=2.5)


def test_crop_shows_the_photo_where_its_transform_says(found: FoundFace, astronaut: Image.Image) -> None:
    """The crop, averaged down to the photo's resolution, equals the photo at the same place."""
    step = found.crop_to_photo[0, 0]
    photo = np.asarray(astronaut).astype(np.float64)
    crop = found.face_crop.astype(np.float64)
    x0, y0, x1, y1 = found.info.crop_valid_box
    rng = np.random.default_rng(0)
    margin = math.ceil(2 / step)
    columns = rng.integers(x0 + margin, x1 - margin, 4000)
    rows = rng.integers(y0 + margin, y1 - margin, 4000)
    at = _moved(np.stack([columns + 0.5, rows + 0.5], axis=1), found.crop_to_photo) - 0.5

    def photo_at(points: F64) -> F64:
        low = np.floor(points).astype(int)
        a, b = (points - low).T[:, :, None]
        x, y = low.T
        upper = (1 - a) * photo[y, x] + a * photo[y, x + 1]
        return np.asarray((1 - b) * upper + b * ((1 - a) * photo[y + 1, x] + a * photo[y + 1, x + 1]))

    def difference(shift: float) -> float:
        return float(np.abs(crop[rows, columns] - photo_at(at + shift)).mean())

    # Half a photo pixel off in either direction is clearly worse: the pixel centres are right.
    assert difference(0) < 2.5
    assert difference(0) < 0.7 * min(difference(-0.5), difference(0.5))


def test_landmark_input_shows_the_crop_where_its_transform_says(found: FoundFace) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(10, 182, (2000, 2))
    at = _moved(places + 0.5, found.landmark_to_crop)
    smooth = np.asarray(Image.fromarray(found.face_crop).reduce(3)).astype(np.float64) / 255

    def difference(shift: float) -> float:
        x, y = np.floor((at + shift) / 3).astype(int).T
        return float(np.abs(found.landmark_input[:, places[:, 1], places[:, 0]].T - smooth[y, x]).mean())

    assert difference(0) < 0.015
    assert difference(0) < 0.8 * min(difference(-4), difference(4))


@pytest.mark.parametrize("angle", [-45, 30, 90, 180, 270])
def test_tilted_faces(angle: int, astronaut: Image.Image, found: FoundFace, networks: FaceNetworks) -> None:
    turned = astronaut.rotate(-angle, Image.Resampling.BICUBIC, expand=True)
    other = _find(turned, networks)
    assert (other.info.face_roll - found.info.face_roll - angle + 180) % 360 - 180 == pytest.approx(0, abs=4)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    expected = (_landmarks(found, networks) - 256) @ np.array([[c, s], [-s, c]]) + np.array(turned.size) / 2
    landmarks = _landmarks(other, networks)
    error = np.linalg.norm(landmarks - expected, axis=1) / np.linalg.norm(PUPILS[1] - PUPILS[0])
    assert np.median(error) < 0.012
    assert np.percentile(error, 95) < 0.03
    # In the crop the eyes are within 45 degrees of horizontal.
    right, left = _moved(landmarks[[468, 473]], np.linalg.inv(other.crop_to_photo))
    assert abs(math.degrees(math.atan2(*(left - right)[::-1]))) < 50


def test_exif_orientation_and_turned_pixels_agree(
    astronaut: Image.Image, found: FoundFace, networks: FaceNetworks
) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn clockwise to see it upright
    lying = _encoded(astronaut.transpose(Image.Transpose.ROTATE_90), exif=exif)
    other = find_face(lying, networks)
    np.testing.assert_allclose(other.crop_to_photo, found.crop_to_photo, atol=0.5)


def test_crop_beyond_the_photo_repeats_its_border(astronaut: Image.Image, networks: FaceNetworks) -> None:
    tight = _find(astronaut.crop((160, 60, 300, 200)), networks)
    x0, y0, x1, y1 = tight.info.crop_valid_box
    assert 0 < x0 < x1 < 1024
    assert 0 < y0 < y1 < 1024
    assert (tight.face_crop[y0:y1, :x0] == tight.face_crop[y0:y1, x0 : x0 + 1]).all()
    assert (tight.face_crop[y1:] == tight.face_crop[y1 - 1 : y1]).all()
    corners = _moved(np.array([[x0, y0], [x1, y1]]), tight.crop_to_photo)
    np.testing.assert_allclose(corners, [[0, 0], [140, 140]], atol=1)


def test_a_large_photo_gives_the_same_face(
    astronaut: Image.Image, found: FoundFace, networks: FaceNetworks
) -> None:
    """A JPEG eight times as large is decoded at a fraction, and again finer for the crop where that pays."""
    canvas = Image.new("RGB", (4096, 3000), (90, 110, 130))
    canvas.paste(astronaut.resize((1024, 1024), Image.Resampling.BICUBIC), (2000, 900))
    photo = _encoded(canvas, "JPEG", quality=92)
    other = find_face(photo, networks)
    assert "decode_again" in other.info.milliseconds
    expected = _landmarks(found, networks) * 2 + [2000, 900]
    error = np.linalg.norm(_landmarks(other, networks) - expected, axis=1) / 88
    assert np.median(error) < 0.012


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
    chosen = _find(group, networks)
    x0, _, x1, _ = chosen.info.face_box
    assert 600 < x0 < x1 < 1020


@pytest.mark.parametrize(("index", "left", "right"), [(0, 60, 210), (1, 600, 1020), (2, 1120, 1360)])
def test_face_index(index: int, left: int, right: int, group: Image.Image, networks: FaceNetworks) -> None:
    chosen = _find(group, networks, face_index=index)
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
    photo = _encoded(canvas, compress_level=1)
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
    (warning,) = [text for text in _find(group, networks).info.warnings if "faces" in text]
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
        info = _find(canvas, networks, face_index).info
        assert (info.face_count, info.face_index) == (1, 0)
        assert info.face_box[0] > 640


@pytest.mark.parametrize("width", [2401, 4001, 6002])
def test_the_box_is_that_of_the_landmarks_however_large_the_photo(
    width: int, astronaut: Image.Image, networks: FaceNetworks
) -> None:
    """A face small enough that a large JPEG is decoded again, finer, for its crop."""
    canvas = Image.new("RGB", (width, width // 2 + 1), (90, 110, 130))
    portrait = astronaut.resize((width // 4, width // 4), Image.Resampling.BICUBIC)
    canvas.paste(portrait, (width // 2, width // 5))
    exif = Image.Exif()
    found = find_face(_encoded(canvas, "JPEG", quality=92, exif=exif), networks)
    assert ("decode_again" in found.info.milliseconds) == (width > 3100)
    landmarks = _landmarks(found, networks)[:468]
    expected = [*landmarks.min(axis=0), *landmarks.max(axis=0)]
    np.testing.assert_allclose(found.info.face_box, expected, atol=0.003 * width)
    assert found.info.face_score > 0.99
    exif[274] = 6
    turned = find_face(
        _encoded(canvas.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif), networks
    )
    np.testing.assert_allclose(turned.info.face_box, found.info.face_box, atol=0.003 * width)


@pytest.mark.parametrize(
    "size", [(1600, 1200), (800, 1800), (2400, 600)], ids=["landscape", "portrait", "panorama"]
)
@pytest.mark.parametrize("face_index", [-1, 0])
def test_faces_as_small_as_the_hint_says(
    size: tuple[int, int], face_index: int, astronaut: Image.Image, networks: FaceNetworks
) -> None:
    """1/25 of the longer side, wherever they are."""
    with pytest.raises(FacewrightError) as caught:
        _find(Image.new("RGB", size, (96, 100, 110)), networks)
    assert "1/25 of the photo's longer side" in caught.value.hint
    side = round(2 * max(size) / 25)
    face = astronaut.crop(_FACE).resize((side, side), Image.Resampling.LANCZOS)
    for x, y in ((0.02, 0.05), (0.35, 0.75)):
        canvas = Image.new("RGB", size, (96, 100, 110))
        place = (int(x * size[0]), min(int(y * size[1]), size[1] - side))
        canvas.paste(face, place)
        box = _find(canvas, networks, face_index).info.face_box
        assert math.dist(box[:2], (place[0] + 0.25 * side, place[1] + 0.3 * side)) < 0.2 * side


def test_face_index_beyond_the_last(group: Image.Image, networks: FaceNetworks) -> None:
    with pytest.raises(
        FacewrightError, match="face_index is 3, but the faces found in the photo are 3"
    ) as caught:
        _find(group, networks, face_index=3)
    assert caught.value.code == ErrorCode.NO_FACE


@pytest.mark.parametrize("size", [60, 100])
def test_a_small_face_is_found_in_tiles(size: int, astronaut: Image.Image, networks: FaceNetworks) -> None:
    face = astronaut.crop((120, 10, 330, 220))
    canvas = Image.new("RGB", (1400, 900), (120, 130, 140))
    scale = size / 44  # pupils are 44 pixels apart in the photo
    canvas.paste(face.resize((int(210 * scale * 0.5), int(210 * scale * 0.5))), (910, 610))
    chosen = _find(canvas, networks)
    assert 900 < chosen.info.face_box[0] < chosen.info.face_box[2] < 920 + 210 * scale * 0.5
    assert ("small" in " ".join(chosen.info.warnings)) == (size * 0.5 < 40)


def test_a_face_too_small(astronaut: Image.Image, networks: FaceNetworks) -> None:
    face = astronaut.crop((120, 10, 330, 220)).resize((56, 56), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (300, 300), (120, 130, 140))
    canvas.paste(face, (120, 110))
    with pytest.raises(FacewrightError, match=r"1\d pixels between the pupils; the minimum is 16") as caught:
        _find(canvas, networks)
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
        _find(picture, networks)
    assert caught.value.code == ErrorCode.NO_FACE


def test_what_only_resembles_a_face_is_refused(networks: FaceNetworks) -> None:
    """A colour wheel, which both networks take for a face at first; the landmarks find no hold on it."""
    with pytest.raises(FacewrightError, match="what resembles one is none") as caught:
        _find(_colour_wheel(), networks)
    assert caught.value.code == ErrorCode.NO_FACE


def _colour_wheel() -> Image.Image:
    y, x = (np.mgrid[:370, :370] - 185) / 185
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    hue = np.where(radius < 1, (angle / (2 * np.pi)) % 1 * 255, 0)
    saturation = np.where(radius < 1, radius * 255, 0)
    wheel = np.stack([hue, saturation, np.full_like(hue, 255)], axis=2).astype(np.uint8)
    return Image.fromarray(wheel, "HSV").convert("RGB")


@pytest.mark.parametrize("reduction", [1, 3])
def test_sampling_repeats_the_border_and_keeps_the_grid(reduction: int) -> None:
    """A view that hangs over the image, of a linear ramp: its values are known everywhere."""
    x = np.arange(120) + 0.5
    ramp = Image.fromarray(np.repeat(np.tile(x, (90, 1))[..., None], 3, axis=2).astype(np.uint8))
    view = FaceView((110.0, 45.0), 64.0 * reduction, 0.0)
    sampled = sample_view(ramp, view.to_image(64), 64)[0] * 255
    expected = np.clip(110 - 32 * reduction + (np.arange(64) + 0.5) * reduction, 1.5, 119.5) - 0.5
    interior = slice(2, 62)
    np.testing.assert_allclose(sampled[32, interior], expected[interior], atol=1.2)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((100, 0, 400, 140), "lower edge: the mouth and the chin are guessed"),
        ((100, 0, 400, 152), "lower edge: the chin is guessed"),
        ((0, 95, 512, 512), "upper edge: the forehead is guessed"),
        ((195, 0, 512, 512), "left edge: the subject's right cheek is guessed"),
        ((0, 0, 249, 512), "right edge: the subject's left cheek is guessed"),
    ],
)
@pytest.mark.parametrize("quarter_turn", [False, True])
def test_what_an_edge_cuts_off_is_said(
    astronaut: Image.Image,
    box: tuple[int, int, int, int],
    said: str,
    quarter_turn: bool,
    networks: FaceNetworks,
) -> None:
    cut = astronaut.crop(box)
    if quarter_turn:
        cut = cut.transpose(Image.Transpose.ROTATE_90)
        turned = {"left": "lower", "lower": "right", "right": "upper", "upper": "left"}
        edge = said.split()[0]
        said = said.replace(edge, turned[edge])
    (warning,) = _find(cut, networks).info.warnings
    assert warning == f"The face is cut off by the photo's {said}."


def test_an_opaque_photo_is_nowhere_transparent(astronaut: Image.Image, networks: FaceNetworks) -> None:
    for lower in range(138, 158, 3):
        for said in _find(astronaut.crop((100, 0, 400, lower)), networks).info.warnings:
            assert said.startswith("The face is cut off by the photo's lower edge: ")


@pytest.mark.parametrize("beyond", [0.0, 0.03])
def test_a_tight_portrait_is_whole(astronaut: Image.Image, beyond: float, networks: FaceNetworks) -> None:
    x0, y0, x1, y1 = _find(astronaut, networks).info.face_box
    margin = beyond * (y1 - y0)
    tight = (round(x0 + margin), round(y0 + margin), round(x1 - margin), round(y1 - margin))
    assert _find(astronaut.crop(tight), networks).info.warnings == []


def test_a_face_of_which_too_little_is_shown_is_refused(
    astronaut: Image.Image, networks: FaceNetworks
) -> None:
    pixels = np.dstack([np.asarray(astronaut), np.full((512, 512), 255, np.uint8)])
    pixels[88:116, 170:290, 3] = 0
    with pytest.raises(FacewrightError, match=r"too little of the face, \d+ % of it: both eyes") as caught:
        _find(Image.fromarray(pixels), networks)
    assert caught.value.code == ErrorCode.BAD_PHOTO


def test_what_is_transparent_is_not_seen(astronaut: Image.Image, networks: FaceNetworks) -> None:
    row, column = np.mgrid[:512, :512]

    def found(opaque: npt.NDArray[np.bool_]) -> FoundFace:
        alpha = np.where(opaque, 255, 0).astype(np.uint8)
        return _find(Image.fromarray(np.dstack([np.asarray(astronaut), alpha])), networks)

    half = found(column < 256)
    assert half.info.warnings == [
        "Part of the face is transparent in the photo: the subject's left cheek is guessed."
    ]
    edge = _moved(np.array([[256.0, 100.0]]), np.linalg.inv(half.crop_to_photo))[0, 0]
    assert half.info.crop_valid_box[2] == pytest.approx(edge, abs=2)
    assert (half.person_mask[:, int(edge / 4) + 1 :] == 0).all()

    hole = found((column - 245) ** 2 + (row - 128) ** 2 > 14**2)
    assert hole.info.warnings == ["Part of the face is transparent in the photo: what is missing is guessed."]
    middle = _moved(np.array([[245.0, 128.0]]), np.linalg.inv(hole.crop_to_photo))[0] / 4
    assert hole.person_mask[int(middle[1]), int(middle[0])] == 0


@pytest.mark.parametrize("soft", [False, True])
def test_a_portrait_without_background_needs_no_word(
    astronaut: Image.Image, soft: bool, found: FoundFace, networks: FaceNetworks
) -> None:
    person = Image.fromarray(networks.person_mask(np.asarray(astronaut.resize((256, 256)))))
    alpha = person.resize((512, 512), Image.Resampling.BICUBIC)
    alone = astronaut.copy()
    alone.putalpha(alpha if soft else alpha.point(lambda level: 255 * (level > 127)))
    cut_out = _find(alone, networks)
    assert cut_out.info.warnings == []
    assert cut_out.info.crop_valid_box == found.info.crop_valid_box
    same = np.abs(cut_out.person_mask.astype(int) - found.person_mask) < 64
    assert same.mean() > 0.97


def test_a_squeezed_photo_is_said(astronaut: Image.Image, networks: FaceNetworks) -> None:
    flat = _find(astronaut.resize((512, 288)), networks).info.warnings
    thin = _find(astronaut.resize((288, 512)), networks).info.warnings
    for warnings, how in ((flat, "flatter"), (thin, "narrower")):
        start = f"The photo seems to be squeezed, the face is {how} than faces are"
        assert any(said.startswith(start) for said in warnings), warnings
        assert not any("covered" in said for said in warnings)


def test_a_photo_squeezed_too_far_is_refused(astronaut: Image.Image, networks: FaceNetworks) -> None:
    for height in (256, 200):
        with pytest.raises(FacewrightError, match="is squeezed: the face is too flat") as caught:
            _find(astronaut.resize((512, height)), networks)
        assert caught.value.code == ErrorCode.BAD_PHOTO
    with pytest.raises(FacewrightError, match="squeezed into this shape") as caught:
        _find(astronaut.resize((200, 512)), networks)
    assert caught.value.code == ErrorCode.NO_FACE


@pytest.mark.parametrize("colours", [16, 64])
def test_few_colours_cover_nothing(astronaut: Image.Image, colours: int, networks: FaceNetworks) -> None:
    (said,) = _find(astronaut.quantize(colours), networks).info.warnings
    assert said.startswith(f"The photo has only {colours} colours")


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_work_that_nobody_waits_for_ends_between_steps(
    steps: int, networks: FaceNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own words, whatever is wrong with the photo."""
    begun = []

    def late() -> None:
        begun.append(1)
        if len(begun) == steps:
            raise FacewrightError(ErrorCode.DEADLINE_EXCEEDED, "late", "allow more time")

    monkeypatch.setattr("facewright.photo.find_face.jpeg_damage", lambda _photo: "torn")
    with pytest.raises(FacewrightError, match=r"late \(allow more time\)"):
        find_face(ASTRONAUT.read_bytes(), networks, between_steps=late)
    assert len(begun) == steps


def test_where_a_face_is_refused_the_file_may_be_the_cause(
    astronaut: Image.Image, networks: FaceNetworks
) -> None:
    damaged = bytearray(ASTRONAUT.read_bytes())
    rng = np.random.default_rng(1)
    for place in rng.integers(1000, len(damaged) - 10, 60):
        damaged[place] = rng.integers(0, 255)
    with pytest.raises(FacewrightError, match="damaged JPEG picture") as caught:
        find_face(bytes(damaged), networks)
    assert caught.value.code == ErrorCode.BAD_PHOTO
    black = Image.new("RGB", astronaut.size)
    animation = _encoded(black, "WEBP", save_all=True, append_images=[astronaut])
    with pytest.raises(FacewrightError, match="no face in the photo") as caught:
        find_face(animation, networks)
    assert "only the first of the 2 frames of this animation is looked at" in caught.value.hint
