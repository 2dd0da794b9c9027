"""Photos that were damaged on their way: cut off, changed, or with holes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.photo import decode_photo
from facewright.photo.photo_damage import jpeg_damage
from facewright.photo.photo_structure import (
    check_structure,
)
from facewright_client.contract import ErrorCode
from tests.photo.pictures import ASTRONAUT, HEIC, encoded, exif, refusal


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize(("sent", "arrived"), [(b"\n", b"\r\n"), (b"\r", b"\n")])
def test_a_transfer_as_text_is_named(kind: str, sent: bytes, arrived: bytes) -> None:
    photo = encoded(Image.open(ASTRONAUT).resize((1024, 1024)), kind, quality=95)
    decode_photo(photo)
    refused = refusal(photo.replace(sent, arrived))
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
    assert jpeg_damage(encoded(photo, "JPEG", **options)) is None
    assert jpeg_damage(encoded(Image.new(mode, (90, 70)), "JPEG", **options)) is None


@pytest.mark.parametrize(
    "options", [{}, {"restart_marker_blocks": 40}, {"optimize": True}, {"progressive": True}]
)
def test_damaged_codes_of_a_jpeg_are_refused(options: dict[str, Any]) -> None:
    photo = encoded(Image.open(ASTRONAUT).crop((101, 11, 360, 262)), "JPEG", quality=80, **options)
    middle = len(photo) // 2
    rng = np.random.default_rng(0)
    for damaged in (
        photo[:middle] + photo[-2:],
        photo[:middle] + photo[middle + 300 :],
        photo[:-2] + photo[middle:],
        photo[:middle] + rng.bytes(300).replace(b"\xff", b"\0") + photo[middle + 300 :],
    ):
        error = refusal(damaged)
        assert error.code == ErrorCode.BAD_PHOTO
        assert "damaged JPEG picture" in error.message


@pytest.mark.parametrize("left_over", [b"\0" * 3000, b"\xff\0" * 500, b"\x17" * 16])
def test_cameras_that_fill_up_behind_the_last_code_damage_nothing(left_over: bytes) -> None:
    photo = ASTRONAUT.read_bytes()
    assert photo.endswith(b"\xff\xd9")
    assert jpeg_damage(photo[:-2] + left_over + photo[-2:]) is None
    assert jpeg_damage(photo[:-2] + b"\x17" * 40 + photo[-2:])


@pytest.mark.parametrize("room", [b"\0", b"\xff"])
def test_a_jpeg_whose_end_was_never_written_is_refused(room: bytes) -> None:
    whole = ASTRONAUT.read_bytes()
    for written in (12_000, 25_000, 40_000, len(whole) - 64):
        refused = refusal(whole[:written] + (len(whole) - written) * room)
        assert refused.code == ErrorCode.BAD_PHOTO
        assert "have no end" in str(refused)
    check_structure(whole + 1000 * room)


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_whose_end_was_never_written_is_refused(lossless: bool) -> None:
    whole = encoded(Image.open(ASTRONAUT), "WebP", lossless=lossless)
    written = len(whole) * 2 // 3
    assert "damaged WebP picture" in str(refusal(whole[:written] + (len(whole) - written) * b"\0"))
    assert decode_photo(whole + 1000 * b"\0").width == 512


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_runs_of_zeros_in_flat_jpegs_are_no_damage(options: dict[str, Any]) -> None:
    photo = encoded(Image.new("RGB", (1600, 1200), (128, 128, 128)), "JPEG", quality=97, **options)
    assert decode_photo(photo).warnings == ()


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_blocks": 16}])
@pytest.mark.parametrize("length", [100, 4096])
def test_a_hole_of_zeros_in_a_jpeg_is_refused(length: int, options: dict[str, Any]) -> None:
    whole = encoded(Image.open(ASTRONAUT), "JPEG", quality=90, **options)
    decode_photo(whole)
    for share in (0.1, 0.5, 0.8):
        place = int(share * len(whole))
        error = refusal(whole[:place] + bytes(length) + whole[place + length :])
        assert error.code == ErrorCode.BAD_PHOTO
        assert "damaged JPEG picture" in error.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
    photo = encoded(noise, kind)
    assert refusal(photo[: int(len(photo) * share)]).code == ErrorCode.BAD_PHOTO


def test_a_png_of_which_a_byte_is_wrong(portrait: Image.Image) -> None:
    photo = bytearray(encoded(portrait.resize((400, 300))))
    photo[photo.index(b"IDAT") + 200] ^= 255
    assert "damaged" in refusal(bytes(photo)).message


_SEEDS = [
    encoded(Image.open(ASTRONAUT).resize((64, 48)), "JPEG"),
    encoded(
        Image.open(ASTRONAUT).resize((64, 48)), "JPEG", progressive=True, exif=exif(FocalLengthIn35mmFilm=50)
    ),
    encoded(Image.open(ASTRONAUT).resize((64, 48)), "PNG"),
    encoded(Image.open(ASTRONAUT).resize((64, 48)).convert("P"), "PNG"),
    encoded(Image.open(ASTRONAUT).resize((64, 48)), "WEBP"),
    encoded(Image.open(ASTRONAUT).resize((64, 48)), "AVIF"),
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
