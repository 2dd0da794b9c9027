"""Files that are built to keep a decoder busy, or to fill the memory."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.photo import decode_photo
from facewright.photo.photo_structure import (
    MAX_JPEG_HEADER,
    MAX_JPEG_JUNK,
    MAX_JPEG_SCANS,
    MAX_JPEG_SEGMENTS,
    MAX_PNG_CHUNKS,
    check_structure,
)
from facewright_client.contract import MAX_PHOTO_BYTES, ErrorCode
from tests.photo.pictures import chunk, encoded, refusal


def test_messages_name_no_python_module(portrait: Image.Image) -> None:
    whole = encoded(portrait)
    inflating = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(5_000_000)))
    assert "its texts or its colour profile" in refusal(whole[:33] + inflating + whole[33:]).message


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (400, 31)])
def test_too_few_pixels(size: tuple[int, int]) -> None:
    error = refusal(encoded(Image.new("RGB", size)))
    assert error.code == ErrorCode.BAD_PHOTO
    assert f"{size[0]} x {size[1]}" in error.message


@pytest.mark.parametrize("size", [(10000, 6001), (30000, 20000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    """A decompression bomb: a header, and nothing that would decode."""
    header = struct.pack(">II", *size) + bytes([8, 2, 0, 0, 0])
    error = refusal(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert "60 megapixels" in error.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_nothing_is_said_beside_the_refusal(kind: str) -> None:
    """Pillow warns on standard error from 90 megapixels on; a warning is an error in these tests."""
    if kind == "JPEG":
        header = encoded(Image.new("RGB", (64, 64)), "JPEG")
        place = header.index(b"\xff\xc0") + 5
        photo = header[:place] + struct.pack(">HH", 9000, 11000) + header[place + 4 :]
    elif kind == "PNG":
        photo = b"\x89PNG\r\n\x1a\n" + chunk(
            b"IHDR", struct.pack(">II", 11000, 9000) + bytes([8, 2, 0, 0, 0])
        )
    elif kind == "WEBP":
        canvas = bytes(4) + (10999).to_bytes(3, "little") + (8999).to_bytes(3, "little")
        photo = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + canvas
    else:
        photo = encoded(Image.new("RGB", (64, 64)), "AVIF")
        place = photo.index(b"ispe") + 8
        photo = photo[:place] + struct.pack(">II", 11000, 9000) + photo[place + 8 :]
    error = refusal(photo)
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
    error = refusal(photo)
    assert error.code == ErrorCode.BAD_PHOTO
    assert "64 KB between" in error.message
    counted = _CountedBytes(photo)
    with pytest.raises(FacewrightError):
        check_structure(counted)
    assert counted.read < 4 * MAX_JPEG_JUNK


@pytest.mark.parametrize("filling", [b"\x00", b"\xff"])
def test_a_little_padding_is_allowed(portrait: Image.Image, filling: bytes) -> None:
    """Also after the frame header, where a decoder goes on looking for the scan."""
    whole = encoded(portrait, "JPEG")
    scan = whole.index(b"\xff\xda")
    first = 4 + int.from_bytes(whole[4:6], "big")  # after APP0
    for place in (first, scan):
        little = whole[:place] + filling * 1000 + whole[place:]
        assert decode_photo(little).image.size == (96, 64)
        much = whole[:place] + filling * (MAX_JPEG_JUNK + 1) + whole[place:]
        assert "64 KB between" in refusal(much).message


def test_endless_segments_are_refused(portrait: Image.Image) -> None:
    whole = encoded(portrait, "JPEG")
    comments = b"\xff\xfe\x00\x02" * MAX_JPEG_SEGMENTS
    error = refusal(whole[:2] + comments + whole[2:])
    assert error.code == ErrorCode.BAD_PHOTO
    assert "4096 JPEG segments" in error.message
    assert decode_photo(whole[:2] + comments[: len(comments) // 2] + whole[2:]).width == 96


@pytest.mark.parametrize("marker", [b"\xff\xd9", b"\xff\xf0\xff\xff", b"\xff\xc8\xff\xff"])
def test_padding_behind_markers_without_length_is_refused(marker: bytes) -> None:
    """What Pillow does not skip must not be skipped here."""
    assert "64 KB between" in refusal(b"\xff\xd8" + marker + b"\0" * 200_000).message


def test_an_endless_header_is_refused(portrait: Image.Image) -> None:
    """Pillow unpacks every quantisation table again, one by one."""
    whole = encoded(portrait, "JPEG")
    tables = b"\xff\xdb" + struct.pack(">H", 2 + 65 * 1008) + (b"\0" + b"\1" * 64) * 1008
    error = refusal(whole[:2] + tables * (MAX_JPEG_HEADER // len(tables) + 1) + whole[2:])
    assert error.code == ErrorCode.BAD_PHOTO
    assert "16 MiB before" in error.message


def test_endless_scans_are_refused(portrait: Image.Image) -> None:
    """Each costs a pass over all pixels, however little it holds."""
    whole = encoded(portrait, "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"  # holds what would end the image
    for between in (b"", comment):
        error = refusal(whole[:-2] + (between + last) * MAX_JPEG_SCANS + b"\xff\xd9")
        assert error.code == ErrorCode.BAD_PHOTO
        assert "32 JPEG scans" in error.message
    # What follows the image is none of it: phones append a second image or a film.
    assert decode_photo(whole + last * 100).width == 96
    assert decode_photo(encoded(portrait.resize((480, 320)), "JPEG", progressive=True)).width == 480


def test_endless_chunks_are_refused(portrait: Image.Image) -> None:
    whole = encoded(portrait)
    first = 8 + 25  # after IHDR
    error = refusal(whole[:first] + chunk(b"teSt", b"") * MAX_PNG_CHUNKS + whole[first:])
    assert error.code == ErrorCode.BAD_PHOTO
    assert "65536 PNG chunks" in error.message


@pytest.mark.parametrize("magic", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"nonsense"])
def test_too_many_bytes(magic: bytes) -> None:
    error = refusal(magic.ljust(MAX_PHOTO_BYTES + 1, b"\0"))
    assert error.code == ErrorCode.PHOTO_TOO_LARGE
    assert "33554433 bytes" in error.message
    assert "32 MiB" in error.message


@pytest.mark.parametrize("photo", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP" + b"\1" * 99])
def test_messages_name_no_python_object(photo: bytes) -> None:
    assert "<" not in refusal(photo).message
