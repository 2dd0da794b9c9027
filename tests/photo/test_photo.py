"""Decoding photos: every kind a camera or an editor writes, and what is none."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from facewright.photo.photo import BACKGROUND, decode_photo
from facewright_client.contract import ErrorCode
from tests.photo.pictures import HEIC, encoded, exif, refusal


def _pixels(photo: bytes, **options: Any) -> npt.NDArray[np.int64]:
    return np.asarray(decode_photo(photo, **options).image).astype(np.int64)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 12),
        ("JPEG", {"quality": 95, "progressive": True}, 12),
        ("PNG", {}, 0),
        ("PNG", {"interlace": 1}, 0),
        ("WEBP", {"quality": 95}, 16),
        ("WEBP", {"lossless": True}, 0),
        ("AVIF", {"quality": 95}, 12),
    ],
)
def test_formats(portrait: Image.Image, kind: str, options: dict[str, Any], tolerance: int) -> None:
    photo = decode_photo(encoded(portrait, kind, **options))
    assert (photo.width, photo.height, photo.reduction) == (96, 64, 1)
    difference = np.abs(np.asarray(photo.image).astype(int) - np.asarray(portrait))
    assert np.percentile(difference, 90) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(portrait: Image.Image, orientation: int) -> None:
    """The stored pixels are turned so that the orientation tag undoes it."""
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = portrait if undo is None else portrait.transpose(undo)
    photo = decode_photo(encoded(stored, exif=exif))
    assert (photo.width, photo.height) == (96, 64)
    np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(portrait))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_colour_modes(portrait: Image.Image, mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    options = {"quality": 95} if kind == "JPEG" else {}
    converted = portrait.quantize() if mode == "P" else portrait.convert(mode)
    decoded = decode_photo(encoded(converted, kind, **options))
    assert decoded.image.mode == "RGB"
    pixels = np.asarray(decoded.image).astype(int)
    dark, light = (60, 180) if mode != "1" else (0, 255)
    if mode != "1":  # one bit dithers
        assert np.abs(pixels[40:, 8:40] - dark).max() < 12
        assert np.abs(pixels[:, 60:] - light).max() < 12
    if mode in ("P", "RGBA", "CMYK", "YCbCr"):
        assert np.abs(pixels[8:16, 8:16].reshape(-1, 3).mean(axis=0) - (200, 30, 30)).max() < 30
    assert pixels[40:, :40].mean() < pixels[40:, 60:].mean() - 80


def test_16_bit_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = _pixels(encoded(Image.fromarray(ramp)))
    np.testing.assert_array_equal(pixels[..., 0], ramp >> 8)


def test_16_bit_rgb() -> None:
    """Pillow cannot write it, so the PNG is put together here."""
    ramp = np.linspace(0, 65535, 64 * 64 * 3).reshape(64, 64, 3).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in ramp)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    assert np.abs(_pixels(png) - (ramp.astype(int) >> 8)).max() <= 1


def test_transparency_shows_the_background(portrait: Image.Image) -> None:
    see_through = portrait.convert("RGBA")
    see_through.putalpha(
        Image.fromarray(np.where(np.arange(96) < 48, 0, 255).astype(np.uint8)[None].repeat(64, 0))
    )
    decoded = decode_photo(encoded(see_through))
    assert decoded.opacity is not None
    opacity = np.asarray(decoded.opacity)
    assert (opacity[:, :48] == 0).all()
    assert (opacity[:, 48:] == 255).all()
    pixels = np.asarray(decoded.image).astype(np.int64)
    np.testing.assert_array_equal(pixels[:, :48], np.broadcast_to(BACKGROUND, (64, 48, 3)))
    assert (pixels[:, 48:] == 180).all()


def test_what_is_faint_all_over_is_as_good_as_opaque(portrait: Image.Image) -> None:
    faint = portrait.convert("RGBA")
    faint.putalpha(200)
    assert decode_photo(encoded(faint)).warnings == ()
    faint.putalpha(40)
    decoded = decode_photo(encoded(faint))
    assert decoded.opacity is None
    (said,) = decoded.warnings
    assert said.startswith("The photo is nearly transparent all over (alpha 40 of 255 at most)")
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(portrait))
    faint.putpixel((5, 60), (0, 0, 0, 0))
    decoded = decode_photo(encoded(faint))
    assert decoded.opacity is not None
    assert decoded.opacity.getextrema() == (0, 255)
    assert decoded.image.getpixel((70, 30)) == (180, 180, 180)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_all_over_is_refused(portrait: Image.Image, mode: str) -> None:
    nothing = portrait.convert(mode)
    nothing.putalpha(0)
    refused = refusal(encoded(nothing))
    assert refused.code == ErrorCode.BAD_PHOTO
    assert "transparent all over" in refused.message
    assert "without transparency" in refused.hint


def test_of_an_animation_the_first_frame_is_named(portrait: Image.Image) -> None:
    frames = [portrait.rotate(angle) for angle in (10, 20)]
    for kind in ("WEBP", "PNG"):
        animation = encoded(portrait, kind, save_all=True, append_images=frames)
        assert decode_photo(animation).looked_at == "the first of the 3 frames of this animation"
    animation = encoded(portrait, "AVIF", save_all=True, append_images=frames)
    assert decode_photo(animation).looked_at == "one frame of this animation"
    for kind in ("JPEG", "WEBP", "PNG", "AVIF"):
        assert decode_photo(encoded(portrait, kind)).looked_at is None
    assert decode_photo(HEIC.read_bytes()).looked_at is None


def test_animation_gives_its_first_frame(portrait: Image.Image) -> None:
    other = Image.new("RGB", portrait.size)
    photo = encoded(portrait, "WEBP", save_all=True, append_images=[other], lossless=True)
    np.testing.assert_array_equal(_pixels(photo), np.asarray(portrait))


def test_large_jpegs_are_decoded_smaller(portrait: Image.Image) -> None:
    large = portrait.resize((2403, 1605), Image.Resampling.NEAREST)
    photo = decode_photo(encoded(large, "JPEG"), enough_side=600)
    assert (photo.width, photo.height, photo.reduction) == (2403, 1605, 4)
    assert photo.image.size == (601, 402)  # rounded up
    # Pixel (x, y) of the image is photo pixel 4 (x, y): the edge at 1201.5 lies between columns 300 and 301.
    row = np.asarray(photo.image.convert("L"))[300]
    assert row[299] < 70
    assert row[302] > 170
    assert decode_photo(encoded(large, "JPEG"), reduction=2).reduction == 2
    assert decode_photo(encoded(large, "PNG"), enough_side=600).reduction == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_point_stays_where_it_is_when_decoded_smaller(orientation: int) -> None:
    """Sizes that the reduction does not divide leave pixels that the photo fills in part: at the right and
    below as stored, so at the left and above where the orientation turns them there.
    """
    pixels = np.full((805, 1205, 3), 40, np.uint8)
    pixels[200:280, 320:480] = 220  # a multiple of 8: sharp also when reduced
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)

    def corners(reduction: int) -> npt.NDArray[np.float64]:
        decoded = decode_photo(photo, reduction=reduction)
        assert decoded.reduction == reduction
        rows, columns = np.nonzero(np.asarray(decoded.image.convert("L")) > 130)
        inside = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], np.float64)
        np.testing.assert_allclose(decoded.from_photo(decoded.to_photo(inside)), inside)
        return decoded.to_photo(inside)

    for reduction in (2, 4, 8):
        np.testing.assert_array_equal(corners(reduction), corners(1))


def test_focal_length_from_exif(portrait: Image.Image) -> None:
    """A 26 mm equivalent means: the frame's diagonal is seen as by 26 mm on 43.27 mm of film."""
    large = portrait.resize((960, 640))
    expected = 26 / 43.27 * np.hypot(960, 640)
    photo = encoded(large, "JPEG", exif=exif(FocalLengthIn35mmFilm=26))
    assert decode_photo(photo).focal_px == pytest.approx(expected)
    assert decode_photo(photo, enough_side=100).focal_px == pytest.approx(expected)
    scaled = exif(FocalLengthIn35mmFilm=26, ExifImageWidth=4032, ExifImageHeight=2688)
    assert decode_photo(encoded(large, "JPEG", exif=scaled)).focal_px == pytest.approx(expected)
    cropped = exif(FocalLengthIn35mmFilm=26, ExifImageWidth=4032, ExifImageHeight=3024)
    decoded = decode_photo(encoded(large, "JPEG", exif=cropped))
    assert decoded.focal_px is None
    assert "cropped" in decoded.warnings[0]


