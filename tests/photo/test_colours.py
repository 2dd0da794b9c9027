"""Colours: what is not sRGB becomes sRGB, by what a profile computes and not by its name."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image, ImageCms

from facewright.photo.colour_profile import (
    ADOBE_RGB,
    BT709,
    MAX_PROFILE_BYTES,
    Chromaticities,
    ColourProfileError,
    coded_profile,
    colour_transform,
    gamma,
    matrix_profile,
    srgb_curve,
    to_srgb,
)
from facewright.photo.photo import decode_photo

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
DISPLAY_P3: Chromaticities = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290))


def _xyz(primaries: Chromaticities) -> F64:
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    return np.asarray(columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3]))


def _coded_in(srgb: U8, primaries: Chromaticities, encode: Any) -> U8:
    """sRGB pixels as another space of the same white codes them; an independent computation in float64."""
    linear = srgb_curve(srgb / 255.0) @ np.linalg.solve(_xyz(primaries), _xyz(BT709)).T
    return np.rint(255 * encode(linear.clip(0, 1))).astype(np.uint8)


def _srgb_code(linear: F64) -> F64:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _power(exponent: float) -> Any:
    return lambda linear: linear ** (1 / exponent)


@pytest.fixture(scope="module")
def colours() -> U8:
    """Muted ones, which every space holds: [64, 64, 3]."""
    return np.random.default_rng(0).integers(60, 200, (64, 64, 3)).astype(np.uint8)


def _encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _shown(photo: bytes) -> npt.NDArray[np.int64]:
    """As the later stages see it."""
    decoded = decode_photo(photo)
    return np.asarray(to_srgb(decoded.image, decoded.colours)).astype(np.int64)


def _warning(photo: bytes) -> str:
    (warning,) = decode_photo(photo).warnings
    return warning


def _named(profile: bytes, name: bytes) -> bytes:
    """The profile with a description (a tag of type ``desc``) put behind it."""
    count = struct.unpack(">I", profile[128:132])[0]
    table = profile[132 : 132 + 12 * count]
    shifted = b"".join(
        table[at : at + 4]
        + struct.pack(
            ">II",
            struct.unpack(">I", table[at + 4 : at + 8])[0] + 12,
            *struct.unpack(">I", table[at + 8 : at + 12]),
        )
        for at in range(0, len(table), 12)
    )
    body = profile[132 + 12 * count :]
    text = b"desc" + struct.pack(">II", 0, len(name) + 1) + name + b"\0" + bytes(78)
    entry = b"desc" + struct.pack(">II", len(profile) + 12, len(text))
    whole = profile[4:128] + struct.pack(">I", count + 1) + shifted + entry + body + text
    return struct.pack(">I", len(whole) + 4) + whole


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = matrix_profile(DISPLAY_P3, srgb_curve)


@pytest.mark.parametrize(
    "name", [b"Display P3", b"sRGB", b"sRGB IEC61966-2.1 but wide", b"DCI-P3 D65 Gamut with sRGB Transfer"]
)
def test_a_wide_profile_is_converted_whatever_its_name(name: bytes, colours: U8) -> None:
    """Phones of several makers call their P3 after sRGB."""
    stored = _coded_in(colours, DISPLAY_P3, _srgb_code)
    assert np.abs(stored.astype(int) - colours).max() > 8
    photo = _encoded(Image.fromarray(stored), icc_profile=_named(P3, name))
    assert np.abs(_shown(photo) - colours).max() <= 2


@pytest.mark.parametrize("name", [b"Display P3", b"whatever"])
def test_srgb_changes_nothing_whatever_its_name(name: bytes, colours: U8) -> None:
    for profile in (SRGB, matrix_profile(BT709, srgb_curve)):
        photo = _encoded(Image.fromarray(colours), icc_profile=_named(profile, name))
        assert decode_photo(photo).colours is None
        np.testing.assert_array_equal(_shown(photo), colours)


def test_profiles_made_here_are_what_other_software_makes() -> None:
    """littleCMS' own sRGB, and the chromatically adapted primaries that Apple's Display P3 profile holds."""
    made = ImageCms.ImageCmsProfile(io.BytesIO(P3)).profile
    assert made.red_primary is not None
    np.testing.assert_allclose(made.red_colorant[0], (0.51512, 0.24120, -0.00105), atol=3e-4)
    np.testing.assert_allclose(made.green_colorant[0], (0.29198, 0.69225, 0.04189), atol=3e-4)
    np.testing.assert_allclose(made.blue_colorant[0], (0.15710, 0.06657, 0.78407), atol=3e-4)


def test_a_profile_is_made_into_a_transform_once() -> None:
    assert colour_transform(P3, "RGB") is colour_transform(bytes(bytearray(P3)), "RGB")


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (b"not a profile", "is damaged"),
        (b"\0" * 600, "is damaged"),
        (P3[:300], "is damaged"),
        (P3[:16] + b"CMYK" + P3[20:], "is for CMYK pixels, but these are RGB"),
        (P3[:16] + b"GRAY" + P3[20:], "is for GRAY pixels, but these are RGB"),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "is for Lab pixels"),
        (P3 + bytes(MAX_PROFILE_BYTES), "the limit is 4 MiB"),
        (P3.replace(b"wtpt", b"D2B0"), "floating point"),
        (matrix_profile(BT709, lambda code: 0 * code), "of white"),
    ],
)
def test_a_profile_that_cannot_be_used_is_told(profile: bytes, words: str, colours: U8) -> None:
    photo = _encoded(Image.fromarray(colours), "JPEG", quality=100, subsampling=0, icc_profile=profile)
    assert words in _warning(photo)
    assert _warning(photo).endswith("its colours were taken as sRGB.")
    assert np.abs(_shown(photo) - colours).mean() < 1


def test_a_profile_of_which_a_part_is_missing_is_told(colours: U8) -> None:
    """A JPEG holds it in numbered parts."""
    photo = _encoded(Image.fromarray(colours), "JPEG", icc_profile=P3 + bytes(70_000))
    count = photo.index(b"ICC_PROFILE\0") + 13
    assert "is damaged" in _warning(photo[:count] + b"\3" + photo[count + 1 :])


def test_damaged_profiles_are_converted_or_told(colours: U8) -> None:
    rng = np.random.default_rng(3)
    told = 0
    for _ in range(60):
        profile = bytearray(_named(P3, b"some name"))
        for place in rng.integers(0, len(profile) if rng.random() < 0.5 else 400, 4):
            profile[place] = rng.integers(256)
        decoded = decode_photo(_encoded(Image.fromarray(colours), icc_profile=bytes(profile)))
        to_srgb(decoded.image, decoded.colours)
        told += bool(decoded.warnings)
    assert told > 10


def _grey_profile(exponent: float) -> bytes:
    """The red curve of an RGB profile as the only one."""
    profile = matrix_profile(BT709, gamma(exponent))
    return (profile[:16] + b"GRAY" + profile[20:]).replace(b"rTRC", b"kTRC")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_grey_photos_with_grey_profiles(kind: str) -> None:
    levels = np.tile(np.arange(40, 240, dtype=np.uint8)[None], (64, 1))
    photo = _encoded(
        Image.fromarray(levels),
        kind,
        icc_profile=_grey_profile(1.0),
        **({"quality": 100} if kind == "JPEG" else {}),
    )
    expected = 255 * _srgb_code(levels / 255.0)
    assert np.abs(_shown(photo) - expected[..., None]).max() <= 2
    assert decode_photo(photo).warnings == ()


def test_grey_photos_with_rgb_profiles_stay_grey() -> None:
    """Editors keep the profile when they take the colour out."""
    levels = np.tile(np.arange(200, dtype=np.uint8)[None], (64, 1))
    shown = _shown(_encoded(Image.fromarray(levels), icc_profile=matrix_profile(ADOBE_RGB, gamma(563 / 256))))
    assert np.ptp(shown, axis=2).max() <= 1
    assert np.abs(shown[..., 0] - levels).max() > 1
    assert decode_photo(_encoded(Image.fromarray(levels), icc_profile=P3)).warnings == ()


def test_cmyk_by_its_profile() -> None:
    """A profile that says how much ink makes which grey goes before Pillow's guess."""
    inks = Image.new("CMYK", (64, 64), (0, 0, 0, 128))
    plain = _shown(_encoded(inks, "JPEG", quality=100))
    assert "CMYK without a colour profile" in _warning(_encoded(inks, "JPEG"))
    profiled = _encoded(inks, "JPEG", quality=100, icc_profile=_cmyk_profile())
    assert decode_photo(profiled).warnings == ()
    assert np.abs(plain - 127).max() <= 2
    expected = 255 * _srgb_code(np.array(0.25))  # this profile's light is the square of the paper left
    assert np.abs(_shown(profiled) - expected).max() <= 6
    assert "is for RGB pixels, but these are CMYK" in _warning(_encoded(inks, "JPEG", icc_profile=P3))


