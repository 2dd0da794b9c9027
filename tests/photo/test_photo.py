"""Decoding photos: every kind a camera or an editor writes, and everything that is not a photo."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from facewright.core.errors import FacewrightError
from facewright.photo.photo import BACKGROUND, decode_photo
from facewright.photo.photo_damage import jpeg_damage
from facewright.photo.photo_structure import (
    MAX_JPEG_HEADER,
    MAX_JPEG_JUNK,
    MAX_JPEG_SCANS,
    MAX_JPEG_SEGMENTS,
    MAX_PNG_CHUNKS,
    check_structure,
)
from facewright_client.contract import MAX_PHOTO_BYTES, ErrorCode

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
HEIC = ASTRONAUT.with_suffix(".heic")


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """96 x 64, the left half dark, with a red corner at the top left."""
    pixels = np.full((64, 96, 3), 180, np.uint8)
    pixels[:, :48] = 60
    pixels[:24, :24] = (200, 30, 30)
    return Image.fromarray(pixels)


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _pixels(photo: bytes, **options: Any) -> npt.NDArray[np.int64]:
    return np.asarray(decode_photo(photo, **options).image).astype(np.int64)


def _refused(photo: bytes) -> FacewrightError:
    with pytest.raises(FacewrightError) as caught:
        decode_photo(photo)
    return caught.value


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
    photo = decode_photo(_encoded(portrait, kind, **options))
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
    photo = decode_photo(_encoded(stored, exif=exif))
    assert (photo.width, photo.height) == (96, 64)
    np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(portrait))


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_colour_modes(portrait: Image.Image, mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    options = {"quality": 95} if kind == "JPEG" else {}
    converted = portrait.quantize() if mode == "P" else portrait.convert(mode)
    decoded = decode_photo(_encoded(converted, kind, **options))
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
    pixels = _pixels(_encoded(Image.fromarray(ramp)))
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


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_transparency_shows_the_background(portrait: Image.Image) -> None:
    see_through = portrait.convert("RGBA")
    see_through.putalpha(
        Image.fromarray(np.where(np.arange(96) < 48, 0, 255).astype(np.uint8)[None].repeat(64, 0))
    )
    decoded = decode_photo(_encoded(see_through))
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
    assert decode_photo(_encoded(faint)).warnings == ()
    faint.putalpha(40)
    decoded = decode_photo(_encoded(faint))
    assert decoded.opacity is None
    (said,) = decoded.warnings
    assert said.startswith("The photo is nearly transparent all over (alpha 40 of 255 at most)")
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(portrait))
    faint.putpixel((5, 60), (0, 0, 0, 0))
    decoded = decode_photo(_encoded(faint))
    assert decoded.opacity is not None
    assert decoded.opacity.getextrema() == (0, 255)
    assert decoded.image.getpixel((70, 30)) == (180, 180, 180)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_all_over_is_refused(portrait: Image.Image, mode: str) -> None:
    nothing = portrait.convert(mode)
    nothing.putalpha(0)
    refused = _refused(_encoded(nothing))
    assert refused.code == ErrorCode.BAD_PHOTO
    assert "transparent all over" in refused.message
    assert "without transparency" in refused.hint


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize(("sent", "arrived"), [(b"\n", b"\r\n"), (b"\r", b"\n")])
def test_a_transfer_as_text_is_named(kind: str, sent: bytes, arrived: bytes) -> None:
    photo = _encoded(Image.open(ASTRONAUT).resize((1024, 1024)), kind, quality=95)
    decode_photo(photo)
    refused = _refused(photo.replace(sent, arrived))
    assert refused.code == ErrorCode.BAD_PHOTO
    assert "damaged by a transfer as text" in refused.message
    assert "as binary" in refused.hint


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 75},
        {"quality": 95, "subsampling": 0},
        {"quality": 10, "optimize": True, "subsampling": 1},
        {"quality": 85, "restart_marker_blocks": 5},
        {"quality": 85, "progressive": True},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_codes_of_good_jpegs_fill_their_picture(mode: str, options: dict[str, Any]) -> None:
    photo = Image.open(ASTRONAUT).crop((101, 11, 360, 262)).convert(mode)
    assert jpeg_damage(_encoded(photo, "JPEG", **options)) is None
    assert jpeg_damage(_encoded(Image.new(mode, (90, 70)), "JPEG", **options)) is None


@pytest.mark.parametrize("options", [{}, {"restart_marker_blocks": 40}, {"optimize": True}])
def test_damaged_codes_of_a_jpeg_are_seen(options: dict[str, Any]) -> None:
    photo = _encoded(Image.open(ASTRONAUT).crop((101, 11, 360, 262)), "JPEG", quality=80, **options)
    middle = len(photo) // 2
    assert jpeg_damage(photo[:middle] + photo[-2:])
    assert jpeg_damage(photo[:middle] + photo[middle + 300 :])
    assert jpeg_damage(photo[:-2] + photo[middle:])
    assert jpeg_damage(photo[:middle])
    rng = np.random.default_rng(0)
    changed = bytearray(photo)
    for place in rng.integers(middle, len(photo) - 10, 20):
        changed[place] = rng.integers(0, 255)
    assert jpeg_damage(bytes(changed))


@pytest.mark.parametrize("room", [b"\0", b"\xff"])
def test_a_jpeg_whose_end_was_never_written_is_refused(room: bytes) -> None:
    whole = ASTRONAUT.read_bytes()
    for written in (12_000, 25_000, 40_000, len(whole) - 64):
        refused = _refused(whole[:written] + (len(whole) - written) * room)
        assert refused.code == ErrorCode.BAD_PHOTO
        assert "have no end" in str(refused)
    check_structure(whole + 1000 * room)


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_whose_end_was_never_written_is_refused(lossless: bool) -> None:
    whole = _encoded(Image.open(ASTRONAUT), "WebP", lossless=lossless)
    written = len(whole) * 2 // 3
    assert "damaged WebP picture" in str(_refused(whole[:written] + (len(whole) - written) * b"\0"))
    assert decode_photo(whole + 1000 * b"\0").width == 512


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_runs_of_zeros_in_flat_jpegs_are_no_damage(options: dict[str, Any]) -> None:
    photo = _encoded(Image.new("RGB", (1600, 1200), (128, 128, 128)), "JPEG", quality=97, **options)
    assert decode_photo(photo).warnings == ()


def test_of_an_animation_the_first_frame_is_named(portrait: Image.Image) -> None:
    frames = [portrait.rotate(angle) for angle in (10, 20)]
    for kind in ("WEBP", "PNG"):
        animation = _encoded(portrait, kind, save_all=True, append_images=frames)
        assert decode_photo(animation).looked_at == "the first of the 3 frames of this animation"
    animation = _encoded(portrait, "AVIF", save_all=True, append_images=frames)
    assert decode_photo(animation).looked_at == "one frame of this animation"
    for kind in ("JPEG", "WEBP", "PNG", "AVIF"):
        assert decode_photo(_encoded(portrait, kind)).looked_at is None
    assert decode_photo(HEIC.read_bytes()).looked_at is None


def test_animation_gives_its_first_frame(portrait: Image.Image) -> None:
    other = Image.new("RGB", portrait.size)
    photo = _encoded(portrait, "WEBP", save_all=True, append_images=[other], lossless=True)
    np.testing.assert_array_equal(_pixels(photo), np.asarray(portrait))


def test_large_jpegs_are_decoded_smaller(portrait: Image.Image) -> None:
    large = portrait.resize((2403, 1605), Image.Resampling.NEAREST)
    photo = decode_photo(_encoded(large, "JPEG"), enough_side=600)
    assert (photo.width, photo.height, photo.reduction) == (2403, 1605, 4)
    assert photo.image.size == (601, 402)  # rounded up
    # Pixel (x, y) of the image is photo pixel 4 (x, y): the edge at 1201.5 lies between columns 300 and 301.
    row = np.asarray(photo.image.convert("L"))[300]
    assert row[299] < 70
    assert row[302] > 170
    assert decode_photo(_encoded(large, "JPEG"), reduction=2).reduction == 2
    assert decode_photo(_encoded(large, "PNG"), enough_side=600).reduction == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_point_stays_where_it_is_when_decoded_smaller(orientation: int) -> None:
    """Sizes that the reduction does not divide leave pixels that the photo fills in part: at the right and
    below as stored, so at the left and above where the orientation turns them there.
    """
    pixels = np.full((805, 1205, 3), 40, np.uint8)
    pixels[200:280, 320:480] = 220  # a multiple of 8: sharp also when reduced
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    photo = _encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=exif)

    def corners(reduction: int) -> npt.NDArray[np.float64]:
        decoded = decode_photo(photo, reduction=reduction)
        assert decoded.reduction == reduction
        rows, columns = np.nonzero(np.asarray(decoded.image.convert("L")) > 130)
        inside = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], np.float64)
        np.testing.assert_allclose(decoded.from_photo(decoded.to_photo(inside)), inside)
        return decoded.to_photo(inside)

    for reduction in (2, 4, 8):
        np.testing.assert_array_equal(corners(reduction), corners(1))


def _exif(**values: float) -> Image.Exif:
    exif = Image.Exif()
    directory = exif.get_ifd(ExifTags.IFD.Exif)
    for name, value in values.items():
        directory[ExifTags.Base[name]] = value
    return exif


def test_focal_length_from_exif(portrait: Image.Image) -> None:
    """A 26 mm equivalent means: the frame's diagonal is seen as by 26 mm on 43.27 mm of film."""
    large = portrait.resize((960, 640))
    expected = 26 / 43.27 * np.hypot(960, 640)
    photo = _encoded(large, "JPEG", exif=_exif(FocalLengthIn35mmFilm=26))
    assert decode_photo(photo).focal_px == pytest.approx(expected)
    assert decode_photo(photo, enough_side=100).focal_px == pytest.approx(expected)
    scaled = _exif(FocalLengthIn35mmFilm=26, ExifImageWidth=4032, ExifImageHeight=2688)
    assert decode_photo(_encoded(large, "JPEG", exif=scaled)).focal_px == pytest.approx(expected)
    cropped = _exif(FocalLengthIn35mmFilm=26, ExifImageWidth=4032, ExifImageHeight=3024)
    decoded = decode_photo(_encoded(large, "JPEG", exif=cropped))
    assert decoded.focal_px is None
    assert "cropped" in decoded.warnings[0]