@pytest.mark.parametrize("value", [0, 3, 60000])
def test_impossible_focal_lengths_are_ignored(portrait: Image.Image, value: int) -> None:
    assert decode_photo(encoded(portrait, "JPEG", exif=exif(FocalLengthIn35mmFilm=value))).focal_px is None


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\x01" * 40,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(500),
        b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 271, 2, 0x7FFFFFFF, 8) + bytes(4),
    ],
    ids=["nothing", "too many tags", "a tag too long"],
)
def test_damaged_exif_is_told_and_no_reason_to_refuse(portrait: Image.Image, exif: bytes) -> None:
    """In the report, and not on standard error: a warning of Pillow is an error in these tests."""
    decoded = decode_photo(encoded(portrait, "JPEG", exif=exif))
    assert decoded.image.size == (96, 64)
    (warning,) = decoded.warnings
    assert "EXIF data is damaged" in warning


def test_a_malformed_multi_picture_file_is_its_first_picture(portrait: Image.Image) -> None:
    """Pillow warns of it on standard error."""
    photo = encoded(portrait, "JPEG")
    garbage = b"\xff\xe2" + struct.pack(">H", 206) + b"MPF\0" + bytes(range(200))
    assert decode_photo(photo[:2] + garbage + photo[2:]).image.size == (96, 64)


@pytest.mark.parametrize(
    ("photo", "words"),
    [
        (b"", "0 bytes"),
        (b"\xff\xd8\xff", "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"RIFF\0\0\0\0WEBP", "damaged"),
    ],
)
def test_not_a_photo(photo: bytes, words: str) -> None:
    error = refusal(photo)
    assert error.code == ErrorCode.BAD_PHOTO
    assert words in error.message
    assert error.hint
