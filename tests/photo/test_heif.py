"""HEIC and AVIF: right way up once, in the right colours, and with headers that keep no decoder busy.

``tests/data/astronaut.heic`` is the portrait, encoded by x265; the files around its coded picture are made
here.
"""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from facewright.core.errors import FacewrightError
from facewright.photo.colour_profile import to_srgb
from facewright.photo.heif_structure import MAX_ITEMS, MAX_METADATA, MAX_PICTURES, read_heif_header
from facewright.photo.photo import decode_photo
from facewright_client.contract import ErrorCode
from tests.support.heif_file import Item, grid, heif_file, nclx, picture, size_property

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
HEIC = ASTRONAUT.with_suffix(".heic").read_bytes()
Pixels = npt.NDArray[np.int64]


def _avif(**options: Any) -> bytes:
    file = io.BytesIO()
    Image.open(ASTRONAUT).resize((128, 96)).save(file, "AVIF", **options)
    return file.getvalue()


AVIF = _avif()


def _shown(photo: bytes) -> Pixels:
    decoded = decode_photo(photo)
    assert decoded.image.mode == "RGB"
    assert (decoded.width, decoded.height) == decoded.image.size
    return np.asarray(to_srgb(decoded.image, decoded.colours)).astype(np.int64)


def _refused(photo: bytes) -> FacewrightError:
    with pytest.raises(FacewrightError) as caught:
        decode_photo(photo)
    return caught.value