@pytest.mark.parametrize("value", [0, 3, 60000])
def test_impossible_focal_lengths_are_ignored(portrait: Image.Image, value: int) -> None:
    assert decode_photo(_encoded(portrait, "JPEG", exif=_exif(FocalLengthIn35mmFilm=value))).focal_px is None


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
    decoded = decode_photo(_encoded(portrait, "JPEG", exif=exif))
    assert decoded.image.size == (96, 64)
    (warning,) = decoded.warnings
    assert "EXIF data is damaged" in warning


def test_a_malformed_multi_picture_file_is_its_first_picture(portrait: Image.Image) -> None:
    """Pillow warns of it on standard error."""
    photo = _encoded(portrait, "JPEG")
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
    error = _refused(photo)
    assert error.code == ErrorCode.BAD_PHOTO
    assert words in error.message
    assert error.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
    photo = _encoded(noise, kind)
    assert _refused(photo[: int(len(photo) * share)]).code == ErrorCode.BAD_PHOTO


def test_a_png_of_which_a_byte_is_wrong(portrait: Image.Image) -> None:
    photo = bytearray(_encoded(portrait.resize((400, 300))))
    photo[photo.index(b"IDAT") + 200] ^= 255
    assert "damaged" in _refused(bytes(photo)).message


def test_messages_name_no_python_module(portrait: Image.Image) -> None:
    whole = _encoded(portrait)
    inflating = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(5_000_000)))
    assert "its texts or its colour profile" in _refused(whole[:33] + inflating + whole[33:]).message


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (400, 31)])
def test_too_few_pixels(size: tuple[int, int]) -> None:
    error = _refused(_encoded(Image.new("RGB", size)))
    assert error.code == ErrorCode.BAD_PHOTO
    assert f"{size[0]} x {size[1]}" in error.message


