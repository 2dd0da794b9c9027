"""Faces that the photo shows in part, or not in their own proportions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import FoundFace
from facewright_client.contract import ErrorCode
from tests.photo.pictures import found_in, landmarks_in, moved


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
    *turned_by, warning = found_in(cut, networks).info.warnings
    assert warning == f"The face is cut off by the photo's {said}."
    assert [text[:38] for text in turned_by] == quarter_turn * ["The face is turned by 270 degrees in t"]


@pytest.mark.parametrize("upside_down", [False, True])
@pytest.mark.parametrize("lower", [115, 120, 125, 130, 140])
def test_a_face_cut_at_its_nose_is_taken_the_right_way_up(
    astronaut: Image.Image, found: FoundFace, lower: int, upside_down: bool, networks: FaceNetworks
) -> None:
    """The networks see it upside down, too, and more surely."""
    cut = astronaut.crop((150, 0, 300, lower))
    expected = landmarks_in(found, networks)[[468, 473]] - (150, 0)
    if upside_down:
        cut, expected = cut.transpose(Image.Transpose.ROTATE_180), (150, lower) - expected
    seen = found_in(cut, networks)
    assert np.abs(landmarks_in(seen, networks)[[468, 473]] - expected).max() < 8
    edge = "upper" if upside_down else "lower"
    *turned, guessed = seen.info.warnings
    assert guessed.startswith(f"The face is cut off by the photo's {edge} edge: ")
    assert "the chin" in guessed
    assert [text[:38] for text in turned] == upside_down * ["The face is turned by 180 degrees in t"]


@pytest.mark.parametrize(
    ("box", "edge"),
    [
        ((150, 110, 300, 300), "upper"),
        ((0, 115, 512, 512), "upper"),
        ((0, 0, 225, 512), "right"),
        ((235, 0, 512, 512), "left"),
        ((150, 0, 300, 110), "lower"),
    ],
)
def test_where_too_little_is_left_the_edge_is_named(
    astronaut: Image.Image, box: tuple[int, int, int, int], edge: str, networks: FaceNetworks
) -> None:
    with pytest.raises(FacewrightError, match=f"seems to be cut off by the {edge} edge") as caught:
        found_in(astronaut.crop(box), networks)
    assert "the whole face" in caught.value.hint


@pytest.mark.parametrize("colour", ["black", "gray"])
@pytest.mark.parametrize("box", [(0, 0, 222, 512), (150, 90, 300, 112)], ids=["half", "eyes"])
def test_what_is_painted_over_is_said(
    astronaut: Image.Image, box: tuple[int, int, int, int], colour: str, networks: FaceNetworks
) -> None:
    painted = astronaut.copy()
    painted.paste(colour, box)
    try:
        told = " ".join(found_in(painted, networks).info.warnings)
    except FacewrightError as error:
        told = error.message
    assert "% of the face is one flat colour" in told


def test_an_opaque_photo_is_nowhere_transparent(astronaut: Image.Image, networks: FaceNetworks) -> None:
    for lower in range(138, 158, 3):
        for said in found_in(astronaut.crop((100, 0, 400, lower)), networks).info.warnings:
            assert said.startswith("The face is cut off by the photo's lower edge: ")


@pytest.mark.parametrize("beyond", [0.0, 0.03])
def test_a_tight_portrait_is_whole(astronaut: Image.Image, beyond: float, networks: FaceNetworks) -> None:
    x0, y0, x1, y1 = found_in(astronaut, networks).info.face_box
    margin = beyond * (y1 - y0)
    tight = (round(x0 + margin), round(y0 + margin), round(x1 - margin), round(y1 - margin))
    assert found_in(astronaut.crop(tight), networks).info.warnings == []


def test_a_face_of_which_too_little_is_shown_is_refused(
    astronaut: Image.Image, networks: FaceNetworks
) -> None:
    pixels = np.dstack([np.asarray(astronaut), np.full((512, 512), 255, np.uint8)])
    pixels[88:116, 170:290, 3] = 0
    with pytest.raises(FacewrightError, match=r"too little of the face, \d+ % of it: both eyes") as caught:
        found_in(Image.fromarray(pixels), networks)
    assert caught.value.code == ErrorCode.BAD_PHOTO


def test_what_is_transparent_is_not_seen(astronaut: Image.Image, networks: FaceNetworks) -> None:
    row, column = np.mgrid[:512, :512]

    def found(opaque: npt.NDArray[np.bool_]) -> FoundFace:
        alpha = np.where(opaque, 255, 0).astype(np.uint8)
        return found_in(Image.fromarray(np.dstack([np.asarray(astronaut), alpha])), networks)

    half = found(column < 256)
    assert half.info.warnings == [
        "Part of the face is transparent in the photo: the subject's left cheek is guessed."
    ]
    edge = moved(np.array([[256.0, 100.0]]), np.linalg.inv(half.crop_to_photo))[0, 0]
    assert half.info.crop_valid_box[2] == pytest.approx(edge, abs=2)
    assert (half.person_mask[:, int(edge / 4) + 1 :] == 0).all()

    hole = found((column - 245) ** 2 + (row - 128) ** 2 > 14**2)
    assert hole.info.warnings == ["Part of the face is transparent in the photo: what is missing is guessed."]
    middle = moved(np.array([[245.0, 128.0]]), np.linalg.inv(hole.crop_to_photo))[0] / 4
    assert hole.person_mask[int(middle[1]), int(middle[0])] == 0


@pytest.mark.parametrize("soft", [False, True])
def test_a_portrait_without_background_needs_no_word(
    astronaut: Image.Image, soft: bool, found: FoundFace, networks: FaceNetworks
) -> None:
    person = Image.fromarray(networks.person_mask(np.asarray(astronaut.resize((256, 256)))))
    alpha = person.resize((512, 512), Image.Resampling.BICUBIC)
    alone = astronaut.copy()
    alone.putalpha(alpha if soft else alpha.point(lambda level: 255 * (level > 127)))
    cut_out = found_in(alone, networks)
    assert cut_out.info.warnings == []
    assert cut_out.info.crop_valid_box == found.info.crop_valid_box
    same = np.abs(cut_out.person_mask.astype(int) - found.person_mask) < 64
    assert same.mean() > 0.97


def test_a_squeezed_photo_is_said(astronaut: Image.Image, networks: FaceNetworks) -> None:
    flat = found_in(astronaut.resize((512, 288)), networks).info.warnings
    thin = found_in(astronaut.resize((288, 512)), networks).info.warnings
    for warnings, how in ((flat, "flatter"), (thin, "narrower")):
        start = f"The photo seems to be squeezed, the face is {how} than faces are"
        assert any(said.startswith(start) for said in warnings), warnings
        assert not any("covered" in said for said in warnings)


def test_a_photo_squeezed_too_far_is_refused(astronaut: Image.Image, networks: FaceNetworks) -> None:
    for height in (256, 200):
        with pytest.raises(FacewrightError, match="is squeezed: the face is too flat") as caught:
            found_in(astronaut.resize((512, height)), networks)
        assert caught.value.code == ErrorCode.BAD_PHOTO
    with pytest.raises(FacewrightError, match="squeezed into this shape") as caught:
        found_in(astronaut.resize((200, 512)), networks)
    assert caught.value.code == ErrorCode.NO_FACE