def _with_exif_orientation(*items: Item, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    content = struct.pack(">I", 6) + b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    return heif_file(*items, Item(b"Exif", content, refers=((b"cdsc", (1,)),), hidden=True))


@pytest.mark.parametrize("photo", [HEIC, heif_file(picture(HEIC))], ids=["by an encoder", "made here"])
def test_heic_shows_what_the_jpeg_shows(photo: bytes) -> None:
    difference = np.abs(_shown(photo) - np.asarray(Image.open(ASTRONAUT).convert("RGB")))
    assert difference.mean() < 5


@pytest.mark.parametrize("quarter_turns", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
@pytest.mark.parametrize("orientation", [None, 6])
def test_heic_is_turned_once(quarter_turns: int, mirror: int | None, orientation: int | None) -> None:
    """By the file's own properties. Exif's orientation tells what a camera did before, and is not to be
    used.
    """
    properties = [(b"irot", bytes([quarter_turns]))]
    if mirror is not None:
        properties.append((b"imir", bytes([mirror])))
    item = picture(HEIC, *properties)
    photo = heif_file(item) if orientation is None else _with_exif_orientation(item, orientation=orientation)
    expected = np.rot90(_shown(HEIC), quarter_turns)
    if mirror is not None:
        expected = expected[:, ::-1] if mirror else expected[::-1]
    np.testing.assert_array_equal(_shown(photo), expected)


@pytest.mark.parametrize("turns", range(4))
def test_avif_is_turned_once(turns: int) -> None:
    upright = _shown(AVIF)
    item = picture(AVIF, (b"irot", bytes([turns])), size=(128, 96))
    for photo in (
        heif_file(item, brand=b"avif"),
        _with_exif_orientation(item, orientation=6).replace(b"heic", b"avif"),
    ):
        np.testing.assert_array_equal(_shown(photo), np.rot90(upright, turns))
    # What editors say in XMP is no more to be used.
    xmp = b'<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    assert _shown(_avif(xmp=xmp)).shape == upright.shape


def test_a_camera_s_orientation_survives_in_avif() -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = _shown(_avif(exif=exif))
    assert turned.shape == (128, 96, 3)
    assert np.abs(turned - np.rot90(_shown(AVIF), -1)).mean() < 3


def test_tiles_make_one_picture() -> None:
    tiles = [picture(HEIC, hidden=True)] * 4
    shown = _shown(heif_file(*tiles, grid(2, 2, (900, 1000), (1, 2, 3, 4)), primary=5))
    assert shown.shape == (1000, 900, 3)
    np.testing.assert_array_equal(shown[512:, 512:], _shown(HEIC)[:488, :388])


def test_of_a_collection_the_primary_picture_is_taken() -> None:
    photo = heif_file(picture(HEIC), picture(HEIC, (b"irot", b"\1")), primary=2)
    np.testing.assert_array_equal(_shown(photo), np.rot90(_shown(HEIC)))


def test_of_an_animation_the_primary_picture_is_taken() -> None:
    other = Image.new("RGB", (128, 96))
    animation = _avif(save_all=True, append_images=[other])
    assert animation[8:12] == b"avis"
    assert np.abs(_shown(animation) - _shown(AVIF)).mean() < 3


@pytest.mark.parametrize(
    ("coded", "size", "brand"), [(HEIC, (512, 512), b"heic"), (AVIF, (128, 96), b"avif")]
)
def test_colours_that_a_number_names(coded: bytes, size: tuple[int, int], brand: bytes) -> None:
    """Display P3 by number and by profile is the same, and both differ from sRGB; HDR is told."""
    plain = _shown(heif_file(picture(coded, nclx(1, 13), size=size), brand=brand))
    np.testing.assert_array_equal(plain, _shown(heif_file(picture(coded, size=size), brand=brand)))
    p3 = _shown(heif_file(picture(coded, nclx(12, 13), size=size), brand=brand))
    assert np.abs(p3 - plain).max() > 8
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profiled = heif_file(picture(coded, (b"colr", b"prof" + srgb), size=size), brand=brand)
    np.testing.assert_array_equal(_shown(profiled), plain)
    (warning,) = decode_photo(heif_file(picture(coded, nclx(9, 16), size=size), brand=brand)).warnings
    assert "HDR" in warning


def test_without_the_decoder_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    error = _refused(HEIC)
    assert error.code == ErrorCode.BAD_PHOTO
    assert "HEIC" in error.message
    assert 'pip install "facewright[heif]"' in error.hint


def _metadata(length: int) -> Item:
    return Item(b"Exif", bytes(length), refers=((b"cdsc", (1,)),), hidden=True)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (
            heif_file(picture(HEIC, hidden=True), grid(200, 200, (1000, 1000), (1,) * 40000), primary=2),
            "tiles of",
        ),
        (heif_file(picture(HEIC), *[picture(HEIC)] * MAX_PICTURES), "65 pictures, more than 64"),
        (heif_file(picture(HEIC), *[picture(HEIC, hidden=True)] * MAX_ITEMS), "1025 parts"),
        (heif_file(picture(HEIC), _metadata(MAX_METADATA + 1)), "bytes of metadata"),
        (heif_file(Item(b"unci", b"", (size_property(512, 512),))), "a part of kind unci"),
        (heif_file(picture(HEIC), Item(b"iovl", b"", (size_property(512, 512),)), primary=2), "of kind iovl"),
        (heif_file(picture(HEIC), grid(1, 1, (512, 512), (2,)), primary=2), "of kind grid"),
        (heif_file(picture(HEIC), grid(2, 1, (512, 512), (1,)), primary=2), "header is unreadable"),
        (heif_file(picture(HEIC), primary=7), "header is unreadable"),
        (
            heif_file(
                picture(AVIF, size=(300, 300)).__class__(b"av01", b"\0" * 40, (size_property(300, 300),)),
                brand=b"avif",
            ),
            "header is unreadable",
        ),
        (HEIC[:200], "header is unreadable"),
        (HEIC[:5000], "damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + b"\0\0\0\1meta" + b"\xff" * 60, "header is unreadable"),
    ],
)
def test_headers_that_no_camera_writes(photo: bytes, words: str) -> None:
    error = _refused(photo)
    assert error.code == ErrorCode.BAD_PHOTO
    assert words in error.message
    assert error.hint


@pytest.mark.parametrize(("coded", "brand"), [(HEIC, b"heic"), (AVIF, b"avif")])
def test_too_many_pixels_by_the_header(coded: bytes, brand: bytes) -> None:
    error = _refused(heif_file(picture(coded, size=(8000, 8000)), brand=brand))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert "8000 x 8000" in error.message


def test_more_pixels_than_the_header_says() -> None:
    """libheif refuses to decode more than the item says; what AVIF's coded picture says is read here."""
    assert "exceeds the maximum image size" in _refused(heif_file(picture(HEIC, size=(64, 64)))).message
    small = heif_file(picture(AVIF, size=(16, 16)), brand=b"avif")
    assert read_heif_header(small, 128 * 96).width == 16
    with pytest.raises(FacewrightError, match="tiles of 12288 pixels together"):
        read_heif_header(small, 128 * 96 - 1)


@pytest.mark.parametrize(
    "options", [{}, {"speed": 10}, {"save_all": True, "append_images": [Image.new("RGB", (128, 96))]}]
)
def test_sequence_headers_of_several_shapes(options: dict[str, Any]) -> None:
    assert read_heif_header(_avif(**options), 128 * 96).height == 96


def test_any_byte_may_be_wrong() -> None:
    rng = np.random.default_rng(5)
    codes = set()
    for seed in (heif_file(picture(HEIC, nclx(12, 13), (b"irot", b"\1"))), AVIF):
        header = seed.index(b"mdat")
        for _ in range(150):
            photo = bytearray(seed)
            for place in rng.integers(0, header, rng.integers(1, 4)):
                photo[place] = rng.integers(256)
            try:
                decode_photo(bytes(photo))
            except FacewrightError as refusal:
                codes.add(refusal.code)
    assert ErrorCode.BAD_PHOTO in codes
    assert codes <= {ErrorCode.BAD_PHOTO, ErrorCode.PHOTO_TOO_LARGE}