def _cmyk_profile() -> bytes:
    """A table (mft2) over a lattice of two: Lab of the paper where there is no ink, black where any is full.

    Its input curves make L* of the square of what is left, so that the lattice may stay linear.
    """
    code = np.linspace(0, 1, 256)
    lightness = 1.16 * np.cbrt(np.maximum((1 - code) ** 2, 0.008856)) - 0.16
    curve = np.rint(65535 * (1 - lightness.clip(0, 1))).astype(">u2")
    corners = np.zeros((2, 2, 2, 2, 3))
    corners[..., 1:] = 32768
    corners[0, 0, 0, 0, 0] = 65280
    table = (
        b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    )
    table += struct.pack(">HH", 256, 2) + 4 * curve.tobytes() + corners.astype(">u2").tobytes()
    table += 3 * struct.pack(">HH", 0, 65535)
    header = P3[:12] + b"prtrCMYKLab " + P3[24:128]
    tags = struct.pack(">I", 1) + b"A2B0" + struct.pack(">II", 144, len(table))
    whole = header[4:8] + b"\x02\x40\0\0" + header[12:] + tags + table
    return struct.pack(">I", len(whole) + 4) + whole


def _with_chunks(photo: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """After IHDR."""
    made = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return photo[:33] + made + photo[33:]


def _chrm(primaries: Chromaticities) -> tuple[bytes, bytes]:
    red, green, blue, white = primaries
    return b"cHRM", struct.pack(">8I", *(round(100000 * value) for value in (*white, *red, *green, *blue)))


def _gama(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(100000 * value))


def test_png_chunks(colours: U8) -> None:
    """What PNG files say without a profile, in the order in which it goes before (third edition, 4.3)."""
    p3 = _encoded(Image.fromarray(_coded_in(colours, DISPLAY_P3, _srgb_code)))
    adobe = _encoded(Image.fromarray(_coded_in(colours, ADOBE_RGB, _power(2.5))))
    plain = _encoded(Image.fromarray(colours))
    srgb = (b"sRGB", b"\0")
    for photo in (
        _with_chunks(p3, (b"cICP", bytes([12, 13, 0, 1]))),
        _with_chunks(p3, (b"cICP", bytes([12, 13, 0, 1])), srgb, _gama(1.0)),
        _with_chunks(p3, _gama(0.45455), _chrm(DISPLAY_P3)),
        _with_chunks(adobe, _gama(0.4), _chrm(ADOBE_RGB)),
        _with_chunks(plain, _gama(0.45455), _chrm(BT709)),
        _with_chunks(plain, _gama(0.45455)),
        _with_chunks(plain, srgb, _gama(1.0), _chrm(ADOBE_RGB)),
        _with_chunks(plain, _gama(0.45455), _chrm(((0, 0.1),) * 4)),
    ):
        assert np.abs(_shown(photo) - colours).max() <= 3
    profile = matrix_profile(DISPLAY_P3, srgb_curve)
    with_profile = _encoded(Image.open(io.BytesIO(p3)), icc_profile=profile)
    for nothing in ((2, 2), (99, 13)):  # cICP that says nothing does not hide the profile
        photo = _with_chunks(with_profile, (b"cICP", bytes([*nothing, 0, 1])))
        assert np.abs(_shown(photo) - colours).max() <= 3
    linear = _encoded(Image.fromarray(_coded_in(colours, BT709, _power(1.0))))
    assert np.abs(_shown(_with_chunks(linear, _gama(1.0))) - colours).max() <= 3
    assert "gamma 0 is impossible" in _warning(_with_chunks(plain, _gama(0.0)))
    assert "unknown numbers 77 and 13" in _warning(_with_chunks(plain, (b"cICP", bytes([77, 13, 0, 1]))))


def test_cameras_set_to_adobe_rgb(colours: U8) -> None:
    """They write R03 into Exif's interoperability directory, and no profile."""
    stored = Image.fromarray(_coded_in(colours, ADOBE_RGB, _power(563 / 256)))
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ColorSpace] = 0xFFFF
    uncalibrated = _encoded(stored, exif=exif)
    assert "does not say which colours" in _warning(uncalibrated)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.IFD.Interop] = {1: "R03"}
    named = _encoded(stored, exif=exif)
    assert np.abs(_shown(named) - colours).max() <= 2
    assert decode_photo(named).warnings == ()
    with_profile = _encoded(Image.fromarray(colours), exif=exif, icc_profile=SRGB)
    np.testing.assert_array_equal(_shown(with_profile), colours)


@pytest.mark.parametrize(("transfer", "code"), [(16, 0.58069), (18, 0.75)])
def test_hdr_keeps_white(transfer: int, code: float) -> None:
    """Code of a page's white, 203 cd/m²: ITU-R BT.2408, table 1 (PQ 58 %, HLG 75 %)."""
    profile = coded_profile(9, transfer)
    assert profile is not None
    colours = colour_transform(profile, "RGB")
    levels = np.repeat(np.array([0, code - 0.012, code + 0.004, 1.0])[None, :, None], 3, axis=2)
    shown = np.asarray(to_srgb(Image.fromarray(np.rint(255 * levels).astype(np.uint8)), colours))[0]
    assert shown[0].max() <= 1
    assert (shown[1] < 253).all()
    assert (shown[1] > 225).all()
    assert (shown[2:] >= 252).all()


def test_numbers_of_no_colour_space() -> None:
    assert coded_profile(1, 13) is None
    with pytest.raises(ColourProfileError, match="unknown numbers 1 and 99"):
        coded_profile(1, 99)