@pytest.mark.parametrize("size", [(10000, 6001), (30000, 20000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    """A decompression bomb: a header, and nothing that would decode."""
    header = struct.pack(">II", *size) + bytes([8, 2, 0, 0, 0])
    error = _refused(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b""))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert "60 megapixels" in error.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_nothing_is_said_beside_the_refusal(kind: str) -> None:
    """Pillow warns on standard error from 90 megapixels on; a warning is an error in these tests."""
    if kind == "JPEG":
        header = _encoded(Image.new("RGB", (64, 64)), "JPEG")
        place = header.index(b"\xff\xc0") + 5
        photo = header[:place] + struct.pack(">HH", 9000, 11000) + header[place + 4 :]
    elif kind == "PNG":
        photo = b"\x89PNG\r\n\x1a\n" + _chunk(
            b"IHDR", struct.pack(">II", 11000, 9000) + bytes([8, 2, 0, 0, 0])
        )
    elif kind == "WEBP":
        canvas = bytes(4) + (10999).to_bytes(3, "little") + (8999).to_bytes(3, "little")
        photo = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + canvas
    else:
        photo = _encoded(Image.new("RGB", (64, 64)), "AVIF")
        place = photo.index(b"ispe") + 8
        photo = photo[:place] + struct.pack(">II", 11000, 9000) + photo[place + 8 :]
    error = _refused(photo)
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert "11000 x 9000" in error.message


class _CountedBytes(bytes):
    """Counts how many times, and how many bytes, are read of it."""

    read = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        self.read += len(found) if isinstance(found, bytes) else 1
        return found


@pytest.mark.parametrize("filling", [b"\x00", b"\xff", b"\xff\x00"])
def test_padding_before_the_header_is_refused(filling: bytes) -> None:
    """Pillow would look for a marker byte by byte through all of it."""
    photo = b"\xff\xd8\xff" + filling * (8_000_000 // len(filling))
    error = _refused(photo)
    assert error.code == ErrorCode.BAD_PHOTO
    assert "64 KB between" in error.message
    counted = _CountedBytes(photo)
    with pytest.raises(FacewrightError):
        check_structure(counted)
    assert counted.read < 4 * MAX_JPEG_JUNK


@pytest.mark.parametrize("filling", [b"\x00", b"\xff"])
def test_a_little_padding_is_allowed(portrait: Image.Image, filling: bytes) -> None:
    """Also after the frame header, where a decoder goes on looking for the scan."""
    whole = _encoded(portrait, "JPEG")
    scan = whole.index(b"\xff\xda")
    first = 4 + int.from_bytes(whole[4:6], "big")  # after APP0
    for place in (first, scan):
        little = whole[:place] + filling * 1000 + whole[place:]
        assert decode_photo(little).image.size == (96, 64)
        much = whole[:place] + filling * (MAX_JPEG_JUNK + 1) + whole[place:]
        assert "64 KB between" in _refused(much).message


def test_endless_segments_are_refused(portrait: Image.Image) -> None:
    whole = _encoded(portrait, "JPEG")
    comments = b"\xff\xfe\x00\x02" * MAX_JPEG_SEGMENTS
    error = _refused(whole[:2] + comments + whole[2:])
    assert error.code == ErrorCode.BAD_PHOTO
    assert "4096 JPEG segments" in error.message
    assert decode_photo(whole[:2] + comments[: len(comments) // 2] + whole[2:]).width == 96


@pytest.mark.parametrize("marker", [b"\xff\xd9", b"\xff\xf0\xff\xff", b"\xff\xc8\xff\xff"])
def test_padding_behind_markers_without_length_is_refused(marker: bytes) -> None:
    """What Pillow does not skip must not be skipped here."""
    assert "64 KB between" in _refused(b"\xff\xd8" + marker + b"\0" * 200_000).message


def test_an_endless_header_is_refused(portrait: Image.Image) -> None:
    """Pillow unpacks every quantisation table again, one by one."""
    whole = _encoded(portrait, "JPEG")
    tables = b"\xff\xdb" + struct.pack(">H", 2 + 65 * 1008) + (b"\0" + b"\1" * 64) * 1008
    error = _refused(whole[:2] + tables * (MAX_JPEG_HEADER // len(tables) + 1) + whole[2:])
    assert error.code == ErrorCode.BAD_PHOTO
    assert "16 MiB before" in error.message


def test_endless_scans_are_refused(portrait: Image.Image) -> None:
    """Each costs a pass over all pixels, however little it holds."""
    whole = _encoded(portrait, "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"  # holds what would end the image
    for between in (b"", comment):
        error = _refused(whole[:-2] + (between + last) * MAX_JPEG_SCANS + b"\xff\xd9")
        assert error.code == ErrorCode.BAD_PHOTO
        assert "32 JPEG scans" in error.message
    # What follows the image is none of it: phones append a second image or a film.
    assert decode_photo(whole + last * 100).width == 96
    assert decode_photo(_encoded(portrait.resize((480, 320)), "JPEG", progressive=True)).width == 480


def test_endless_chunks_are_refused(portrait: Image.Image) -> None:
    whole = _encoded(portrait)
    first = 8 + 25  # after IHDR
    error = _refused(whole[:first] + _chunk(b"teSt", b"") * MAX_PNG_CHUNKS + whole[first:])
    assert error.code == ErrorCode.BAD_PHOTO
    assert "65536 PNG chunks" in error.message


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"nonsense"])
def test_too_many_bytes(magic: bytes) -> None:
    error = _refused(magic.ljust(MAX_PHOTO_BYTES + 1, b"\0"))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert "33554433 bytes" in error.message
    assert "32 MiB" in error.message


@pytest.mark.parametrize("photo", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP" + b"\1" * 99])
def test_messages_name_no_python_object(photo: bytes) -> None:
    assert "<" not in _refused(photo).message


_SEEDS = [
    _encoded(Image.open(ASTRONAUT).resize((64, 48)), "JPEG"),
    _encoded(
        Image.open(ASTRONAUT).resize((64, 48)), "JPEG", progressive=True, exif=_exif(FocalLengthIn35mmFilm=50)
    ),
    _encoded(Image.open(ASTRONAUT).resize((64, 48)), "PNG"),
    _encoded(Image.open(ASTRONAUT).resize((64, 48)).convert("P"), "PNG"),
    _encoded(Image.open(ASTRONAUT).resize((64, 48)), "WEBP"),
    _encoded(Image.open(ASTRONAUT).resize((64, 48)), "AVIF"),
    HEIC.read_bytes(),
]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(_SEEDS),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=12),
    st.integers(0, 2**20),
)
def test_mutated_photos_decode_or_are_refused(seed: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    photo = bytearray(seed)
    for place, value in changes:
        photo[place % len(photo)] = value
    if cut % 3 == 0:
        del photo[cut % len(photo) :]
    try:
        decoded = decode_photo(bytes(photo))
    except FacewrightError as refusal:
        code = refusal.code
    else:
        assert decoded.image.mode == "RGB"
        assert decoded.width * decoded.height <= 60_000_000
        return
    assert code in (ErrorCode.BAD_PHOTO, ErrorCode.PHOTO_TOO_LARGE)
